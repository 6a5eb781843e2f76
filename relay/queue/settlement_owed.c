#include <limits.h>

#include "base/clock.h"
#include "relay/queue/retry.h"
#include "relay/queue/settlement_private.h"
#include "relay/routing.h"

/* --- putting off --- */

/* Whether his outcome is stored until a report of it is made, or, for a message
 * that is damaged, until it is known that nobody is owed one. */
static bool
is_owed(const struct settlement *settlement, size_t i)
{
	const struct notices *notices = &settlement->notices;
	const struct delivery_recipient *state =
		&settlement->delivery->recipients[i];

	return state->outcome != OUTCOME_DEFERRED &&
	       (state->is_damage || notices->sender[i] != NOTICE_NONE ||
		notices->copy[i] != NOTICE_NONE);
}

/* Takes back what damage_is_kept() did for a store that then failed. */
static void
damage_fails(struct delivery *delivery, struct delivery_recipient *state)
{
	if (!state->is_damage)
		return;
	state->outcome = OUTCOME_FAILED;
	delivery->is_held = false;
}

static void
state_copy(struct delivery *to, const struct delivery_recipient *state)
{
	struct delivery_recipient *copy =
		&to->recipients[to->recipients_count++];

	*copy = *state;
	copy->is_report_owed = true;
	copy->reply = arena_copy(&to->arena, state->reply);
	copy->status = arena_copy(&to->arena, state->status);
	copy->mx = arena_copy(&to->arena, state->mx);
}

/* Those to whom a report is owed leave the delivery for one of their own, at a
 * destination where nothing else waits: neither a pause nor a backlog there
 * delays the report, and it delays no attempt. NULL: there are none. */
static struct delivery *
owed_split(const struct settlement *settlement)
{
	struct delivery *delivery = settlement->delivery, *owed = NULL;
	char name[DESTINATION_MAX];

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		struct delivery_recipient *state = &delivery->recipients[i];

		if (!is_owed(settlement, i))
			continue;
		if (owed == NULL) {
			owed = memory_new(sizeof(*owed));
			list_init(&owed->link);
			owed->arena = ARENA_SMALL;
			owed->message = message_ref(delivery->message);
			owed->destination = arena_copy(
				&owed->arena,
				routing_reports(delivery->destination,
						state->number, name));
			owed->recipients = arena_array(
				&owed->arena, delivery->recipients_count,
				sizeof(*owed->recipients));
			owed->last_attempt_ms = settlement_attempt_ms(settlement);
			owed->is_report_owed = true;
			owed->report_tries = delivery->report_tries;
		}
		state_copy(owed, state);
		state->is_damage = false;
	}
	return owed;
}

/* It is in its own place already. */
static void
owed_keep(const struct settlement *settlement)
{
	struct delivery *delivery = settlement->delivery;

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		struct delivery_recipient *state = &delivery->recipients[i];

		state->is_report_owed = is_owed(settlement, i);
		delivery->is_report_owed |= state->is_report_owed;
	}
}

static uint64_t
first_wait_ms(const struct settlement *settlement)
{
	return settlement->destination->home->schedule->report_retry_ms;
}

bool
owed_goes_unsigned(const struct settlement *settlement)
{
	return settlement->is_for_report &&
	       retry_report_is_over(
		       &settlement_options(settlement->destination)->delivery,
		       first_wait_ms(settlement),
		       settlement->delivery->report_tries);
}

void
owed_note_signed(struct settlement *settlement)
{
	struct delivery *delivery = settlement->delivery;

	if (!settlement->is_unsigned)
		delivery->report_tries = retry_report_signed(
			first_wait_ms(settlement), delivery->report_tries);
}

/* Counts the try, and says when the next one is due. What somebody has asked for
 * counts for nothing, and moves nothing: others wait as long for the signer as
 * without him. */
static uint64_t
owed_due_ms(struct settlement *settlement, uint64_t now_ms)
{
	struct delivery *delivery = settlement->delivery;
	uint64_t first_ms = first_wait_ms(settlement), asked_ms;

	if (settlement->was_asked_for && delivery->report_tries > 0) {
		asked_ms = retry_report_asked_ms(
			delivery->last_attempt_ms,
			retry_report_ms(first_ms, delivery->report_tries),
			delivery->due_ms, now_ms);
		if (asked_ms > 0)
			return asked_ms;
	}
	if (delivery->report_tries < UINT_MAX)
		delivery->report_tries++;
	return now_ms + retry_report_ms(first_ms, delivery->report_tries);
}

/* A warning of a delay comes with the next attempt; what is final would not
 * come again, and is stored with whom a report is owed to. */
void
settlement_put_off(struct settlement *settlement, const char *what,
		   const struct fault *fault)
{
	struct delivery *delivery = settlement->delivery;
	uint64_t due_ms = clock_wall_ms();

	ASSERT(settlement->owed == NULL);
	if (what != NULL) {
		settlement_log(settlement, what, fault);
		due_ms = owed_due_ms(settlement, due_ms);
	}
	settlement_report_drop(settlement);
	delivery->is_delay_told = settlement->was_delay_told;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		damage_fails(delivery, &delivery->recipients[i]);
	if (settlement->is_for_report) {
		owed_keep(settlement);
		if (delivery->is_report_owed)
			settlement->due_ms = due_ms;
	} else {
		settlement->owed = owed_split(settlement);
		if (settlement->owed != NULL)
			settlement->owed->due_ms = due_ms;
		/* The lease may go on, and have another. */
		delivery->report_tries = 0;
	}
	settlement_store(settlement);
}

void
owed_hand_over(struct settlement *settlement)
{
	struct list deliveries;

	if (settlement->owed == NULL)
		return;
	list_init(&deliveries);
	list_add_last(&deliveries, &TAKE(settlement->owed)->link);
	schedule_add(settlement->destination->home->schedule, &deliveries);
}

/* --- once it is due --- */

/* Of what became of it before, only the report is made now; the log has all of
 * it. */
void
owed_apply(struct settlement *settlement)
{
	struct delivery *delivery = settlement->delivery;

	delivery->is_owed_attempt = false;
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		struct delivery_recipient *state = &delivery->recipients[i];

		if (state->is_report_owed)
			continue;
		state->outcome = OUTCOME_DEFERRED;
		settlement->due_ms = settlement->now_ms;
	}
}

void
owed_forget(struct delivery *delivery)
{
	delivery->is_report_owed = false;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		delivery->recipients[i].is_report_owed = false;
}
