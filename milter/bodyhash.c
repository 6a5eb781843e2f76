#include "milter/bodyhash.h"

#include <stdlib.h>

/* In the order of the limits; what lies beyond the body gets the whole hash. */
struct cut {
	uint64_t limit;
	uint8_t result[DIGEST_SIZE];
};

struct bodyhash {
	struct digest *digest;
	uint64_t len;
	struct canon_body canon;
	size_t count, done;
	struct cut cuts[BODYHASH_LIMITS_MAX];
	uint8_t whole[DIGEST_SIZE];
};

static void
cut_make(struct bodyhash *hash)
{
	CLEAN(digest_free_clean) struct digest *so_far =
		digest_dup(hash->digest);

	digest_finish(so_far, hash->cuts[hash->done++].result);
}

static void
bodyhash_sink(void *owner, struct slice bytes)
{
	struct bodyhash *hash = owner;

	while (hash->done < hash->count &&
	       hash->cuts[hash->done].limit - hash->len <= bytes.len) {
		size_t left =
			(size_t)(hash->cuts[hash->done].limit - hash->len);

		digest_feed(hash->digest, slice_sub(bytes, 0, left));
		bytes = slice_from(bytes, left);
		hash->len += left;
		cut_make(hash);
	}
	digest_feed(hash->digest, bytes);
	hash->len += bytes.len;
}

struct bodyhash *
bodyhash_new(enum canonicalization canon)
{
	struct bodyhash *hash = memory_new(sizeof(*hash));

	hash->digest = digest_new();
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
bodyhash_limit(struct bodyhash *hash, uint64_t limit)
{
	size_t i = hash->count;

	ASSERT(hash->len == 0);
	ASSERT(hash->done == 0);
	if (limit == BODYHASH_WHOLE)
		return;
	while (i > 0 && hash->cuts[i - 1].limit > limit)
		i--;
	if (i > 0 && hash->cuts[i - 1].limit == limit)
		return;
	ASSERT(hash->count < BODYHASH_LIMITS_MAX);
	memmove(&hash->cuts[i + 1], &hash->cuts[i],
		(hash->count - i) * sizeof(hash->cuts[0]));
	hash->cuts[i].limit = limit;
	hash->count++;
}

void
bodyhash_feed(struct bodyhash *hash, struct slice bytes)
{
	canon_body_feed(&hash->canon, bytes);
}

uint64_t
bodyhash_finish(struct bodyhash *hash)
{
	canon_body_finish(&hash->canon);
	/* l=0 of an empty body never met a byte. */
	while (hash->done < hash->count)
		cut_make(hash);
	digest_finish(hash->digest, hash->whole);
	return hash->len;
}

const uint8_t *
bodyhash_result(const struct bodyhash *hash, uint64_t limit)
{
	if (limit == BODYHASH_WHOLE)
		return hash->whole;
	for (size_t i = 0; i < hash->count; i++)
		if (hash->cuts[i].limit == limit)
			return hash->cuts[i].result;
	ASSERT(false); /* a limit that was not asked for */
	return NULL;
}
