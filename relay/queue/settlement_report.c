#include "base/clock.h"
#include "base/log.h"
#include "milter/proof.h"
#include "relay/queue/report.h"
#include "relay/queue/retry.h"
#include "relay/queue/settlement_private.h"

static void settlement_sign(struct settlement *settlement);
static void settlement_read(struct settlement *settlement);

/* --- signing --- */

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
	size_t len = (size_t)report->body.header_len;

	for (size_t i = 0; out->len < len; i++)
		text_add(out, slice_sub(report->body.chunks[i], 0,
					len - out->len));
}

static void
report_feed_body(struct pipeline *pipeline, const struct message *report)
{
	size_t skip = (size_t)report->body.header_len;

	for (size_t i = 0; i < report->body.chunks_count; i++) {
		struct slice chunk = report->body.chunks[i];

		pipeline_body(pipeline, slice_from(chunk, skip));
		skip = skip > chunk.len ? skip - chunk.len : 0;
	}
}

static struct message *
report_to_sign(const struct settlement *settlement)
{
	return settlement->reports[settlement->reports_signed];
}

static void
report_signed(struct settlement *settlement)
{
	settlement->reports_signed++;
	if (settlement->reports_signed < settlement->reports_count)
		settlement_sign(settlement);
	else
		settlement_store(settlement);
}

/* False: they do not verify, and it has none. */
static bool
report_take_fields(struct settlement *settlement, struct fault *fault)
{
	CLEAN(text_done) struct text fields = {0};
	struct message *report = report_to_sign(settlement);

	pipeline_write(settlement->pipeline, &fields);
	if (!proof_memory(settlement->pipeline, text_slice(&fields),
			  report->body.chunks, report->body.chunks_count,
			  fault)) {
		log_note(LOG_LEVEL_ERROR, "error", "%s", fault->text);
		return false;
	}
	report->prefix = arena_copy(&report->arena, text_slice(&fields));
	return true;
}

static void
settlement_on_signed(struct signing_order *order, const struct fault *fault)
{
	struct settlement *settlement =
		CONTAINER(order, struct settlement, order);
	struct fault own;

	if (fault == NULL && !report_take_fields(settlement, &own))
		fault = &own;
	settlement->is_signing = false;
	pipeline_free(TAKE(settlement->pipeline));
	if (fault == NULL) {
		report_signed(settlement);
	} else if (owed_goes_unsigned(settlement)) {
		settlement_log(settlement,
			       "a report cannot be signed; nobody could for as "
			       "long as `expire`, and it goes out unsigned",
			       fault);
		settlement->is_unsigned = true;
		report_signed(settlement);
	} else {
		settlement_put_off(settlement,
				   "a report cannot be signed; it is made later",
				   fault);
	}
}

/* Where no domain section is for it, the report goes out unsigned, whatever
 * `unsigned` says: nobody else would tell the sender. */
static void
settlement_sign(struct settlement *settlement)
{
	struct loop *loop = settlement->destination->public.loop;
	struct message *report = report_to_sign(settlement);
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
		report_signed(settlement);
		return;
	}
	settlement->order.done = settlement_on_signed;
	settlement->is_signing = true;
	signing_start(loop->signing, &settlement->order, signatures, count);
}

/* --- making --- */

/* RFC 3461 4.3, 6.2: all of the original where that is asked for or nothing is
 * said, if it is small; but of a delay only the header. */
static bool
wants_whole(const struct settlement *settlement)
{
	const struct message *message = settlement->delivery->message;
	uint64_t limit = settlement_options(settlement->destination)
				 ->delivery.bounce_size_limit;

	return settlement->notices.has_failure && message->ret != RET_HDRS &&
	       message_size(message) <= limit;
}

static bool
is_whole(const struct settlement *settlement)
{
	return wants_whole(settlement) &&
	       settlement->original.len ==
		       settlement->delivery->message->body.size;
}

static void
report_add(struct settlement *settlement, const struct report_setup *setup)
{
	struct message *report = report_make(setup);

	if (report->recipients_count > 0) {
		ASSERT(settlement->reports_count < STORE_REPORTS_MAX);
		settlement->reports[settlement->reports_count++] = report;
		return;
	}
	log_note(LOG_LEVEL_WARNING, "settle",
		 "nobody is told of a failure: '%.*s' is no address",
		 SLICE_ARG(settlement->delivery->message->reverse_path));
	message_unref(report);
}

static bool
is_stopping(const struct settlement *settlement)
{
	return settlement->destination->home->is_stopping;
}

static void
settlement_make(struct settlement *settlement)
{
	const struct options *options =
		settlement_options(settlement->destination);
	struct notices *notices = &settlement->notices;
	const struct delivery *delivery = settlement->delivery;
	unsigned attempts = retry_attempts(delivery);
	struct report_setup setup = {
		.delivery = delivery,
		.notices = notices->sender,
		.original = text_slice(&settlement->original),
		.is_whole = is_whole(settlement),
		.hostname = options->hostname,
		.from = options->delivery.bounce_from,
		.now_ms = settlement->now_ms,
		.expires_ms = retry_expires_ms(delivery, &options->delivery,
					       attempts, settlement->now_ms),
		.age_ms = retry_age_ms(delivery, &options->delivery, attempts,
				       settlement->now_ms),
		.attempt_ms = settlement_attempt_ms(settlement),
	};

	if (is_stopping(settlement)) {
		settlement_put_off(settlement, NULL, NULL);
		return;
	}
	if (notices->has_delay && notify_is_automatic(setup.original))
		notify_withdraw(notices, settlement->delivery);
	if (notices->sender_is_told)
		report_add(settlement, &setup);
	if (notices->copy_is_sent) {
		setup.notices = notices->copy;
		setup.is_whole = false;
		setup.copy_to = options->delivery.bounce_copy;
		report_add(settlement, &setup);
	}
	if (settlement->reports_count > 0)
		settlement_sign(settlement);
	else
		settlement_store(settlement);
}

