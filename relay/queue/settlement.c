#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/retry.h"
#include "relay/queue/settlement_private.h"
#include "relay/routing.h"

const struct options *
settlement_options(const struct destination *destination)
{
	return destination->public.loop->generation->options;
}

/* --- trying again --- */

static void
settlement_on_alarm(struct alarm *alarm)
{
	struct settlement *settlement =
		CONTAINER(alarm, struct settlement, alarm);

	settlement->waits = false;
	settlement->again(settlement);
}

void
settlement_log(const struct settlement *settlement, const char *what,
	       const struct fault *fault)
{
	char id[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(&settlement->lease->id, id);
	log_begin(&line, LOG_LEVEL_ERROR, "settle");
	log_string(&line, "id", id);
	log_string(&line, "what", what);
	log_fault(&line, fault);
	log_send(&line);
}

void
settlement_retry(struct settlement *settlement,
		 void (*again)(struct settlement *settlement),
		 const char *what, const struct fault *fault)
{
	settlement_log(settlement, what, fault);
	if (settlement->has_place) {
		settlement_report_drop(settlement);
		again = settlement_report;
	}
	if (!settlement->has_alarm)
		alarm_init(&settlement->alarm,
			   settlement->destination->public.loop,
			   settlement_on_alarm);
	settlement->has_alarm = true;
	settlement->retry_ms = settlement->retry_ms == 0
				       ? SETTLE_RETRY_MS
				       : settlement->retry_ms * 2;
	if (settlement->retry_ms > SETTLE_RETRY_MAX_MS)
		settlement->retry_ms = SETTLE_RETRY_MAX_MS;
	settlement->again = again;
	settlement->waits = true;
	alarm_set(&settlement->alarm, settlement->retry_ms);
}

/* --- what is over without being tried --- */

/* Whether what has become of others there goes for this one as well: nobody got
 * there again and again, the last time just now. */
static bool
is_over_by_others(const struct destination *destination,
		  const struct delivery *delivery)
{
	return destination->sweeps &&
	       trouble_settles(&destination->trouble, delivery,
			       &settlement_options(destination)->delivery);
}

static bool
is_over(const struct destination *destination, const struct delivery *delivery)
{
	unsigned attempts = retry_attempts(delivery);
	uint64_t now_ms = clock_wall_ms();
	/* By a clock that is ahead of ours it may have been tried later. */
	uint64_t tried_ms = delivery->last_attempt_ms < now_ms
				    ? delivery->last_attempt_ms
				    : now_ms;

	return attempts > 0 &&
	       retry_is_over(delivery,
			     &settlement_options(destination)->delivery,
			     attempts, tried_ms);
}

bool
settlement_needs_no_attempt(const struct destination *destination,
			    const struct delivery *delivery)
{
	return delivery->is_report_owed ||
	       (!delivery->is_owed_attempt &&
		(is_over(destination, delivery) ||
		 is_over_by_others(destination, delivery)));
}

uint64_t
settlement_wait_max_ms(const struct destination *destination)
{
	uint64_t max_ms = retry_wait_max_ms(
		&settlement_options(destination)->delivery);
	uint64_t reports_max_ms = SETTLE_REPORT_RETRY_MAX_MS + MINUTE;

	return max_ms > reports_max_ms ? max_ms : reports_max_ms;
}

/* --- results --- */

/* Of a reply "550 5.1.1 …", else by the outcome's class. */
static struct slice
status_of_reply(enum outcome outcome, struct slice reply)
{
	struct slice status = outcome_find_status(slice_from(reply, 4));

	if (status.len > 0)
		return status;
	if (outcome == OUTCOME_FAILED)
		return SLICE("5.0.0");
	return outcome == OUTCOME_DEFERRED ? SLICE("4.0.0") : SLICE("2.0.0");
}

static void
recipient_apply(struct delivery *delivery, size_t i,
		const struct recipient_result *result)
{
	struct delivery_recipient *state = &delivery->recipients[i];
	struct slice status = result->status;

	ASSERT(result->outcome != OUTCOME_NONE);
	if (status.len == 0)
		status = status_of_reply(result->outcome, result->reply);
	state->outcome = result->outcome;
	state->is_damage = result->is_damage;
	state->attempts++;
	/* Words of ours say their status too, as a peer's reply does. */
	state->reply =
		outcome_is_reply(result->reply) || result->reply.len == 0
			? arena_copy(&delivery->arena, result->reply)
			: arena_printf(&delivery->arena, "%.*s %.*s",
				       SLICE_ARG(status),
				       SLICE_ARG(result->reply));
	state->status = arena_copy(&delivery->arena, status);
	state->mx = arena_copy(&delivery->arena, result->mx);
}

/* What was to be tried again, but is too old: the last reply stays. */
static void
recipients_expire(struct delivery *delivery)
{
	struct fate expired = outcome_of_trouble(TROUBLE_EXPIRED);

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		struct delivery_recipient *state = &delivery->recipients[i];

		if (state->outcome != OUTCOME_DEFERRED &&
		    state->outcome != OUTCOME_NONE)
			continue;
		state->outcome = expired.outcome;
		state->status =
			arena_copy(&delivery->arena, SLICE(expired.status));
	}
}

