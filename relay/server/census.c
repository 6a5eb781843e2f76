#include "relay/server/census.h"

#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "milter/digest.h"

#define BUCKETS 4096

struct citizen {
	struct list link;
	struct census *census;
	uint8_t key[CENSUS_KEY_SIZE];
	size_t users; /* 0: it is gone */
	size_t sessions;
	/* When all that was opened will have come back. */
	uint64_t whole_again_us;
	struct quota_part part;
};

struct census {
	uv_mutex_t mutex;
	char secret[16]; /* strangers do not choose whom they stand beside */
	struct list buckets[BUCKETS];
	size_t gone;
};

/* Clients of Unix sockets are one, and those without a known address another. */
void
census_key(const struct address *client, uint8_t key[CENSUS_KEY_SIZE])
{
	memset(key, 0, CENSUS_KEY_SIZE);
	key[8] = (uint8_t)client->any.sa_family; /* behind a /64 */
	if (client->any.sa_family == AF_INET)
		memcpy(key + 12, &client->v4.sin_addr, 4);
	else if (client->any.sa_family == AF_INET6)
		memcpy(key, &client->v6.sin6_addr, 8);
}

struct census *
census_new(void)
{
	struct census *census = memory_new(sizeof(*census));

	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&census->buckets[i]);
	ASSERT(getrandom(census->secret, sizeof(census->secret), 0) ==
	       (ssize_t)sizeof(census->secret));
	ASSERT(uv_mutex_init(&census->mutex) == 0);
	return census;
}

void
census_free(struct census *census)
{
	if (census == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_EACH(item, &census->buckets[i]) {
			struct citizen *citizen =
				CONTAINER(item, struct citizen, link);

			ASSERT(citizen->users == 0);
			free(citizen);
		}
	uv_mutex_destroy(&census->mutex);
	free(census);
}

static struct list *
bucket_of(struct census *census, const uint8_t key[CENSUS_KEY_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	uint8_t bytes[DIGEST_SIZE];
	uint32_t at;

	digest_feed(digest, slice_of(census->secret, sizeof(census->secret)));
	digest_feed(digest, slice_of(key, CENSUS_KEY_SIZE));
	digest_finish(digest, bytes);
	memcpy(&at, bytes, sizeof(at));
	return &census->buckets[at % BUCKETS];
}

static uint64_t
now_us(void)
{
	return clock_now_ms() * 1000;
}

static void
forget(struct census *census, struct citizen *citizen)
{
	ASSERT(citizen->users == 0);
	list_remove(&citizen->link);
	free(citizen);
	census->gone--;
}

/* Drops on its way who has nothing left to wait for. */
static struct citizen *
find(struct census *census, struct list *bucket,
     const uint8_t key[CENSUS_KEY_SIZE], uint64_t at_us)
{
	struct citizen *found = NULL;

	LIST_EACH(item, bucket) {
		struct citizen *citizen = CONTAINER(item, struct citizen, link);

		if (memcmp(citizen->key, key, CENSUS_KEY_SIZE) == 0)
			found = citizen;
		else if (citizen->users == 0 &&
			 citizen->whole_again_us <= at_us)
			forget(census, citizen);
	}
	return found;
}

static struct citizen *
citizen_add(struct census *census, struct list *bucket,
	    const uint8_t key[CENSUS_KEY_SIZE])
{
	struct citizen *citizen = memory_new(sizeof(*citizen));

	citizen->census = census;
	memcpy(citizen->key, key, CENSUS_KEY_SIZE);
	list_add_last(bucket, &citizen->link);
	census->gone++;
	return citizen;
}

struct citizen *
census_find(struct census *census, const struct address *client)
{
	uint8_t key[CENSUS_KEY_SIZE];
	struct citizen *citizen;
	struct list *bucket;

	census_key(client, key);
	bucket = bucket_of(census, key);
	uv_mutex_lock(&census->mutex);
	citizen = find(census, bucket, key, now_us());
	if (citizen == NULL)
		citizen = citizen_add(census, bucket, key);
	if (citizen->users++ == 0)
		census->gone--;
	uv_mutex_unlock(&census->mutex);
	return citizen;
}

struct citizen *
citizen_ref(struct citizen *citizen)
{
	uv_mutex_lock(&citizen->census->mutex);
	ASSERT(citizen->users > 0);
	citizen->users++;
	uv_mutex_unlock(&citizen->census->mutex);
	return citizen;
}

void
citizen_unref(struct citizen *citizen)
{
	struct census *census;

	if (citizen == NULL)
		return;
	census = citizen->census;
	uv_mutex_lock(&census->mutex);
	ASSERT(citizen->users > 0);
	if (--citizen->users == 0) {
		ASSERT(citizen->sessions == 0);
		ASSERT(atomic_load(&citizen->part.incoming) == 0);
		ASSERT(atomic_load(&citizen->part.held) == 0);
		census->gone++;
		if (citizen->whole_again_us <= now_us() ||
		    census->gone > CENSUS_GONE_MAX)
			forget(census, citizen);
	}
	uv_mutex_unlock(&census->mutex);
}

struct quota_part *
citizen_part(struct citizen *citizen)
{
	return &citizen->part;
}

static enum census_answer
judge(const struct citizen *citizen, size_t max, uint64_t per_minute,
      uint64_t at_us)
{
	uint64_t spent_us = 0;

	if (citizen->sessions >= max)
		return CENSUS_FULL;
	if (per_minute == 0)
		return CENSUS_IN;
	if (citizen->whole_again_us > at_us)
		spent_us = citizen->whole_again_us - at_us;
	return spent_us + MINUTE * 1000 / per_minute <= MINUTE * 1000
		       ? CENSUS_IN
		       : CENSUS_FAST;
}

static void
spend(struct citizen *citizen, uint64_t per_minute, uint64_t at_us)
{
	if (per_minute == 0)
		return;
	if (citizen->whole_again_us < at_us)
		citizen->whole_again_us = at_us;
	citizen->whole_again_us += MINUTE * 1000 / per_minute;
}

enum census_answer
citizen_enter(struct citizen *citizen, size_t max, uint64_t per_minute)
{
	struct census *census = citizen->census;
	enum census_answer answer;
	uint64_t at_us;

	uv_mutex_lock(&census->mutex);
	at_us = now_us();
	answer = judge(citizen, max, per_minute, at_us);
	if (answer == CENSUS_IN) {
		citizen->sessions++;
		spend(citizen, per_minute, at_us);
	}
	uv_mutex_unlock(&census->mutex);
	return answer;
}

void
citizen_leave(struct citizen *citizen)
{
	uv_mutex_lock(&citizen->census->mutex);
	ASSERT(citizen->sessions > 0);
	citizen->sessions--;
	uv_mutex_unlock(&citizen->census->mutex);
}