/* --- the original --- */

static uint64_t
original_wanted(const struct settlement *settlement)
{
	const struct body *body = &settlement->delivery->message->body;

	if (wants_whole(settlement))
		return body->size;
	return body->header_len < REPORT_HEADER_MAX ? body->header_len
						    : REPORT_HEADER_MAX;
}

/* Whether another try is worth the wait. What is damaged stays so; a disk that
 * fails may be busy or out of descriptors, and is asked once more. */
static bool
original_may_come(struct settlement *settlement, const struct fault *fault)
{
	if (fault->kind == FAULT_INPUT || fault->kind == FAULT_ABSENT)
		return false;
	return fault->kind == FAULT_BUSY || settlement->read_failures++ == 0;
}

static void
settlement_on_read(struct store_read_body *read, const struct fault *fault)
{
	struct settlement *settlement = read->private;

	text_add(&settlement->original, text_slice(&read->bytes));
	if (fault != NULL && !is_stopping(settlement) &&
	    original_may_come(settlement, fault)) {
		settlement_retry(settlement, settlement_read,
				 "the original for a report cannot be read",
				 fault);
		return;
	}
	/* A report with less is better than none. */
	if (fault != NULL || read->bytes.len == 0 ||
	    settlement->original.len >= settlement->original_wanted)
		settlement_make(settlement);
	else
		settlement_read(settlement);
}

static void
settlement_read(struct settlement *settlement)
{
	struct store_read_body *read = &settlement->read;

	text_done(&read->bytes);
	*read = (struct store_read_body){
		.message = settlement->delivery->message,
		.offset = settlement->original.len,
		.max = (size_t)(settlement->original_wanted -
				settlement->original.len),
		.loop = settlement->destination->public.loop,
		.done = settlement_on_read,
		.private = settlement,
	};
	store_read_body(settlement->destination->home->schedule->store, read);
}

/* --- places --- */

static void
report_begin(struct settlement *settlement)
{
	settlement->has_place = true;
	settlement->destination->home->reports_count++;
	settlement->original_wanted = original_wanted(settlement);
	if (settlement->original_wanted == 0)
		settlement_make(settlement);
	else
		settlement_read(settlement);
}

void
settlement_report(struct settlement *settlement)
{
	struct schedule_loop *home = settlement->destination->home;

	ASSERT(!settlement->has_place);
	if (home->is_stopping) {
		settlement_put_off(settlement, NULL, NULL);
		return;
	}
	list_remove(&settlement->reporting);
	list_add_last(&home->reporting, &settlement->reporting);
	if (home->reports_count < home->reports_max)
		report_begin(settlement);
	else
		list_add_last(&home->reports_waiting, &settlement->waiting);
}

/* A report has an id of its own: without this nothing would lead from a failure
 * to what became of telling it. */
void
settlement_report_log(const struct settlement *settlement)
{
	const struct message *about = settlement->delivery->message;
	char id[MESSAGE_ID_TEXT + 1];

	for (size_t i = 0; i < settlement->reports_count; i++) {
		const struct message *report = settlement->reports[i];
		struct log line;

		log_begin(&line, LOG_LEVEL_INFO, "report");
		message_id_write(&report->id, id);
		log_string(&line, "id", id);
		message_id_write(&about->id, id);
		log_string(&line, "about", id);
		log_text(&line, "to", report->recipients[0].address);
		log_number(&line, "size", message_size(report));
		log_send(&line);
	}
}

void
settlement_report_drop(struct settlement *settlement)
{
	struct schedule_loop *home = settlement->destination->home;
	struct list *next;

	if (!settlement->has_place)
		return;
	text_done(&settlement->original);
	text_done(&settlement->read.bytes);
	if (settlement->pipeline != NULL)
		pipeline_free(TAKE(settlement->pipeline));
	while (settlement->reports_count > 0)
		message_unref(settlement->reports[--settlement->reports_count]);
	settlement->reports_signed = 0;
	settlement->has_place = false;
	home->reports_count--;
	next = list_take_first(&home->reports_waiting);
	if (next != NULL)
		report_begin(CONTAINER(next, struct settlement, waiting));
}

/* What is being read comes back soon, and then the same becomes of it. */
void
settlements_stop(struct schedule_loop *home)
{
	struct list *first;

	/* First, so that no place that becomes free goes to one of them. */
	while ((first = list_take_first(&home->reports_waiting)) != NULL)
		settlement_put_off(CONTAINER(first, struct settlement, waiting),
				   NULL, NULL);
	LIST_EACH (item, &home->reporting) {
		struct settlement *settlement =
			CONTAINER(item, struct settlement, reporting);

		if (settlement->is_signing) {
			signing_cancel(&settlement->order);
			settlement->is_signing = false;
		} else if (settlement->waits) {
			alarm_clear(&settlement->alarm);
			settlement->waits = false;
		} else {
			continue;
		}
		settlement_put_off(settlement, NULL, NULL);
	}
}