static void
recipient_log(const struct settlement *settlement, size_t i,
	      const struct recipient_result *result)
{
	const struct delivery *delivery = settlement->delivery;
	const struct message *message = delivery->message;
	const struct delivery_recipient *state = &delivery->recipients[i];
	uint64_t delay_ms = settlement->now_ms > message->received_ms
				    ? settlement->now_ms -
					      message->received_ms
				    : 0;
	char id[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(&message->id, id);
	log_begin(&line, LOG_LEVEL_INFO, outcome_event(state->outcome));
	log_string(&line, "id", id);
	log_text(&line, "to", message->recipients[state->index].address);
	log_text(&line, "domain", routing_domain(delivery->destination));
	log_text(&line, "mx", state->mx);
	log_text(&line, "address",
		 result != NULL ? result->address : SLICE_NONE);
	log_text(&line, "tls", result != NULL ? result->tls : SLICE_NONE);
	if (result != NULL && result->certificate.len > 0) {
		log_text(&line, "certificate", result->certificate);
		log_bool(&line, "resumed", result->is_resumed);
	}
	log_text(&line, "reply", state->reply);
	log_text(&line, "status", state->status);
	log_seconds(&line, "delay", delay_ms);
	if (state->outcome == OUTCOME_DEFERRED)
		log_time(&line, "next", settlement->due_ms);
	if (result != NULL && result->left_out.len > 0)
		log_text(&line, "unsigned", result->left_out);
	if (result != NULL && result->changes != NULL) {
		changes_log_signatures(&line, result->changes);
		changes_log_changed(&line, result->changes);
	}
	log_send(&line);
}

static void
recipient_count(struct schedule *schedule, enum outcome outcome)
{
	if (outcome == OUTCOME_DELIVERED)
		atomic_fetch_add(&schedule->delivered, 1);
	else if (outcome == OUTCOME_DEFERRED)
		atomic_fetch_add(&schedule->deferred, 1);
	else
		atomic_fetch_add(&schedule->bounced, 1);
}

void
schedule_count(const struct schedule *schedule, struct schedule_counters *out)
{
	*out = (struct schedule_counters){
		.delivered = atomic_load(&schedule->delivered),
		.deferred = atomic_load(&schedule->deferred),
		.bounced = atomic_load(&schedule->bounced),
	};
}

static void
results_apply(struct settlement *settlement,
	      const struct recipient_result *results)
{
	struct delivery *delivery = settlement->delivery;
	const struct delivery_options *options =
		&settlement_options(settlement->destination)->delivery;
	unsigned attempts;

	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (results[i].outcome != OUTCOME_NONE)
			recipient_apply(delivery, i, &results[i]);
		else
			settlement->has_rest = true;
	/* Up to the last row, which may be delivery/'s last word. */
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (results[i].outcome != OUTCOME_NONE)
			trouble_note(&settlement->destination->trouble,
				     &results[i]);
	/* What the attempt is for those who are left still have. */
	if (settlement->has_rest)
		return;
	delivery->last_attempt_ms = settlement->now_ms;
	delivery->is_owed_attempt = false;
	attempts = retry_attempts(delivery);
	if (retry_is_over(delivery, options, attempts, settlement->now_ms))
		recipients_expire(delivery);
}

/* What is over without being tried now: its own last attempt was too late, or
 * the last ones of others count for it. */
static void
others_apply(struct settlement *settlement)
{
	struct destination *destination = settlement->destination;
	struct destination_trouble *trouble = &destination->trouble;
	struct delivery *delivery = settlement->delivery;
	bool is_expired = is_over(destination, delivery);

	if (!is_expired) {
		delivery->last_attempt_ms = trouble->at_ms;
		for (size_t i = 0; i < delivery->recipients_count; i++)
			recipient_apply(delivery, i, &trouble->result);
		is_expired = trouble_is_final(
			trouble, delivery,
			&settlement_options(destination)->delivery);
	}
	if (is_expired)
		recipients_expire(delivery);
}

static void
outcomes_log(struct settlement *settlement,
	     const struct recipient_result *results)
{
	const struct delivery *delivery = settlement->delivery;

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		if (results != NULL && results[i].outcome == OUTCOME_NONE)
			continue;
		recipient_log(settlement, i,
			      results != NULL ? &results[i] : NULL);
		recipient_count(settlement->destination->home->schedule,
				delivery->recipients[i].outcome);
	}
}

/* --- storing --- */

static void
settlement_free(struct settlement *settlement)
{
	ASSERT(!settlement->has_place);
	ASSERT(settlement->owed == NULL);
	arena_done(&settlement->arena);
	free(settlement);
}

