#include "relay/server/offenders.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

#include "base/clock.h"
#include "milter/digest.h"
#include "relay/server/census.h"

/* An address may stand in any place of its part. */
#define PART 8

/* Of an address alone, or of one with a name. */
struct place {
	uint8_t key[CENSUS_KEY_SIZE];
	unsigned count; /* failures, or 1: has logged in; 0: it is free */
	uint64_t last_ms, until_ms;
};

struct table {
	struct place places[OFFENDERS_MAX];
};

struct offenders {
	uv_mutex_t mutex;
	char secret[16]; /* so that nobody chooses whom he shares a part with */
	/* Apart, so that no number of failures makes anybody forgotten who has
	 * logged in. */
	struct table failed, regulars;
};

struct offenders *
offenders_new(void)
{
	struct offenders *offenders = memory_new(sizeof(*offenders));

	ASSERT(getrandom(offenders->secret, sizeof(offenders->secret), 0) ==
	       (ssize_t)sizeof(offenders->secret));
	ASSERT(uv_mutex_init(&offenders->mutex) == 0);
	return offenders;
}

void
offenders_free(struct offenders *offenders)
{
	if (offenders == NULL)
		return;
	uv_mutex_destroy(&offenders->mutex);
	free(offenders);
}

/* Of an address alone, or of one with a name, however that is written. */
static void
key_of(const struct offenders *offenders, const struct address *client,
       struct slice name, uint8_t key[CENSUS_KEY_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	CLEAN(text_done) struct text lower = {0};
	uint8_t bytes[DIGEST_SIZE];

	census_key(client, key);
	if (name.len == 0)
		return;
	for (size_t i = 0; i < name.len; i++)
		text_add_byte(&lower, ascii_lower(name.bytes[i]));
	digest_feed(digest, slice_of(offenders->secret,
				     sizeof(offenders->secret)));
	digest_feed(digest, slice_of(key, CENSUS_KEY_SIZE));
	digest_feed(digest, text_slice(&lower));
	digest_finish(digest, bytes);
	memcpy(key, bytes, CENSUS_KEY_SIZE);
}

static struct place *
part_of(const struct offenders *offenders, struct table *table,
	const uint8_t key[CENSUS_KEY_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	uint8_t bytes[DIGEST_SIZE];
	uint32_t at;

	digest_feed(digest, slice_of(offenders->secret,
				     sizeof(offenders->secret)));
	digest_feed(digest, slice_of(key, CENSUS_KEY_SIZE));
	digest_finish(digest, bytes);
	memcpy(&at, bytes, sizeof(at));
	return &table->places[at % (OFFENDERS_MAX / PART) * PART];
}

/* Its place; NULL: it has none. */
static struct place *
find(struct place *part, const uint8_t key[CENSUS_KEY_SIZE])
{
	for (size_t i = 0; i < PART; i++)
		if (part[i].count > 0 &&
		    memcmp(part[i].key, key, CENSUS_KEY_SIZE) == 0)
			return &part[i];
	return NULL;
}

/* A free one, or that of the one who has been here longest ago. */
static struct place *
make_room(struct place *part)
{
	struct place *oldest = &part[0];

	for (size_t i = 0; i < PART; i++) {
		if (part[i].count == 0)
			return &part[i];
		if (part[i].last_ms < oldest->last_ms)
			oldest = &part[i];
	}
	return oldest;
}

static struct place *
find_or_add(struct place *part, const uint8_t key[CENSUS_KEY_SIZE],
	    uint64_t now_ms)
{
	struct place *place = find(part, key);

	if (place != NULL)
		return place;
	place = make_room(part);
	*place = (struct place){.last_ms = now_ms};
	memcpy(place->key, key, CENSUS_KEY_SIZE);
	return place;
}

/* How long until what is noted there is over; 0: nothing is. */
static uint64_t
left_ms(struct offenders *offenders, struct table *table,
	const uint8_t key[CENSUS_KEY_SIZE])
{
	struct place *part = part_of(offenders, table, key);
	uint64_t now_ms = clock_now_ms(), found_ms = 0;
	const struct place *place;

	uv_mutex_lock(&offenders->mutex);
	place = find(part, key);
	if (place != NULL && place->until_ms > now_ms)
		found_ms = place->until_ms - now_ms;
	uv_mutex_unlock(&offenders->mutex);
	return found_ms;
}

static uint64_t
wait_after(unsigned failures, uint64_t max_ms)
{
	uint64_t wait_ms = OFFENDER_WAIT_MIN_MS;

	if (failures <= OFFENDER_FREE)
		return 0;
	for (unsigned i = OFFENDER_FREE + 1; i < failures && wait_ms < max_ms;
	     i++)
		wait_ms *= 2;
	return wait_ms < max_ms ? wait_ms : max_ms;
}

bool
offenders_know(struct offenders *offenders, const struct address *client)
{
	uint8_t key[CENSUS_KEY_SIZE];

	key_of(offenders, client, SLICE_NONE, key);
	return left_ms(offenders, &offenders->regulars, key) > 0;
}

uint64_t
offenders_wait_ms(struct offenders *offenders, const struct address *client,
		  struct slice name)
{
	uint8_t all[CENSUS_KEY_SIZE], key[CENSUS_KEY_SIZE];
	uint64_t all_ms, wait_ms;

	key_of(offenders, client, SLICE_NONE, all);
	key_of(offenders, client, name, key);
	wait_ms = left_ms(offenders, &offenders->failed, key);
	all_ms = left_ms(offenders, &offenders->failed, all);
	/* Whose name has not been said may be one of them. */
	if (all_ms > 0 && left_ms(offenders, &offenders->regulars, key) > 0)
		return name.len > 0 ? wait_ms : 0;
	return wait_ms > all_ms ? wait_ms : all_ms;
}

/* One more, of an address or of one with a name. Says how many that makes. */
static unsigned
fail_once(struct offenders *offenders, const uint8_t key[CENSUS_KEY_SIZE],
	  uint64_t max_ms)
{
	struct place *part = part_of(offenders, &offenders->failed, key);
	uint64_t now_ms = clock_now_ms();
	struct place *place;
	unsigned failures;

	uv_mutex_lock(&offenders->mutex);
	place = find_or_add(part, key, now_ms);
	/* Another thread may have been here with a later time. */
	if (now_ms > place->last_ms + OFFENDER_FORGET_MS)
		place->count = 0;
	if (place->count < 64)
		place->count++;
	failures = place->count;
	place->last_ms = now_ms;
	place->until_ms = now_ms + wait_after(failures, max_ms);
	uv_mutex_unlock(&offenders->mutex);
	return failures;
}

void
offenders_failed(struct offenders *offenders, const struct address *client,
		 struct slice name)
{
	uint8_t key[CENSUS_KEY_SIZE];
	unsigned failures = 0;

	if (name.len > 0) {
		key_of(offenders, client, name, key);
		failures = fail_once(offenders, key, OFFENDER_WAIT_MAX_MS);
	}
	if (failures > OFFENDER_FREE)
		return;
	key_of(offenders, client, SLICE_NONE, key);
	fail_once(offenders, key, OFFENDER_WAIT_ALL_MAX_MS);
}

/* Takes away that many at most. Says how many that were. */
static unsigned
forgive(struct offenders *offenders, const uint8_t key[CENSUS_KEY_SIZE],
	unsigned most, uint64_t max_ms)
{
	struct place *part = part_of(offenders, &offenders->failed, key);
	struct place *place;
	unsigned forgiven = 0;

	uv_mutex_lock(&offenders->mutex);
	place = find(part, key);
	if (place != NULL) {
		forgiven = place->count < most ? place->count : most;
		place->count -= forgiven;
		place->until_ms =
			place->last_ms + wait_after(place->count, max_ms);
	}
	uv_mutex_unlock(&offenders->mutex);
	return forgiven;
}

static void
remember(struct offenders *offenders, const uint8_t key[CENSUS_KEY_SIZE])
{
	struct place *part = part_of(offenders, &offenders->regulars, key);
	uint64_t now_ms = clock_now_ms();
	struct place *place;

	uv_mutex_lock(&offenders->mutex);
	place = find_or_add(part, key, now_ms);
	place->count = 1;
	place->last_ms = now_ms;
	place->until_ms = now_ms + OFFENDER_REGULAR_MS;
	uv_mutex_unlock(&offenders->mutex);
}

void
offenders_succeeded(struct offenders *offenders, const struct address *client,
		    struct slice name)
{
	uint8_t all[CENSUS_KEY_SIZE], key[CENSUS_KEY_SIZE];
	unsigned forgiven;

	if (name.len == 0)
		return;
	key_of(offenders, client, SLICE_NONE, all);
	key_of(offenders, client, name, key);
	forgiven = forgive(offenders, key, UINT_MAX, OFFENDER_WAIT_MAX_MS);
	forgive(offenders, all,
		forgiven < OFFENDER_FREE ? forgiven : OFFENDER_FREE,
		OFFENDER_WAIT_ALL_MAX_MS);
	remember(offenders, all);
	remember(offenders, key);
}

void
offenders_note_regular(struct offenders *offenders,
		       const struct address *client, struct slice name)
{
	uint8_t key[CENSUS_KEY_SIZE];

	if (name.len == 0)
		return;
	key_of(offenders, client, name, key);
	remember(offenders, key);
}
