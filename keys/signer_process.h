/*
 * signer_process - the control socket, seen from the process that holds it;
 * shared by signer_process.c and signer_load.c.
 */
#ifndef KEYS_SIGNER_PROCESS_H
#define KEYS_SIGNER_PROCESS_H

#include "keys/signer.h"
#include "keys/signer_wire.h"

/* Sends verb, index, count and the descriptors, with a new serial. */
bool process_send(struct signer_process *process,
		  struct control_message *message, enum control_verb verb,
		  const int *descriptors, size_t count, uint64_t deadline_ms,
		  struct fault *fault) MUST_USE;
/* The next answer to that message, which must be of this verb. A FAULT from
 * the other end is this call's fault, its index in message->index. */
bool process_receive(struct signer_process *process,
		     struct control_message *message, enum control_verb verb,
		     uint64_t deadline_ms, struct fault *fault) MUST_USE;

#endif
