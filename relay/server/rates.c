#include "relay/server/rates.h"

#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

#define BUCKETS 4096

struct rate {
	struct list link, turn;
	/* When all that was spent will have come back. */
	uint64_t whole_again_us;
	size_t len;
	char key[];
};

/* Keys are names of users: nobody chooses many that share a bucket. */
struct rates {
	uv_mutex_t mutex;
	struct list buckets[BUCKETS];
	struct list turns; /* who spent last comes last */
	size_t count;
	bool has_warned;
};

struct rates *
rates_new(void)
{
	struct rates *rates = memory_new(sizeof(*rates));

	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&rates->buckets[i]);
	list_init(&rates->turns);
	ASSERT(uv_mutex_init(&rates->mutex) == 0);
	return rates;
}

void
rates_free(struct rates *rates)
{
	if (rates == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_EACH(item, &rates->buckets[i])
			free(CONTAINER(item, struct rate, link));
	uv_mutex_destroy(&rates->mutex);
	free(rates);
}

static uint64_t
now_us(void)
{
	return clock_now_ms() * 1000;
}

static void
forget(struct rates *rates, struct rate *rate)
{
	list_remove(&rate->link);
	list_remove(&rate->turn);
	free(rate);
	rates->count--;
}

/* Drops on its way who has nothing spent any more. */
static struct rate *
find(struct rates *rates, struct list *bucket, struct slice key,
     uint64_t at_us)
{
	struct rate *found = NULL;

	LIST_EACH(item, bucket) {
		struct rate *rate = CONTAINER(item, struct rate, link);

		if (rate->whole_again_us <= at_us) {
			forget(rates, rate);
		} else if (slice_eq(slice_of(rate->key, rate->len), key)) {
			found = rate;
		}
	}
	return found;
}

static struct list *
bucket_of(struct rates *rates, struct slice key)
{
	return &rates->buckets[slice_hash(key) % BUCKETS];
}

static uint64_t
each_us(uint64_t per_hour)
{
	return HOUR * 1000 / per_hour;
}

uint64_t
rates_wait_ms(struct rates *rates, struct slice key, uint64_t per_hour)
{
	const struct rate *rate;
	uint64_t spent_us = 0, over_us, at_us;

	if (per_hour == 0)
		return 0;
	uv_mutex_lock(&rates->mutex);
	at_us = now_us(); /* one for both: time goes on in between */
	rate = find(rates, bucket_of(rates, key), key, at_us);
	if (rate != NULL)
		spent_us = rate->whole_again_us - at_us;
	uv_mutex_unlock(&rates->mutex);
	if (spent_us + each_us(per_hour) <= HOUR * 1000)
		return 0;
	over_us = spent_us + each_us(per_hour) - HOUR * 1000;
	return (over_us + 999) / 1000;
}

static struct rate *
rate_add(struct rates *rates, struct list *bucket, struct slice key)
{
	struct rate *rate;

	if (rates->count >= RATES_MAX) {
		if (!rates->has_warned)
			log_note(LOG_LEVEL_WARNING, "limit",
				 "more than %d users send at once: what those "
				 "spent who have sent nothing for longest is "
				 "forgotten", RATES_MAX);
		rates->has_warned = true;
		forget(rates,
		       CONTAINER(rates->turns.next, struct rate, turn));
	}
	rate = memory_new(sizeof(*rate) + key.len);
	memcpy(rate->key, key.bytes, key.len);
	rate->len = key.len;
	rate->whole_again_us = now_us();
	list_add_last(bucket, &rate->link);
	list_init(&rate->turn);
	rates->count++;
	return rate;
}

void
rates_spend(struct rates *rates, struct slice key, uint64_t per_hour)
{
	struct list *bucket = bucket_of(rates, key);
	struct rate *rate;

	if (per_hour == 0)
		return;
	uv_mutex_lock(&rates->mutex);
	rate = find(rates, bucket, key, now_us());
	if (rate == NULL)
		rate = rate_add(rates, bucket, key);
	rate->whole_again_us += each_us(per_hour);
	list_remove(&rate->turn);
	list_add_last(&rates->turns, &rate->turn);
	uv_mutex_unlock(&rates->mutex);
}
