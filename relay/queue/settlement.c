#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "milter/proof.h"
#include "relay/net/signing.h"
#include "relay/queue/bounce.h"
#include "relay/queue/schedule_private.h"

/*
 * A settlement: results are applied and logged; where somebody is to be told,
 * the original's header is read, a report made and signed; then all is stored
 * in one transaction. What cannot be done now (a full disk, no signer) is tried
 * again until it can: an outcome is never lost while the process lives.
 */
struct settlement {
	struct destination *destination;
	struct lease *lease;
	struct delivery *delivery;
	uint64_t now_ms, due_ms; /* wall; due 0: nothing is left */
	/* the report */
	struct text header;
	unsigned header_failures;
	struct store_read_body read;
	struct message *report;
	struct pipeline *pipeline;
	struct signing_order order;
	/* storing */
	struct store_settle settle;
	/* trying again */
	struct alarm alarm;
	bool has_alarm;
	uint64_t retry_ms;
	void (*again)(struct settlement *settlement);
};

static const struct options *
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

	settlement->again(settlement);
}

static void
settlement_retry(struct settlement *settlement,
		 void (*again)(struct settlement *settlement),
		 const char *what, const struct fault *fault)
{
	char id[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(&settlement->lease->id, id);
	log_begin(&line, LOG_LEVEL_ERROR, "settle");
	log_string(&line, "id", id);
	log_string(&line, "what", what);
	log_fault(&line, fault);
	log_send(&line);
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
	alarm_set(&settlement->alarm, settlement->retry_ms);
}

/* --- results --- */

/* Of what was received by a clock that was ahead of ours, as long as so many
 * attempts take. */
static uint64_t
delivery_age_ms(const struct delivery *delivery,
		const struct delivery_options *options, unsigned attempts)
{
	uint64_t now_ms = clock_wall_ms(), age_ms = 0;

	if (now_ms >= delivery->message->received_ms)
		return now_ms - delivery->message->received_ms;
	for (size_t i = 0; i < options->retry_count && attempts > 0; i++) {
		/* The last one repeats. */
		unsigned times = i + 1 < options->retry_count ? 1 : attempts;

		age_ms += times * options->retry_ms[i];
		attempts -= times;
	}
	return age_ms;
}

bool
settlement_has_expired(const struct destination *destination,
		       const struct delivery *delivery)
{
	const struct delivery_options *options =
		&settlement_options(destination)->delivery;
	unsigned attempts = 0;

	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (delivery->recipients[i].attempts > attempts)
			attempts = delivery->recipients[i].attempts;
	return attempts > 0 && !delivery->is_held &&
	       !delivery->is_owed_attempt &&
	       delivery_age_ms(delivery, options, attempts) >=
		       options->expire_ms;
}

uint64_t
settlement_wait_max_ms(const struct destination *destination)
{
	const struct delivery_options *options =
		&settlement_options(destination)->delivery;
	uint64_t max_ms = 0;

	for (size_t i = 0; i < options->retry_count; i++)
		if (options->retry_ms[i] > max_ms)
			max_ms = options->retry_ms[i];
	return max_ms + MINUTE;
}

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

/* When what is left is due again; 0: nothing is left. */
static uint64_t
delivery_next_due(const struct delivery *delivery,
		  const struct delivery_options *options, uint64_t now_ms)
{
	uint64_t expires_ms =
		delivery->message->received_ms + options->expire_ms;
	uint64_t due_ms;
	unsigned attempts = 0;

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *state =
			&delivery->recipients[i];

		if (state->outcome == OUTCOME_DEFERRED &&
		    state->attempts > attempts)
			attempts = state->attempts;
	}
	if (attempts == 0)
		return 0;
	if (attempts > options->retry_count)
		attempts = (unsigned)options->retry_count;
	due_ms = now_ms + options->retry_ms[attempts - 1];
	/* Its end is not later for having waited. */
	return due_ms > expires_ms && expires_ms > now_ms ? expires_ms
							  : due_ms;
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
	log_text(&line, "domain", delivery->destination);
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

static bool
delivery_has_failed(const struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (delivery->recipients[i].outcome == OUTCOME_FAILED)
			return true;
	return false;
}

static void
results_apply(struct settlement *settlement,
	      const struct recipient_result *results)
{
	struct delivery *delivery = settlement->delivery;

	if (results != NULL) {
		delivery->last_attempt_ms = settlement->now_ms;
		delivery->is_owed_attempt = false;
		for (size_t i = 0; i < delivery->recipients_count; i++)
			recipient_apply(delivery, i, &results[i]);
	}
	if (results == NULL ||
	    settlement_has_expired(settlement->destination, delivery))
		recipients_expire(delivery);
	settlement->due_ms = delivery_next_due(
		delivery, &settlement_options(settlement->destination)->delivery,
		settlement->now_ms);
	for (size_t i = 0; i < delivery->recipients_count; i++) {
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
	text_done(&settlement->header);
	text_done(&settlement->read.bytes);
	if (settlement->pipeline != NULL)
		pipeline_free(settlement->pipeline);
	if (settlement->report != NULL)
		message_unref(settlement->report);
	free(settlement);
}

static void
settlement_closed(struct alarm *alarm)
{
	settlement_free(CONTAINER(alarm, struct settlement, alarm));
}

static void
settlement_store(struct settlement *settlement);

static void
settlement_stored(struct store_settle *settle, const struct fault *fault)
{
	struct settlement *settlement = settle->private;
	struct destination *destination = settlement->destination;
	struct lease *lease = settlement->lease;
	uint64_t due_ms = settlement->due_ms;

	if (fault != NULL) {
		settlement_retry(settlement, settlement_store,
				 "an outcome cannot be stored; it is kept in "
				 "memory",
				 fault);
		return;
	}
	schedule_add(destination->home->schedule, &settle->deliveries);
	if (settlement->has_alarm)
		alarm_close(&settlement->alarm, settlement_closed);
	else
		settlement_free(settlement);
	/* Frees the delivery, and perhaps the destination. */
	destination_settled(destination, lease, due_ms);
}

static void
settlement_store(struct settlement *settlement)
{
	settlement->settle = (struct store_settle){
		.delivery = settlement->delivery,
		.due_ms = settlement->due_ms,
		.report = settlement->report,
		.loop = settlement->destination->public.loop,
		.done = settlement_stored,
		.private = settlement,
	};
	store_settle(settlement->destination->home->schedule->store,
		     &settlement->settle);
}

/* --- the report --- */

/* Each field with its folding, without its last CRLF. */
static void
report_feed(struct pipeline *pipeline, struct slice header)
{
	size_t start = 0;

	for (size_t i = 0; i + 1 < header.len; i++) {
		if (header.bytes[i] != '\r' || header.bytes[i + 1] != '\n')
			continue;
		if (i == start)
			return; /* the empty line */
		if (i + 2 < header.len && ascii_is_wsp(header.bytes[i + 2]))
			continue;
		pipeline_header(pipeline,
				slice_sub(header, start, i - start));
		start = i + 2;
	}
}

static void
report_header(const struct message *report, struct text *out)
{
	for (size_t i = 0; out->len < report->body.header_len; i++)
		text_add(out, slice_sub(report->body.chunks[i], 0,
					report->body.header_len - out->len));
}

static void
report_feed_body(struct pipeline *pipeline, const struct message *report)
{
	size_t skip = report->body.header_len;

	for (size_t i = 0; i < report->body.chunks_count; i++) {
		struct slice chunk = report->body.chunks[i];

		pipeline_body(pipeline, slice_from(chunk, skip));
		skip = skip > chunk.len ? skip - chunk.len : 0;
	}
}

static void settlement_sign(struct settlement *settlement);

static void
settlement_signed(struct signing_order *order, const struct fault *fault)
{
	struct settlement *settlement =
		CONTAINER(order, struct settlement, order);
	CLEAN(text_done) struct text fields = {0};
	struct message *report = settlement->report;
	struct fault own;

	if (fault == NULL) {
		pipeline_write(settlement->pipeline, &fields);
		report->prefix =
			arena_copy(&report->arena, text_slice(&fields));
		if (!proof_memory(settlement->pipeline, report->prefix,
				  report->body.chunks,
				  report->body.chunks_count, &own)) {
			log_note(LOG_LEVEL_ERROR, "error", "%s", own.text);
			fault = &own;
		}
	}
	pipeline_free(TAKE(settlement->pipeline));
	if (fault != NULL) {
		settlement_retry(settlement, settlement_sign,
				 "a report cannot be signed; the outcome "
				 "waits",
				 fault);
		return;
	}
	settlement_store(settlement);
}

/* Where no domain section is for it, the report goes out unsigned, whatever
 * `unsigned` says: nobody else would tell the sender. */
static void
settlement_sign(struct settlement *settlement)
{
	struct loop *loop = settlement->destination->public.loop;
	struct message *report = settlement->report;
	CLEAN(text_done) struct text header = {0};
	struct signature *signatures;
	size_t count = 0;

	settlement->pipeline = pipeline_new(loop->generation->policy,
					    clock_wall_ms() / 1000);
	report_header(report, &header);
	report_feed(settlement->pipeline, text_slice(&header));
	pipeline_end_of_header(settlement->pipeline);
	report_feed_body(settlement->pipeline, report);
	signatures = pipeline_end(settlement->pipeline, &count);
	if (count == 0) {
		pipeline_free(TAKE(settlement->pipeline));
		settlement_store(settlement);
		return;
	}
	settlement->order.done = settlement_signed;
	signing_start(loop->signing, &settlement->order, signatures, count);
}

static void
settlement_report(struct settlement *settlement)
{
	const struct options *options =
		settlement_options(settlement->destination);
	struct bounce_options bounce = {
		.hostname = options->hostname,
		.from = options->delivery.bounce_from,
		.now_ms = settlement->now_ms,
	};

	settlement->report =
		bounce_make(settlement->delivery,
			    text_slice(&settlement->header), &bounce);
	if (settlement->report->recipients_count > 0) {
		settlement_sign(settlement);
		return;
	}
	log_note(LOG_LEVEL_WARNING, "settle",
		 "nobody is told of a failure: '%.*s' is no address",
		 SLICE_ARG(settlement->delivery->message->reverse_path));
	message_unref(TAKE(settlement->report));
	settlement_store(settlement);
}

/* --- the original's header --- */

static void settlement_read_header(struct settlement *settlement);

static size_t
header_wanted(const struct settlement *settlement)
{
	uint64_t len = settlement->delivery->message->body.header_len;

	return len < BOUNCE_HEADER_MAX ? (size_t)len : BOUNCE_HEADER_MAX;
}

/* Whether another try is worth the wait. What is damaged stays so; a disk that
 * fails may be busy or out of descriptors, and is asked once more. */
static bool
header_may_come(struct settlement *settlement, const struct fault *fault)
{
	if (fault->kind == FAULT_INPUT || fault->kind == FAULT_ABSENT)
		return false;
	return fault->kind == FAULT_BUSY || settlement->header_failures++ == 0;
}

static void
settlement_header_read(struct store_read_body *read, const struct fault *fault)
{
	struct settlement *settlement = read->private;

	text_add(&settlement->header, text_slice(&read->bytes));
	if (fault != NULL && header_may_come(settlement, fault)) {
		settlement_retry(settlement, settlement_read_header,
				 "the header for a report cannot be read",
				 fault);
		return;
	}
	/* A report with less is better than none. */
	if (fault != NULL ||
	    settlement->header.len >= header_wanted(settlement))
		settlement_report(settlement);
	else
		settlement_read_header(settlement);
}

static void
settlement_read_header(struct settlement *settlement)
{
	struct store_read_body *read = &settlement->read;

	text_done(&read->bytes);
	*read = (struct store_read_body){
		.message = settlement->delivery->message,
		.offset = settlement->header.len,
		.max = header_wanted(settlement) - settlement->header.len,
		.loop = settlement->destination->public.loop,
		.done = settlement_header_read,
		.private = settlement,
	};
	store_read_body(settlement->destination->home->schedule->store, read);
}

/* --- start --- */

void
settlement_start(struct destination *destination, struct lease *lease,
		 const struct recipient_result *results)
{
	struct settlement *settlement = memory_new(sizeof(*settlement));

	ASSERT(lease->state == LEASE_SETTLING);
	settlement->destination = destination;
	settlement->lease = lease;
	settlement->delivery = lease->delivery;
	settlement->now_ms = clock_wall_ms();
	results_apply(settlement, results);
	if (!delivery_has_failed(settlement->delivery) ||
	    !bounce_has_reader(settlement->delivery->message))
		settlement_store(settlement);
	else if (header_wanted(settlement) == 0)
		settlement_report(settlement);
	else
		settlement_read_header(settlement);
}
