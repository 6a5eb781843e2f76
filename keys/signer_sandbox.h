/*
 * signer_sandbox - what the signer process gives up before it sees a key.
 */
#ifndef KEYS_SIGNER_SANDBOX_H
#define KEYS_SIGNER_SANDBOX_H

#include "base/fault.h"

/* No new privileges, not dumpable, no core, ends with its parent, memory
 * locked where that is allowed. Before any thread is started. */
bool sandbox_process(struct fault *fault) MUST_USE;
/* From here on, in every thread, only the system calls that signing needs: any
 * other kills the process. It can open nothing and make no socket. All threads
 * must have been started, and have run. */
bool sandbox_calls(struct fault *fault) MUST_USE;

#endif
