#include "milter/bodyhash.h"

#include <stdlib.h>

struct bodyhash {
	struct digest *digest;
	uint64_t limit, len;
	struct canon_body canon;
};

static void
bodyhash_sink(void *owner, struct slice bytes)
{
	struct bodyhash *hash = owner;

	if (hash->len < hash->limit) {
		uint64_t left = hash->limit - hash->len;

		digest_feed(hash->digest,
			    left < bytes.len ? slice_sub(bytes, 0, (size_t)left)
					     : bytes);
	}
	hash->len += bytes.len;
}

struct bodyhash *
bodyhash_new(enum canonicalization canon, uint64_t limit)
{
	struct bodyhash *hash = memory_new(sizeof(*hash));

	hash->digest = digest_new();
	hash->limit = limit;
	canon_body_init(&hash->canon, canon, bodyhash_sink, hash);
	return hash;
}

void
bodyhash_free(struct bodyhash *hash)
{
	if (hash == NULL)
		return;
	digest_free(hash->digest);
	free(hash);
}

void
bodyhash_feed(struct bodyhash *hash, struct slice bytes)
{
	canon_body_feed(&hash->canon, bytes);
}

uint64_t
bodyhash_finish(struct bodyhash *hash, uint8_t out[DIGEST_SIZE])
{
	canon_body_finish(&hash->canon);
	digest_finish(hash->digest, out);
	return hash->len;
}