static void
settlement_closed(struct alarm *alarm)
{
	settlement_free(CONTAINER(alarm, struct settlement, alarm));
}

static void
settlement_stored(struct store_settle *settle, const struct fault *fault)
{
	struct settlement *settlement = settle->private;
	struct destination *destination = settlement->destination;
	struct lease *lease = settlement->lease;
	schedule_noted_fn *noted = settlement->noted;
	uint64_t due_ms = settlement->due_ms;

	if (fault != NULL && settlement->reports_count > 0) {
		owed_note_signed(settlement);
		settlement_put_off(settlement, "a report cannot be stored",
				   fault);
		return;
	}
	if (fault != NULL) {
		settlement_retry(settlement, settlement_store,
				 "an outcome cannot be stored; it is kept in "
				 "memory",
				 fault);
		return;
	}
	settlement_report_log(settlement);
	for (size_t i = 0; i < settle->reports_count; i++)
		schedule_add(destination->home->schedule,
			     &settle->reports[i].deliveries);
	owed_hand_over(settlement);
	settlement_report_drop(settlement);
	if (settlement->has_alarm)
		alarm_close(&settlement->alarm, settlement_closed);
	else
		settlement_free(settlement);
	/* Frees the delivery, and perhaps the destination. */
	if (noted == NULL)
		destination_settled(destination, lease, due_ms);
	else
		destination_noted(destination, lease, noted);
}

/* What is left of a damaged message, once nobody is to get it any more, is for
 * the administrator: held, with why. The log and the reports have said already
 * that it failed. */
static bool
damage_is_kept(const struct settlement *settlement)
{
	struct delivery *delivery = settlement->delivery;

	if (settlement->due_ms != 0)
		return false;
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		struct delivery_recipient *state = &delivery->recipients[i];

		if (!state->is_damage)
			continue;
		state->outcome = OUTCOME_DEFERRED;
		delivery->is_held = true;
	}
	return delivery->is_held;
}

void
settlement_store(struct settlement *settlement)
{
	bool is_kept = damage_is_kept(settlement);

	settlement->settle = (struct store_settle){
		.delivery = settlement->delivery,
		.due_ms = is_kept ? settlement->now_ms : settlement->due_ms,
		.besides = settlement->owed,
		.reports_count = settlement->reports_count,
		.loop = settlement->destination->public.loop,
		.done = settlement_stored,
		.private = settlement,
	};
	for (size_t i = 0; i < settlement->reports_count; i++)
		settlement->settle.reports[i].message = settlement->reports[i];
	list_remove(&settlement->reporting);
	store_settle(settlement->destination->home->schedule->store,
		     &settlement->settle);
}

/* --- start --- */

static void
outcomes_apply(struct settlement *settlement,
	       const struct recipient_result *results)
{
	if (results != NULL)
		results_apply(settlement, results);
	else
		others_apply(settlement);
	settlement->due_ms = retry_due_ms(
		settlement->delivery,
		&settlement_options(settlement->destination)->delivery,
		settlement->now_ms);
	if (settlement->has_rest)
		settlement->due_ms = settlement->now_ms;
	/* Its place is where it is looked for the next time. */
	if (settlement->noted != NULL)
		settlement->due_ms = settlement->delivery->due_ms;
	outcomes_log(settlement, results);
}

void
settlement_start(struct destination *destination, struct lease *lease,
		 const struct recipient_result *results,
		 schedule_noted_fn *noted)
{
	struct settlement *settlement = memory_new(sizeof(*settlement));
	const struct delivery_options *options =
		&settlement_options(destination)->delivery;
	struct delivery *delivery = lease->delivery;
	struct notices *notices = &settlement->notices;

	ASSERT(lease->state == LEASE_SETTLING);
	settlement->destination = destination;
	settlement->lease = lease;
	settlement->noted = noted;
	settlement->delivery = delivery;
	settlement->now_ms = clock_wall_ms();
	settlement->was_delay_told = delivery->is_delay_told;
	settlement->was_asked_for = delivery->is_owed_attempt;
	list_init(&settlement->reporting);
	list_init(&settlement->waiting);
	settlement->is_for_report =
		routing_is_of_reports(delivery->destination);
	if (delivery->is_report_owed)
		owed_apply(settlement);
	else
		outcomes_apply(settlement, results);
	notify_decide(notices, &settlement->arena, delivery, results, options,
		      retry_age_ms(delivery, options, retry_attempts(delivery),
				   settlement->now_ms));
	owed_forget(delivery);
	/* Durable with the warning itself. */
	delivery->is_delay_told |= notices->has_delay;
	if (!notices->sender_is_told && !notices->copy_is_sent)
		settlement_store(settlement);
	else if (noted != NULL)
		settlement_put_off(settlement, NULL, NULL);
	else
		settlement_report(settlement);
}
