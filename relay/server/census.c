#include "relay/server/census.h"

#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

#include "base/list.h"
#include "milter/digest.h"

#define BUCKETS 4096

struct citizen {
	struct list link;
	uint8_t key[CENSUS_KEY_SIZE];
	size_t sessions;
};

struct census {
	uv_mutex_t mutex;
	char secret[16]; /* strangers do not choose whom they stand beside */
	struct list buckets[BUCKETS];
};

/* Clients of Unix sockets are one. */
void
census_key(const struct address *client, uint8_t key[CENSUS_KEY_SIZE])
{
	memset(key, 0, CENSUS_KEY_SIZE);
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
		ASSERT(list_is_empty(&census->buckets[i]));
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

static struct citizen *
find(struct list *bucket, const uint8_t key[CENSUS_KEY_SIZE])
{
	LIST_EACH(item, bucket) {
		struct citizen *citizen = CONTAINER(item, struct citizen, link);

		if (memcmp(citizen->key, key, CENSUS_KEY_SIZE) == 0)
			return citizen;
	}
	return NULL;
}

static struct citizen *
citizen_add(struct list *bucket, const uint8_t key[CENSUS_KEY_SIZE])
{
	struct citizen *citizen = memory_new(sizeof(*citizen));

	memcpy(citizen->key, key, CENSUS_KEY_SIZE);
	list_add_last(bucket, &citizen->link);
	return citizen;
}

bool
census_enter(struct census *census, const struct address *client, size_t max)
{
	uint8_t key[CENSUS_KEY_SIZE];
	struct citizen *citizen;
	struct list *bucket;
	bool is_in;

	census_key(client, key);
	bucket = bucket_of(census, key);
	uv_mutex_lock(&census->mutex);
	citizen = find(bucket, key);
	is_in = (citizen != NULL ? citizen->sessions : 0) < max;
	if (is_in && citizen == NULL)
		citizen = citizen_add(bucket, key);
	if (is_in)
		citizen->sessions++;
	uv_mutex_unlock(&census->mutex);
	return is_in;
}

void
census_leave(struct census *census, const struct address *client)
{
	uint8_t key[CENSUS_KEY_SIZE];
	struct citizen *citizen;
	struct list *bucket;

	census_key(client, key);
	bucket = bucket_of(census, key);
	uv_mutex_lock(&census->mutex);
	citizen = find(bucket, key);
	ASSERT(citizen != NULL);
	if (--citizen->sessions == 0) {
		list_remove(&citizen->link);
		free(citizen);
	}
	uv_mutex_unlock(&census->mutex);
}
