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

struct offender {
	uint8_t key[CENSUS_KEY_SIZE];
	unsigned failures; /* 0: the place is free */
	uint64_t last_ms, until_ms;
};

struct offenders {
	uv_mutex_t mutex;
	char secret[16]; /* so that nobody chooses whom he shares a part with */
	struct offender places[OFFENDERS_MAX];
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

/* Of an address alone, or of one with a name. */
static void
key_of(const struct offenders *offenders, const struct address *client,
       struct slice name, uint8_t key[CENSUS_KEY_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	uint8_t bytes[DIGEST_SIZE];

	census_key(client, key);
	if (name.len == 0)
		return;
	digest_feed(digest, slice_of(offenders->secret,
				     sizeof(offenders->secret)));
	digest_feed(digest, slice_of(key, CENSUS_KEY_SIZE));
	digest_feed(digest, name);
	digest_finish(digest, bytes);
	memcpy(key, bytes, CENSUS_KEY_SIZE);
}

static struct offender *
part_of(struct offenders *offenders, const uint8_t key[CENSUS_KEY_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	uint8_t bytes[DIGEST_SIZE];
	uint32_t at;

	digest_feed(digest, slice_of(offenders->secret,
				     sizeof(offenders->secret)));
	digest_feed(digest, slice_of(key, CENSUS_KEY_SIZE));
	digest_finish(digest, bytes);
	memcpy(&at, bytes, sizeof(at));
	return &offenders->places[at % (OFFENDERS_MAX / PART) * PART];
}

/* The client's place; NULL: it has none. */
static struct offender *
find(struct offender *part, const uint8_t key[CENSUS_KEY_SIZE])
{
	for (size_t i = 0; i < PART; i++)
		if (part[i].failures > 0 && memcmp(part[i].key, key, CENSUS_KEY_SIZE) == 0)
			return &part[i];
	return NULL;
}

static struct offender *
make_room(struct offender *part)
{
	struct offender *oldest = &part[0];

	for (size_t i = 0; i < PART; i++) {
		if (part[i].failures == 0)
			return &part[i];
		if (part[i].last_ms < oldest->last_ms)
			oldest = &part[i];
	}
	return oldest;
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

uint64_t
offenders_wait_ms(struct offenders *offenders, const struct address *client,
		  struct slice name)
{
	uint64_t now_ms = clock_now_ms(), wait_ms = 0;
	const struct offender *offender;
	struct offender *part;
	uint8_t key[CENSUS_KEY_SIZE];

	key_of(offenders, client, name, key);
	part = part_of(offenders, key);
	uv_mutex_lock(&offenders->mutex);
	offender = find(part, key);
	if (offender != NULL && offender->until_ms > now_ms)
		wait_ms = offender->until_ms - now_ms;
	uv_mutex_unlock(&offenders->mutex);
	return wait_ms;
}

/* One more, of an address or of one with a name. Says how many that makes. */
static unsigned
fail_once(struct offenders *offenders, const uint8_t key[CENSUS_KEY_SIZE],
	  uint64_t max_ms)
{
	uint64_t now_ms = clock_now_ms();
	struct offender *part = part_of(offenders, key), *offender;
	unsigned failures;

	uv_mutex_lock(&offenders->mutex);
	offender = find(part, key);
	if (offender == NULL) {
		offender = make_room(part);
		*offender = (struct offender){.last_ms = now_ms};
		memcpy(offender->key, key, CENSUS_KEY_SIZE);
	}
	/* Another thread may have been here with a later time. */
	if (now_ms > offender->last_ms + OFFENDER_FORGET_MS)
		offender->failures = 0;
	if (offender->failures < 64)
		offender->failures++;
	failures = offender->failures;
	offender->last_ms = now_ms;
	offender->until_ms = now_ms + wait_after(failures, max_ms);
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
	struct offender *offender;
	unsigned forgiven = 0;

	uv_mutex_lock(&offenders->mutex);
	offender = find(part_of(offenders, key), key);
	if (offender != NULL) {
		forgiven = offender->failures < most ? offender->failures
						     : most;
		offender->failures -= forgiven;
		offender->until_ms =
			offender->last_ms +
			wait_after(offender->failures, max_ms);
	}
	uv_mutex_unlock(&offenders->mutex);
	return forgiven;
}

void
offenders_succeeded(struct offenders *offenders, const struct address *client,
		    struct slice name)
{
	uint8_t key[CENSUS_KEY_SIZE];
	unsigned forgiven;

	if (name.len == 0)
		return;
	key_of(offenders, client, name, key);
	forgiven = forgive(offenders, key, UINT_MAX, OFFENDER_WAIT_MAX_MS);
	key_of(offenders, client, SLICE_NONE, key);
	forgive(offenders, key,
		forgiven < OFFENDER_FREE ? forgiven : OFFENDER_FREE,
		OFFENDER_WAIT_ALL_MAX_MS);
}
