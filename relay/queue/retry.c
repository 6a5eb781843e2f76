#include "relay/queue/retry.h"

#include "base/clock.h"

#define GREYLIST_DELAY_MS (5 * MINUTE)
#define GREYLIST_AGE_MS (30 * MINUTE)
/* Of a delay, at most so much is added. */
#define JITTER_PART 10

unsigned
retry_attempts(const struct delivery *delivery)
{
	unsigned attempts = 0;

	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (delivery->recipients[i].attempts > attempts)
			attempts = delivery->recipients[i].attempts;
	return attempts;
}

/* --- the end --- */

uint64_t
retry_age_ms(const struct delivery *delivery,
	     const struct delivery_options *options, unsigned attempts,
	     uint64_t now_ms)
{
	uint64_t received_ms = delivery->message->received_ms, age_ms = 0;

	if (now_ms >= received_ms &&
	    (received_ms >= CLOCK_SET_MS || now_ms < CLOCK_SET_MS))
		return now_ms - received_ms;
	for (size_t i = 0; i < options->retry_count && attempts > 0; i++) {
		/* The last one repeats. */
		unsigned times = i + 1 < options->retry_count ? 1 : attempts;

		age_ms += times * options->retry_ms[i];
		attempts -= times;
	}
	return age_ms;
}

uint64_t
retry_expires_ms(const struct delivery *delivery,
		 const struct delivery_options *options, unsigned attempts,
		 uint64_t now_ms)
{
	uint64_t age_ms = retry_age_ms(delivery, options, attempts, now_ms);

	return age_ms < options->expire_ms
		       ? now_ms + (options->expire_ms - age_ms)
		       : now_ms;
}

/* What the schedule itself would have made of `expire` by the end of its list:
 * the first attempt, and one for each delay that lies within. span_ms_out: from
 * the first to the last of them. */
static unsigned
attempts_min(const struct delivery_options *options, uint64_t *span_ms_out)
{
	uint64_t at_ms = 0;
	unsigned attempts = 1;

	*span_ms_out = 0;
	for (size_t i = 0; i < options->retry_count; i++) {
		at_ms += options->retry_ms[i] + options->retry_ms[i] / JITTER_PART;
		if (at_ms >= options->expire_ms)
			break;
		*span_ms_out = at_ms;
		attempts++;
	}
	return attempts;
}

bool
retry_is_over(const struct delivery *delivery,
	      const struct delivery_options *options, unsigned attempts,
	      uint64_t tried_ms)
{
	uint64_t span_ms;

	return !delivery->is_held &&
	       attempts >= attempts_min(options, &span_ms) &&
	       retry_age_ms(delivery, options, attempts, tried_ms) >=
		       options->expire_ms;
}

bool
retry_is_over_unseen(const struct delivery *delivery,
		     const struct delivery_options *options, unsigned probes,
		     uint64_t lasted_ms, uint64_t at_ms)
{
	uint64_t span_ms;

	(void)attempts_min(options, &span_ms);
	return lasted_ms >= span_ms &&
	       retry_is_over(delivery, options, probes, at_ms);
}

/* --- reports --- */

/* The first try whose wait is the longest. */
static unsigned
report_tries_longest(uint64_t first_ms)
{
	unsigned tries = 1;

	ASSERT(first_ms > 0);
	for (; first_ms < SETTLE_REPORT_RETRY_MAX_MS; first_ms *= 2)
		tries++;
	return tries;
}

uint64_t
retry_report_ms(uint64_t first_ms, unsigned tries)
{
	ASSERT(tries > 0);
	return tries < report_tries_longest(first_ms)
		       ? first_ms << (tries - 1)
		       : SETTLE_REPORT_RETRY_MAX_MS;
}

bool
retry_report_is_over(const struct delivery_options *options, uint64_t first_ms,
		     unsigned tries)
{
	unsigned longest = report_tries_longest(first_ms);
	uint64_t waited_ms = 0;

	for (unsigned i = 1; i <= tries && i < longest; i++)
		waited_ms += retry_report_ms(first_ms, i);
	if (tries >= longest)
		waited_ms += (uint64_t)(tries - longest + 1) *
			     SETTLE_REPORT_RETRY_MAX_MS;
	return tries > 0 && waited_ms >= options->expire_ms;
}

