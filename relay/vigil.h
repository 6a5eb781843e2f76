/*
 * vigil - whether the signer goes on, and when it is to be replaced because it
 * does not: who hangs never ends, and mail that it is to sign would be deferred
 * until somebody looks.
 *
 * The signer is looked at every SIGNER_LOOK_MS. One that has not answered for
 * SIGNER_LOOKS_MAX of them, or of which a thread has been at the same signature
 * for as many, hangs: a signature takes milliseconds, however many
 * wait for theirs. A look is worth no more for having come late, so that a
 * machine that stood still (suspended, or its clock moved on) has one look to
 * make up for and not all of them.
 */
#ifndef RELAY_VIGIL_H
#define RELAY_VIGIL_H

#include "keys/signer.h"

/* Zeroed: the first look is due at once. */
struct vigil {
	uint64_t due_ms; /* the next look */
	uint64_t heard;  /* the last look whose answer counts below */
	unsigned looks_lacking;
};

/* When it is due, looks. True: it hangs, and is of no use any more. */
bool vigil_finds_hung(struct vigil *vigil,
		      struct signer_process *process) MUST_USE;

/* Whether it has fewer clients than it was given: a socket that it or the
 * worker gave up, in want of memory for one, nobody would replace. Once for
 * each time that it says so twice in a row: the first answer may be of before
 * they were given. */
bool vigil_finds_lost(struct vigil *vigil, const struct signer_process *process,
		      unsigned clients) MUST_USE;

#endif
