#include "relay/queue/notify.h"

#include "base/clock.h"
#include "milter/header.h"
#include "milter/mime.h"

/* For who asks, where nobody else is warned. */
#define DELAY_ASKED_MS (4 * HOUR)

static const struct recipient *
recipient_at(const struct delivery *delivery, size_t i)
{
	unsigned index = delivery->recipients[i].index;

	ASSERT(index < delivery->message->recipients_count);
	return &delivery->message->recipients[index];
}

static bool
has_reader(const struct message *message)
{
	return message->reverse_path.len > 0 && !message->is_report;
}

/* --- delay --- */

static bool
is_waiting(const struct delivery_recipient *state)
{
	return state->outcome == OUTCOME_NONE ||
	       state->outcome == OUTCOME_DEFERRED;
}

static bool
delay_is_wanted(const struct recipient *recipient,
		const struct delivery_options *options)
{
	return recipient->notify == 0
		       ? options->delay_warning_ms > 0
		       : (recipient->notify & NOTIFY_DELAY) != 0;
}

bool
notify_delay_is_due(const struct delivery *delivery,
		    const struct delivery_options *options, uint64_t age_ms)
{
	uint64_t delay_ms = options->delay_warning_ms > 0
				    ? options->delay_warning_ms
				    : DELAY_ASKED_MS;

	if (delivery->is_delay_told || !has_reader(delivery->message) ||
	    age_ms < delay_ms)
		return false;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (is_waiting(&delivery->recipients[i]) &&
		    delay_is_wanted(recipient_at(delivery, i), options))
			return true;
	return false;
}

/* --- what the sender is told --- */

static enum notice
notice_of(const struct delivery *delivery, size_t i,
	  const struct recipient_result *result, bool delay_is_due,
	  const struct delivery_options *options)
{
	const struct recipient *recipient = recipient_at(delivery, i);
	unsigned notify = recipient->notify;

	switch (delivery->recipients[i].outcome) {
	case OUTCOME_FAILED:
		return notify == 0 || (notify & NOTIFY_FAILURE) != 0
			       ? NOTICE_FAILED
			       : NOTICE_NONE;
	case OUTCOME_NONE:
	case OUTCOME_DEFERRED:
		return delay_is_due && delay_is_wanted(recipient, options)
			       ? NOTICE_DELAYED
			       : NOTICE_NONE;
	case OUTCOME_DELIVERED:
		return (notify & NOTIFY_SUCCESS) != 0 &&
				       (delivery->recipients[i].is_report_owed ||
					(result != NULL &&
					 !result->dsn_passed_on))
			       ? NOTICE_RELAYED
			       : NOTICE_NONE;
	}
	return NOTICE_NONE;
}

/* Whose attempt is not over. */
static bool
has_rest(const struct delivery *delivery, const struct recipient_result *results)
{
	for (size_t i = 0; results != NULL && i < delivery->recipients_count;
	     i++)
		if (results[i].outcome == OUTCOME_NONE)
			return true;
	return false;
}

static void
decide_sender(struct notices *notices, const struct delivery *delivery,
	      const struct recipient_result *results,
	      const struct delivery_options *options, uint64_t age_ms)
{
	bool delay_is_due = !has_rest(delivery, results) &&
			    notify_delay_is_due(delivery, options, age_ms);

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		enum notice notice =
			notice_of(delivery, i,
				  results != NULL ? &results[i] : NULL,
				  delay_is_due, options);

		notices->sender[i] = notice;
		notices->sender_is_told |= notice != NOTICE_NONE;
		notices->has_failure |= notice == NOTICE_FAILED;
		notices->has_delay |= notice == NOTICE_DELAYED;
	}
}

/* --- the copy --- */

static bool
is_on_its_way_to(const struct delivery *delivery, struct slice address)
{
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (slice_eq_nocase(recipient_at(delivery, i)->address,
				    address))
			return true;
	return false;
}

static void
decide_copy(struct notices *notices, const struct delivery *delivery,
	    const struct delivery_options *options)
{
	if (options->bounce_copy.len == 0 ||
	    (delivery->message->is_report &&
	     is_on_its_way_to(delivery, options->bounce_copy)))
		return;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (delivery->recipients[i].outcome == OUTCOME_FAILED) {
			notices->copy[i] = NOTICE_FAILED;
			notices->copy_is_sent = true;
		}
}

void
notify_decide(struct notices *notices, struct arena *arena,
	      const struct delivery *delivery,
	      const struct recipient_result *results,
	      const struct delivery_options *options, uint64_t age_ms)
{
	size_t count = delivery->recipients_count;

	*notices = (struct notices){
		.sender = arena_array(arena, count, sizeof(*notices->sender)),
		.copy = arena_array(arena, count, sizeof(*notices->copy)),
	};
	if (has_reader(delivery->message))
		decide_sender(notices, delivery, results, options, age_ms);
	decide_copy(notices, delivery, options);
}

/* --- automatic mail --- */

void
notify_withdraw(struct notices *notices, const struct delivery *delivery)
{
	notices->sender_is_told = notices->has_delay = false;
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		if (notices->sender[i] == NOTICE_DELAYED &&
		    recipient_at(delivery, i)->notify == 0)
			notices->sender[i] = NOTICE_NONE;
		notices->sender_is_told |= notices->sender[i] != NOTICE_NONE;
		notices->has_delay |= notices->sender[i] == NOTICE_DELAYED;
	}
}

/* The first word of a value, without parameters and comments. */
static struct slice
first_word(struct slice value)
{
	size_t len = 0;

	value = slice_trim(value);
	while (len < value.len &&
	       (ascii_is_alpha(value.bytes[len]) || value.bytes[len] == '-'))
		len++;
	return slice_sub(value, 0, len);
}

static bool
is_automatic_field(struct slice name, struct slice value)
{
	struct slice word = first_word(value);

	if (slice_eq_nocase(name, SLICE("Auto-Submitted")))
		return !slice_eq_nocase(word, SLICE("no"));
	if (slice_eq_nocase(name, SLICE("Precedence")))
		return slice_eq_nocase(word, SLICE("bulk")) ||
		       slice_eq_nocase(word, SLICE("junk")) ||
		       slice_eq_nocase(word, SLICE("list"));
	return slice_starts_nocase(name, SLICE("List-"));
}

bool
notify_is_automatic(struct slice header)
{
	struct slice field, name, value;

	while (mime_field_next(&header, &field)) {
		if (field.len <= 2)
			return false; /* the empty line */
		if (header_field_parse(slice_sub(field, 0, field.len - 2),
				       &name, &value) == NULL &&
		    is_automatic_field(name, value))
			return true;
	}
	return false;
}