uint64_t
retry_report_asked_ms(uint64_t since_ms, uint64_t wait_ms, uint64_t asked_ms,
		      uint64_t now_ms)
{
	uint64_t steps, next_ms;

	ASSERT(wait_ms > 0);
	if (asked_ms < since_ms)
		return now_ms + wait_ms;
	steps = (asked_ms - since_ms) / wait_ms + 1;
	next_ms = since_ms + steps * wait_ms;
	if (next_ms <= now_ms)
		return 0;
	/* A clock that was set back in between. */
	return next_ms < now_ms + wait_ms ? next_ms : now_ms + wait_ms;
}

unsigned
retry_report_signed(uint64_t first_ms, unsigned tries)
{
	unsigned longest = report_tries_longest(first_ms);

	return tries < longest ? tries : longest;
}

/* --- at once --- */

bool
retry_is_meant(const struct delivery *delivery, uint64_t begun_ms,
	       uint64_t now_ms)
{
	return delivery->last_attempt_ms < begun_ms ||
	       delivery->last_attempt_ms > now_ms;
}

/* --- greylisting --- */

static bool
has_word(struct slice text, struct slice word)
{
	for (size_t i = 0; i + word.len <= text.len; i++)
		if (slice_starts_nocase(slice_from(text, i), word))
			return true;
	return false;
}

bool
retry_is_greylisting(struct slice reply)
{
	struct slice status = outcome_find_status(slice_from(reply, 4));

	if (!slice_starts(reply, SLICE("450 ")) &&
	    !slice_starts(reply, SLICE("451 ")))
		return false;
	return status.len == 0 || slice_eq(status, SLICE("4.2.0")) ||
	       slice_eq(status, SLICE("4.7.0")) ||
	       slice_eq(status, SLICE("4.7.1")) ||
	       has_word(reply, SLICE("greylist")) ||
	       has_word(reply, SLICE("graylist"));
}

/* --- the next attempt --- */

/* The same for all who ask, different for each message and each attempt. */
static uint64_t
jitter_ms(const struct delivery *delivery, unsigned attempts,
	  uint64_t delay_ms)
{
	uint8_t seed[MESSAGE_ID_SIZE + sizeof(attempts)];

	memcpy(seed, delivery->message->id.bytes, MESSAGE_ID_SIZE);
	memcpy(seed + MESSAGE_ID_SIZE, &attempts, sizeof(attempts));
	return slice_hash(slice_of(seed, sizeof(seed))) %
	       (delay_ms / JITTER_PART + 1);
}

uint64_t
retry_due_ms(const struct delivery *delivery,
	     const struct delivery_options *options, uint64_t now_ms)
{
	uint64_t delay_ms, due_ms, expires_ms;
	bool is_greylisted = false;
	unsigned attempts = 0;

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *state =
			&delivery->recipients[i];

		if (state->outcome != OUTCOME_DEFERRED)
			continue;
		if (state->attempts > attempts)
			attempts = state->attempts;
		is_greylisted |= retry_is_greylisting(state->reply);
	}
	if (attempts == 0)
		return 0;
	delay_ms = options->retry_ms[attempts > options->retry_count
					     ? options->retry_count - 1
					     : attempts - 1];
	if (is_greylisted && delay_ms > GREYLIST_DELAY_MS &&
	    retry_age_ms(delivery, options, attempts, now_ms) <
		    GREYLIST_AGE_MS)
		delay_ms = GREYLIST_DELAY_MS;
	due_ms = now_ms + delay_ms + jitter_ms(delivery, attempts, delay_ms);
	expires_ms = retry_expires_ms(delivery, options, attempts, now_ms);
	/* The last attempt is not later for having waited. */
	return due_ms > expires_ms && expires_ms > now_ms ? expires_ms
							  : due_ms;
}

uint64_t
retry_wait_max_ms(const struct delivery_options *options)
{
	uint64_t max_ms = 0;

	for (size_t i = 0; i < options->retry_count; i++)
		if (options->retry_ms[i] > max_ms)
			max_ms = options->retry_ms[i];
	return max_ms + max_ms / JITTER_PART + MINUTE;
}
