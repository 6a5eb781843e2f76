/*
 * bodyhash - what bh= says: the SHA-256 of a body's canonical form, or of the
 * first l= bytes of it (RFC 6376 3.7). Fed in any pieces.
 *
 * The body is made canonical and hashed once, however many lengths are asked
 * for: each of them costs a copy of the state of the hash.
 */
#ifndef MILTER_BODYHASH_H
#define MILTER_BODYHASH_H

#include "milter/canon.h"
#include "milter/digest.h"

#define BODYHASH_WHOLE UINT64_MAX
#define BODYHASH_LIMITS_MAX 32

struct bodyhash;

struct bodyhash *bodyhash_new(enum canonicalization canon);
void bodyhash_free(struct bodyhash *hash);
CLEAN_POINTER(struct bodyhash, bodyhash_free)

/* Before the first byte: asks for the hash of the first `limit` bytes as well;
 * the same limit is asked for once. At most BODYHASH_LIMITS_MAX. */
void bodyhash_limit(struct bodyhash *hash, uint64_t limit);
void bodyhash_feed(struct bodyhash *hash, struct slice bytes);
/* Once. Returns the length of the canonical body. */
uint64_t bodyhash_finish(struct bodyhash *hash);
/* Afterwards. limit: BODYHASH_WHOLE, or one that was asked for. */
const uint8_t *bodyhash_result(const struct bodyhash *hash, uint64_t limit);

#endif
