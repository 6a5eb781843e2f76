/*
 * signer_keys - the private keys in the signer, as two generations.
 *
 * A load makes a new keyset; the one before stays usable for messages
 * already begun; the third is dropped. A thread that signs holds a reference
 * of both while it does, so nothing is freed under it. What two of them have in
 * common they share: thousands of keys, of which a reload changes a few, are
 * neither read again nor held twice.
 */
#ifndef KEYS_SIGNER_KEYS_H
#define KEYS_SIGNER_KEYS_H

#include "keys/key_file.h"

#define SIGNER_THREADS_MAX 64
/* Keys of one keyset: 256 bytes of table each, and two kilobytes for the
 * key in each thread that has used it. */
#define SIGNER_KEYS_MAX 100000

struct keyset;

/* For at most `keys` keys and `threads` threads. */
struct keyset *keyset_new(size_t keys, size_t threads);
void keyset_unref(struct keyset *keyset);
/* Takes the key of a file and its public half, which it gives back. The same
 * key may come for several selectors. */
const struct key_public *keyset_add(struct keyset *keyset,
				    const struct key_file_id *file,
				    struct key_public *public,
				    struct key *key);
/* The same, of a file that `from` has, which may be NULL or the keyset itself.
 * NULL: it has it not. */
const struct key_public *keyset_share(struct keyset *keyset,
				      const struct keyset *from,
				      const struct key_file_id *file);
/* This thread's own object of the key, NULL where there is no such key. */
struct key *keyset_key(struct keyset *keyset, size_t thread,
			   const struct key_id *id);

/* Any thread. */
struct keysets {
	struct keyset *current, *previous; /* either may be NULL */
};
/* Takes the keyset. */
void keysets_advance(struct keyset *keyset);
/* Takes the last advance back; once. */
void keysets_revert(void);
struct keysets keysets_hold(void);
void keysets_release(struct keysets *held);

#endif
