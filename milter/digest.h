/*
 * digest - SHA-256, streaming: the only file that knows EVP_MD_CTX.
 *
 * Ownership   _new and _dup hand over; _free takes NULL.
 * Thread      One at a time.
 */
#ifndef MILTER_DIGEST_H
#define MILTER_DIGEST_H

#include "base/slice.h"

#define DIGEST_SIZE 32

struct digest;

struct digest *digest_new(void);
/* With all that was fed so far. */
struct digest *digest_dup(const struct digest *digest);
void digest_free(struct digest *digest);
CLEAN_POINTER(struct digest, digest_free)

void digest_feed(struct digest *digest, struct slice bytes);
/* Once; only digest_free() is allowed afterwards. */
void digest_finish(struct digest *digest, uint8_t out[DIGEST_SIZE]);

#endif
