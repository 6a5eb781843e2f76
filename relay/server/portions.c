#include "relay/server/portions.h"

#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

#include "base/list.h"
#include "base/slice.h"
#include "relay/server/census.h"

#define BUCKETS 1024

struct portion {
	struct list link;
	uint8_t key[CENSUS_KEY_SIZE];
	size_t users;
	struct quota_part part;
};

struct portions {
	uv_mutex_t mutex;
	char secret[16]; /* so that nobody chooses whom he stands beside */
	struct list buckets[BUCKETS];
};

struct portions *
portions_new(void)
{
	struct portions *portions = memory_new(sizeof(*portions));

	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&portions->buckets[i]);
	ASSERT(getrandom(portions->secret, sizeof(portions->secret), 0) ==
	       (ssize_t)sizeof(portions->secret));
	ASSERT(uv_mutex_init(&portions->mutex) == 0);
	return portions;
}

void
portions_free(struct portions *portions)
{
	if (portions == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		ASSERT(list_is_empty(&portions->buckets[i]));
	uv_mutex_destroy(&portions->mutex);
	free(portions);
}

/* Each message asks, so it is no digest: whom strangers may stand beside costs
 * a walk along a list that is as long as they have messages under way. */
static struct list *
bucket_of(struct portions *portions, const uint8_t key[CENSUS_KEY_SIZE])
{
	char bytes[sizeof(portions->secret) + CENSUS_KEY_SIZE];

	memcpy(bytes, portions->secret, sizeof(portions->secret));
	memcpy(bytes + sizeof(portions->secret), key, CENSUS_KEY_SIZE);
	return &portions->buckets[slice_hash(slice_of(bytes, sizeof(bytes))) %
				  BUCKETS];
}

static struct portion *
find(struct list *bucket, const uint8_t key[CENSUS_KEY_SIZE])
{
	LIST_EACH(item, bucket) {
		struct portion *portion =
			CONTAINER(item, struct portion, link);

		if (memcmp(portion->key, key, CENSUS_KEY_SIZE) == 0)
			return portion;
	}
	return NULL;
}

struct portion *
portions_take(struct portions *portions, const struct address *client)
{
	uint8_t key[CENSUS_KEY_SIZE];
	struct list *bucket;
	struct portion *portion;

	census_key(client, key);
	bucket = bucket_of(portions, key);
	uv_mutex_lock(&portions->mutex);
	portion = find(bucket, key);
	if (portion == NULL) {
		portion = memory_new(sizeof(*portion));
		memcpy(portion->key, key, CENSUS_KEY_SIZE);
		list_add_last(bucket, &portion->link);
	}
	portion->users++;
	uv_mutex_unlock(&portions->mutex);
	return portion;
}

void
portions_give(struct portions *portions, struct portion *portion)
{
	uv_mutex_lock(&portions->mutex);
	ASSERT(portion->users > 0);
	if (--portion->users == 0) {
		ASSERT(atomic_load(&portion->part.incoming) == 0);
		ASSERT(atomic_load(&portion->part.held) == 0);
		list_remove(&portion->link);
		free(portion);
	}
	uv_mutex_unlock(&portions->mutex);
}

struct quota_part *
portion_part(struct portion *portion)
{
	return &portion->part;
}
