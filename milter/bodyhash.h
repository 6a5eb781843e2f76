/*
 * bodyhash - what bh= says: the SHA-256 of a body's canonical form, or of the
 * first l= bytes of it (RFC 6376 3.7). Fed in any pieces.
 */
#ifndef MILTER_BODYHASH_H
#define MILTER_BODYHASH_H

#include "milter/canon.h"
#include "milter/digest.h"

#define BODYHASH_WHOLE UINT64_MAX

struct bodyhash;

/* limit: l=, or BODYHASH_WHOLE. */
struct bodyhash *bodyhash_new(enum canonicalization canon, uint64_t limit);
void bodyhash_free(struct bodyhash *hash);
CLEAN_POINTER(struct bodyhash, bodyhash_free)

void bodyhash_feed(struct bodyhash *hash, struct slice bytes);
/* Once. Returns the length of the canonical body, whatever the limit. */
uint64_t bodyhash_finish(struct bodyhash *hash, uint8_t out[DIGEST_SIZE]);

#endif
