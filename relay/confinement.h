/*
 * confinement - what the process that talks to the network gives up: the relay
 * process, the milter process, and the child that looks through the store.
 *
 * Two steps. The first comes before anything is read that others have made. The
 * second takes away what only a start needs: making processes, and code from
 * files.
 *
 * A call that no part of us, and no library, has a use for kills the process:
 * executing a program, tracing, mounting, changing the user, loading into the
 * kernel. Who makes one is not us any more. Every other call that is not on the
 * list is refused with ENOSYS and named in the kernel's log (audit: type=1326,
 * syscall=N): a C library or libuv of tomorrow that tries a new call first
 * falls back then, and mail goes on. In builds with sanitizers it kills, too, so
 * that tests see what is missing.
 *
 * Errors      SYSTEM where the kernel refuses.
 */
#ifndef RELAY_CONFINEMENT_H
#define RELAY_CONFINEMENT_H

#include "base/fault.h"

enum confined {
	CONFINED_RELAY,  /* keeps files in its directory */
	CONFINED_MILTER, /* keeps none */
};

/* Before any thread is started. Files are written below the directory only. */
bool confinement_begin(const char *directory, struct fault *fault) MUST_USE;
/* For all threads. */
bool confinement_complete(enum confined confined, struct fault *fault) MUST_USE;

#endif
