/*
 * signer_keys - the private keys in the signer, as two generations.
 *
 * A load makes a new generation; the one before stays usable for messages
 * already begun; the third is dropped. A thread that signs holds a reference
 * of both while it does, so nothing is freed under it.
 */
#ifndef KEYS_SIGNER_KEYS_H
#define KEYS_SIGNER_KEYS_H

#include "keys/key.h"

#define SIGNER_THREADS_MAX 64
/* Keys of one generation: 256 bytes of table each, and two kilobytes for the
 * key in each thread that has used it. */
#define SIGNER_KEYS_MAX 100000

struct generation;

/* For at most `keys` keys and `threads` threads. */
struct generation *generation_new(size_t keys, size_t threads);
void generation_unref(struct generation *generation);
/* Takes the key. The same key may come for several selectors. */
void generation_add(struct generation *generation, const struct key_id *id,
		    struct key *key);
/* This thread's own object of the key, NULL where there is no such key. */
struct key *generation_key(struct generation *generation, size_t thread,
			   const struct key_id *id);

/* Any thread. */
struct generations {
	struct generation *current, *previous; /* either may be NULL */
};
/* Takes the generation. */
void generations_advance(struct generation *generation);
struct generations generations_hold(void);
void generations_release(struct generations *held);

#endif
