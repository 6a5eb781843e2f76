/*
 * signer_pool - asks the signer from threads that wait for the answer.
 *
 * A few clients of keys/signer.h, each used by one thread at a time. For
 * programs whose threads are not ours, as libmilter's are; a loop asks through
 * a client of its own.
 *
 * Ownership   The pool takes the descriptors that it is given.
 * Errors      FAULT_BUSY: no answer within SIGNER_CALL_TIMEOUT_MS, waiting for
 *             a free client and for a new signer included.
 * Thread      Any, but for signer_pool_free().
 */
#ifndef KEYS_SIGNER_POOL_H
#define KEYS_SIGNER_POOL_H

#include "keys/signer.h"

struct signer_pool;
struct signer_pool_wait;

struct signer_pool_call {
	struct signer_call call; /* key and digest are the caller's to set */
	struct signer_pool_wait *wait;
};

/* One client for each descriptor (signer_attach()); at least one. */
struct signer_pool *signer_pool_new(const int *descriptors, size_t count);
void signer_pool_free(struct signer_pool *pool); /* nobody may be asking */
/* New sockets, of the same signer or of its successor; as many as before. Calls
 * under way are answered by the old one, or sent again where it is gone. */
void signer_pool_replace(struct signer_pool *pool, const int *descriptors,
			 size_t count);
/* Has all of them made, at the same time, and waits. True: signature and
 * signature_len of each are set. False: the fault is the first one's that
 * failed, whose signature_len is 0. */
bool signer_pool_sign(struct signer_pool *pool, struct signer_pool_call *calls,
		      size_t count, struct fault *fault) MUST_USE;

#endif
