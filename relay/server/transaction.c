#include "relay/server/transaction.h"

#include <stdlib.h>

#include "milter/header.h"
#include "milter/newline.h"
#include "milter/prepare.h"
#include "relay/net/signing.h"
#include "relay/net/wire.h"
#include "relay/prepare/pass.h"
#include "relay/prepare/recheck.h"
#include "relay/queue/spool.h"
#include "relay/server/accepted.h"

/*
 * FIELDS → BODY, or → REFUSED from either: the rest is read and dropped, in
 * constant memory. At the end of data → FINISHING (spool and signer at work)
 * → STORING (looked at once more where that is due, then in the store's hands).
 * ENVELOPE comes before them all.
 *
 * A message that has to be repaired goes through FIELDS and BODY once more,
 * fed by its second pass from the spool, into a new message and a new spool.
 */
enum phase {
	PHASE_ENVELOPE,
	PHASE_FIELDS,
	PHASE_BODY,
	PHASE_REFUSED,
	PHASE_FINISHING,
	PHASE_STORING,
};

struct transaction {
	struct transaction_setup setup;
	struct arena arena;
	struct message *message;
	enum phase phase;

	struct wire_data wire;
	struct header_reader header;
	struct pipeline *pipeline;
	const struct decision *decision;
	struct signature *signatures;
	size_t signatures_count;
	uint64_t size, given_size; /* as it is, as it came */
	struct prepare_facts facts;
	bool adds_date, adds_message_id;
	struct newline newline; /* where the listener normalizes */
	struct text mended;

	/* The second pass. */
	struct repair_needs needs;
	struct repair_report report; /* what it did */
	struct pass *pass;
	bool is_preparing; /* it begins once all is spooled */
	bool has_8bit;     /* of what it gave */
	struct text notes; /* what was not done, for the log */

	struct spool *spool;
	struct signing_order order;
	bool is_signing, is_blocked, has_spooled;
	struct recheck recheck;
	struct store_put put;

	/* Set in PHASE_REFUSED. */
	const struct reply *refusal;
	struct slice refusal_extra;
	struct text reason;
	bool is_detached, is_telling;
};

static const struct reply reply_queued = {250, "2.0.0", "Ok: queued as "};
static const struct reply reply_no_room = {
	452, "4.3.1", "Insufficient system storage, try again later"};
static const struct reply reply_local_error = {
	451, "4.3.0", "Local error in processing, try again later"};
static const struct reply reply_signing_failed = {
	451, "4.7.5", "The message could not be signed, try again later"};
static const struct reply reply_too_big = {552, "5.3.4",
					   "Message size exceeds the limit"};
static const struct reply reply_header_too_big = {
	552, "5.3.4", "Header size exceeds the limit"};
static const struct reply reply_too_many_hops = {554, "5.4.6",
						 "Too many hops: a mail loop?"};
static const struct reply reply_bare_line_end = {
	554, "5.6.0", "Bare CR or LF in the message: lines must end in CRLF"};
static const struct reply reply_nul = {554, "5.6.0", "NUL in the message"};
static const struct reply reply_long_line = {
	554, "5.6.0", "A line is longer than 998 octets"};
static const struct reply reply_long_word = {
	554, "5.6.0",
	"A header line is longer than 998 octets and cannot be folded"};
static const struct reply reply_unsigned = {550, "5.7.1",
					    "Nobody here signs this message: "};

struct transaction *
transaction_new(const struct transaction_setup *setup,
		struct slice reverse_path, bool declared_8bit)
{
	struct transaction *transaction = memory_new(sizeof(*transaction));
	struct arena *arena = &transaction->arena;
	struct trace *trace = &transaction->setup.trace;
	struct address *client;

	transaction->setup = *setup;
	generation_ref(setup->generation);
	transaction->setup.listener = arena_copy(arena, setup->listener);
	trace->helo = arena_copy(arena, trace->helo);
	trace->tls = arena_copy(arena, trace->tls);
	trace->hostname = setup->generation->options->hostname;
	client = arena_new(arena, sizeof(*client));
	*client = *trace->client;
	trace->client = client;
	transaction->message = message_new(reverse_path);
	transaction->message->declared_8bit = declared_8bit;
	transaction->message->received_ms = clock_wall_ms();
	return transaction;
}

static void
transaction_free(struct transaction *transaction)
{
	if (transaction->phase >= PHASE_FIELDS)
		header_reader_done(&transaction->header);
	pipeline_free(transaction->pipeline);
	message_unref(transaction->message);
	generation_unref(transaction->setup.generation);
	prepare_facts_done(&transaction->facts);
	text_done(&transaction->mended);
	text_done(&transaction->notes);
	text_done(&transaction->reason);
	arena_done(&transaction->arena);
	free(transaction);
}

/* What spool, signer and second pass still do is of no use any more. */
static void
stop_work(struct transaction *transaction)
{
	if (transaction->is_signing)
		signing_cancel(&transaction->order);
	transaction->is_signing = false;
	pass_cancel(&transaction->pass);
	if (transaction->spool != NULL)
		spool_cancel(&transaction->spool);
}

void
transaction_cancel(struct transaction **transaction_pointer)
{
	struct transaction *transaction = TAKE(*transaction_pointer);

	if (transaction == NULL)
		return;
	if (transaction->is_telling) {
		/* From inside finished(), which ends it anyway. */
		return;
	}
	if (transaction->phase == PHASE_STORING) {
		transaction->is_detached = true;
		return;
	}
	stop_work(transaction);
	transaction_free(transaction);
}

void
transaction_recipient(struct transaction *transaction, struct slice address,
		      struct slice destination)
{
	ASSERT(transaction->phase == PHASE_ENVELOPE);
	message_add_recipient(transaction->message, address, destination);
}

size_t
transaction_recipients(const struct transaction *transaction)
{
	return transaction->message->recipients_count;
}

const struct message *
transaction_message(const struct transaction *transaction)
{
	return transaction->message;
}

const struct options *
transaction_options(const struct transaction *transaction)
{
	return transaction->setup.generation->options;
}

/* --- the end --- */

static void
tell(struct transaction *transaction, const struct reply *reply,
     struct slice extra)
{
	transaction->is_telling = true;
	if (!transaction->is_detached)
		transaction->setup.finished(transaction->setup.owner, reply,
					    extra,
					    text_slice(&transaction->reason));
	transaction_free(transaction);
}

static void
give_up(struct transaction *transaction, const struct reply *reply,
	const struct fault *fault)
{
	stop_work(transaction);
	if (fault != NULL)
		text_add_string(&transaction->reason, fault->text);
	tell(transaction, reply, SLICE_NONE);
}

/* Bytes are still coming: the reply has to wait for their end. */
static void
refuse(struct transaction *transaction, const struct reply *reply,
       struct slice reason)
{
	if (transaction->phase == PHASE_REFUSED)
		return;
	transaction->phase = PHASE_REFUSED;
	transaction->refusal = reply;
	text_add(&transaction->reason, reason);
	if (transaction->spool != NULL)
		spool_cancel(&transaction->spool);
}

static void
log_accepted(const struct transaction *transaction)
{
	CLEAN(text_done) struct text reason = {0};
	CLEAN(arena_done) struct arena arena = {0};
	struct changes changes = {
		.repair = transaction->report,
		.mends_newlines = transaction->newline.has_mended,
		.adds_date = transaction->adds_date,
		.adds_message_id = transaction->adds_message_id,
	};
	struct accepted event = {
		.message = transaction->message,
		.listener = transaction->setup.listener,
		.client = transaction->setup.trace.client,
		.changes = &changes,
	};

	changes_sign(&changes, &arena, transaction->signatures,
		     transaction->signatures_count);
	/* Why it is signed so, or not; and what was not prepared. */
	text_add(&reason, transaction->decision->reason);
	text_add(&reason, text_slice(&transaction->notes));
	event.reason = text_slice(&reason);
	accepted_log(&event);
}

static void
on_stored(struct store_put *put, const struct fault *fault)
{
	struct transaction *transaction =
		CONTAINER(put, struct transaction, put);
	char id[MESSAGE_ID_TEXT + 1];

	if (fault != NULL) {
		give_up(transaction,
			fault->kind == FAULT_LIMIT ? &reply_no_room
						   : &reply_local_error,
			fault);
		return;
	}
	log_accepted(transaction);
	schedule_add(transaction->setup.schedule, &put->deliveries);
	message_id_write(&transaction->message->id, id);
	tell(transaction, &reply_queued, SLICE(id));
}

/* A signature of ours that does not verify is our fault, not the client's. */
static void
on_rechecked(struct recheck *recheck, const struct fault *fault)
{
	struct transaction *transaction =
		CONTAINER(recheck, struct transaction, recheck);

	if (fault != NULL) {
		give_up(transaction, &reply_signing_failed, fault);
		return;
	}
	transaction->put.message = transaction->message;
	transaction->put.loop = transaction->setup.loop;
	transaction->put.done = on_stored;
	store_put(transaction->setup.store, &transaction->put);
}

/* Spool and signer are through: our fields on top, and into the store. */
static void
store_message(struct transaction *transaction)
{
	struct message *message = transaction->message;
	struct slice hostname = transaction->setup.trace.hostname;
	CLEAN(text_done) struct text prefix = {0};
	enum recheck_status status;
	struct fault fault;

	ASSERT(message->body.size == transaction->size);
	if (transaction->signatures_count > 0)
		pipeline_write(transaction->pipeline, &prefix);
	trace_received(&prefix, &transaction->setup.trace, message);
	if (transaction->adds_date) {
		trace_date(&prefix, message->received_ms);
		text_add_string(&prefix, "\r\n");
	}
	if (transaction->adds_message_id) {
		trace_message_id(&prefix, &message->id, hostname);
		text_add_string(&prefix, "\r\n");
	}
	message->prefix = arena_copy(&message->arena, text_slice(&prefix));
	transaction->phase = PHASE_STORING;
	transaction->recheck.done = on_rechecked;
	status = recheck_start(&transaction->recheck, transaction->setup.store,
			       transaction->setup.loop, message,
			       transaction->pipeline, &fault);
	if (status != RECHECK_LATER)
		on_rechecked(&transaction->recheck,
			     status == RECHECK_BAD ? &fault : NULL);
}

static void
on_signed(struct signing_order *order, const struct fault *fault)
{
	struct transaction *transaction =
		CONTAINER(order, struct transaction, order);

	transaction->is_signing = false;
	if (fault != NULL)
		give_up(transaction, &reply_signing_failed, fault);
	else if (transaction->has_spooled)
		store_message(transaction);
}

static void
spool_failed(struct transaction *transaction)
{
	struct fault fault = *spool_fault(transaction->spool);
	const struct reply *reply =
		fault.kind == FAULT_LIMIT ? &reply_no_room : &reply_local_error;

	if (transaction->phase == PHASE_FINISHING ||
	    transaction->pass != NULL) {
		give_up(transaction, reply, &fault);
		return;
	}
	/* Where data waited for room there will be no other event. */
	transaction->is_blocked = false;
	refuse(transaction, reply, SLICE(fault.text));
	transaction->setup.drained(transaction->setup.owner);
}

static void second_pass(struct transaction *transaction);

static void
on_spool(void *owner, enum spool_event event)
{
	struct transaction *transaction = owner;

	switch (event) {
	case SPOOL_DRAINED:
		transaction->is_blocked = false;
		if (transaction->pass != NULL)
			pass_resume(transaction->pass);
		else if (transaction->phase < PHASE_FINISHING)
			transaction->setup.drained(transaction->setup.owner);
		break;
	case SPOOL_DONE:
		transaction->spool = NULL;
		transaction->has_spooled = true;
		if (transaction->is_preparing)
			second_pass(transaction);
		else if (!transaction->is_signing)
			store_message(transaction);
		break;
	case SPOOL_FAILED:
		spool_failed(transaction);
		break;
	}
}

/* --- data --- */

/* The header, the body and the spool of transaction->message begin. */
static void
begin(struct transaction *transaction, size_t header_max)
{
	struct message *message = transaction->message;

	header_reader_init(&transaction->header, header_max);
	prepare_facts_done(&transaction->facts);
	transaction->facts = (struct prepare_facts){0};
	transaction->size = 0;
	transaction->pipeline =
		pipeline_new(transaction->setup.generation->policy,
			     message->received_ms / 1000);
	transaction->spool =
		spool_new(transaction->setup.store, transaction->setup.loop,
			  message, on_spool, transaction);
	transaction->phase = PHASE_FIELDS;
}

void
transaction_data(struct transaction *transaction)
{
	const struct options *options = transaction_options(transaction);

	ASSERT(transaction->phase == PHASE_ENVELOPE);
	ASSERT(transaction->message->recipients_count > 0);
	wire_data_init(&transaction->wire);
	newline_init(&transaction->newline);
	transaction->message->received_ms = clock_wall_ms();
	begin(transaction, options->limits.max_header_size);
}

static void
take_field(struct transaction *transaction, struct slice field)
{
	struct slice name, value;

	pipeline_header(transaction->pipeline, field);
	if (header_field_parse(field, &name, &value) == NULL)
		prepare_note(&transaction->facts, name, value);
}

/* What is signed is what goes out: our own fields take part. */
static void
end_of_header(struct transaction *transaction)
{
	const struct message *message = transaction->message;
	const struct prepare_options *options =
		&transaction_options(transaction)->prepare;
	const struct prepare_facts *facts = &transaction->facts;
	CLEAN(text_done) struct text field = {0};

	transaction->adds_date = prepare_adds_date(facts, options);
	transaction->adds_message_id = prepare_adds_message_id(facts, options);
	if (transaction->adds_date) {
		trace_date(&field, message->received_ms);
		pipeline_header(transaction->pipeline, text_slice(&field));
	}
	text_clear(&field);
	if (transaction->adds_message_id) {
		trace_message_id(&field, &message->id,
				   transaction->setup.trace.hostname);
		pipeline_header(transaction->pipeline, text_slice(&field));
	}
	transaction->decision = pipeline_end_of_header(transaction->pipeline);
	header_reader_done(&transaction->header);
	transaction->phase = PHASE_BODY;
}

/* Up to the end of the header; what follows stays in *bytes. */
static void
take_fields(struct transaction *transaction, struct slice *bytes)
{
	size_t before = bytes->len;
	struct slice field;

	for (;;) {
		switch (header_read(&transaction->header, bytes, &field)) {
		case HEADER_FIELD:
			take_field(transaction, field);
			break;
		case HEADER_MORE:
			transaction->message->body.header_len +=
				before - bytes->len;
			return;
		case HEADER_END:
			transaction->message->body.header_len +=
				before - bytes->len;
			end_of_header(transaction);
			return;
		case HEADER_TOO_LARGE:
			refuse(transaction, &reply_header_too_big,
			       SLICE("limits.max_header_size"));
			return;
		}
	}
}

static bool
take_bytes(struct transaction *transaction, struct slice bytes)
{
	struct slice rest = bytes;

	if (transaction->phase == PHASE_FIELDS)
		take_fields(transaction, &rest);
	if (transaction->phase == PHASE_REFUSED)
		return true;
	if (transaction->phase == PHASE_BODY && rest.len > 0)
		pipeline_body(transaction->pipeline, rest);
	transaction->is_blocked = !spool_write(transaction->spool, bytes);
	return !transaction->is_blocked;
}

static bool
take(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;
	uint64_t size_max =
		transaction_options(transaction)->limits.max_message_size;

	if (transaction->phase == PHASE_REFUSED)
		return true;
	transaction->size += bytes.len;
	if (transaction->size > size_max) {
		refuse(transaction, &reply_too_big,
		       SLICE("limits.max_message_size"));
		return true;
	}
	return take_bytes(transaction, bytes);
}

static bool
take_mended(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;

	text_clear(&transaction->mended);
	newline_feed(&transaction->newline, bytes, &transaction->mended);
	return transaction->mended.len == 0 ||
	       take(transaction, text_slice(&transaction->mended));
}

/* A message that is header only. */
static void
last_fields(struct transaction *transaction)
{
	struct slice field;

	while (transaction->phase == PHASE_FIELDS) {
		switch (header_read_last(&transaction->header, &field)) {
		case HEADER_FIELD:
			take_field(transaction, field);
			break;
		case HEADER_MORE:
		case HEADER_END:
			transaction->message->body.header_len =
				transaction->size;
			end_of_header(transaction);
			break;
		case HEADER_TOO_LARGE:
			refuse(transaction, &reply_header_too_big,
			       SLICE("limits.max_header_size"));
			break;
		}
	}
}

/* As the message is now, not as it came. */
static struct prepare_bytes
bytes_seen(const struct transaction *transaction)
{
	const struct wire_data *wire = &transaction->wire;
	bool normalizes = transaction->setup.normalizes;

	return (struct prepare_bytes){
		.has_bare_line_end = !normalizes && (wire->has_bare_cr ||
						     wire->has_bare_lf),
		.has_nul = wire->has_nul,
		.has_long_line = normalizes ? transaction->newline.has_long_line
					    : wire->has_long_line,
		.has_8bit = wire->has_8bit,
	};
}

static void
judge(struct transaction *transaction, const struct prepare_bytes *bytes)
{
	static const struct {
		const struct reply *reply;
		const char *reason;
	} rows[] = {
		[PREPARE_BARE_LINE_END] = {&reply_bare_line_end,
					   "bare CR or LF"},
		[PREPARE_NUL] = {&reply_nul, "NUL"},
		[PREPARE_HOPS] = {&reply_too_many_hops, "limits.max_hops"},
		[PREPARE_LONG_LINE] = {&reply_long_line, "prepare.long_lines"},
	};
	const struct options *options = transaction_options(transaction);
	enum prepare_problem problem =
		prepare_judge(&transaction->facts, bytes, &options->prepare,
			      options->limits.max_hops);

	if (problem != PREPARE_NO_PROBLEM) {
		refuse(transaction, rows[problem].reply,
		       SLICE(rows[problem].reason));
	} else if (transaction->decision->verdict == VERDICT_REJECT) {
		transaction->refusal_extra = transaction->decision->reason;
		refuse(transaction, &reply_unsigned,
		       transaction->decision->reason);
	}
}

static void
sign(struct transaction *transaction)
{
	transaction->signatures = pipeline_end(transaction->pipeline,
					       &transaction->signatures_count);
	if (transaction->signatures_count == 0)
		return;
	transaction->order.done = on_signed;
	transaction->is_signing = true;
	signing_start(transaction->setup.loop->signing, &transaction->order,
		      transaction->signatures, transaction->signatures_count);
}

/* --- the second pass --- */

static bool
needs_second_pass(struct transaction *transaction,
		  const struct prepare_bytes *bytes)
{
	transaction->needs = prepare_needs(
		&transaction->facts, bytes,
		&transaction_options(transaction)->prepare,
		&transaction->notes);
	prepare_strip(transaction->decision, &transaction->facts,
		      &transaction->arena, &transaction->needs);
	return prepare_is_due(&transaction->needs);
}

/* A new message takes the place of the one whose bytes are read. */
static void
begin_again(struct transaction *transaction)
{
	const struct options *options = transaction_options(transaction);
	struct message *message = message_new_like(transaction->message);

	message_unref(transaction->message);
	transaction->message = message;
	transaction->has_spooled = false;
	pipeline_free(transaction->pipeline);
	transaction->given_size = transaction->size;
	/* Folding can at most double it. */
	begin(transaction, 2 * options->limits.max_header_size + KIB);
}

static bool
second_decided(void *owner, const struct repair_report *report)
{
	struct transaction *transaction = owner;
	enum prepare_outcome outcome = prepare_settle(
		&transaction->needs, report, &transaction->notes);

	if (outcome == PREPARE_WRITE) {
		transaction->report = *report;
		begin_again(transaction);
		return true;
	}
	transaction->pass = NULL;
	if (outcome == PREPARE_REFUSE) {
		text_add_string(&transaction->reason, "prepare.long_lines");
		give_up(transaction, &reply_long_word, NULL);
		return false;
	}
	sign(transaction);
	if (!transaction->is_signing)
		store_message(transaction);
	return false;
}

static bool
second_take(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;

	transaction->size += bytes.len;
	for (size_t i = 0; i < bytes.len && !transaction->has_8bit; i++)
		transaction->has_8bit = (unsigned char)bytes.bytes[i] >= 0x80;
	return take_bytes(transaction, bytes);
}

static void
second_done(void *owner, const struct fault *fault)
{
	struct transaction *transaction = owner;
	struct body *body = &transaction->message->body;

	transaction->pass = NULL;
	if (fault != NULL) {
		give_up(transaction, &reply_local_error, fault);
		return;
	}
	if (transaction->phase == PHASE_FIELDS)
		last_fields(transaction);
	ASSERT(transaction->phase == PHASE_BODY);
	/* limits.max_message_size is for what a client gives. */
	ASSERT(transaction->size <= repair_size_max(transaction->given_size));
	transaction->phase = PHASE_FINISHING;
	if (transaction->decision->verdict == VERDICT_REJECT) {
		text_add(&transaction->reason, transaction->decision->reason);
		give_up(transaction, &reply_unsigned, NULL);
		return;
	}
	body->has_8bit = transaction->has_8bit;
	body->has_long_line = transaction->report.left != NULL;
	sign(transaction);
	spool_finish(transaction->spool);
}

static void
second_pass(struct transaction *transaction)
{
	struct pass_setup setup = {
		.store = transaction->setup.store,
		.loop = transaction->setup.loop,
		.message = transaction->message,
		.needs = transaction->needs,
		.header_max = transaction_options(transaction)
				      ->limits.max_header_size,
		.decided = second_decided,
		.take = second_take,
		.done = second_done,
		.owner = transaction,
	};

	transaction->is_preparing = false;
	pass_start(&setup, &transaction->pass);
}

static void
end_of_data(struct transaction *transaction)
{
	struct body *body = &transaction->message->body;
	struct prepare_bytes bytes = bytes_seen(transaction);

	if (transaction->phase == PHASE_FIELDS)
		last_fields(transaction);
	if (transaction->phase != PHASE_REFUSED)
		judge(transaction, &bytes);
	if (transaction->phase == PHASE_REFUSED)
		return;
	transaction->phase = PHASE_FINISHING;
	body->has_8bit = bytes.has_8bit;
	body->has_long_line = bytes.has_long_line;
	transaction->is_preparing = needs_second_pass(transaction, &bytes);
	if (!transaction->is_preparing)
		sign(transaction);
	spool_finish(transaction->spool);
}

enum transaction_status
transaction_read(struct transaction *transaction, struct slice input,
		 size_t *used_out)
{
	enum wire_data_status status;

	ASSERT(transaction->phase >= PHASE_FIELDS);
	ASSERT(transaction->phase <= PHASE_REFUSED);
	status = wire_data_read(&transaction->wire, input, used_out,
				transaction->setup.normalizes ? take_mended
							      : take,
				transaction);
	if (status == WIRE_DATA_MORE)
		return transaction->is_blocked ? TRANSACTION_BLOCKED
					       : TRANSACTION_MORE;
	end_of_data(transaction);
	return transaction->phase == PHASE_REFUSED ? TRANSACTION_REFUSED
						   : TRANSACTION_ENDED;
}

void
transaction_refusal(const struct transaction *transaction,
		    const struct reply **reply_out, struct slice *extra_out,
		    struct slice *reason_out)
{
	ASSERT(transaction->phase == PHASE_REFUSED);
	*reply_out = transaction->refusal;
	*extra_out = transaction->refusal_extra;
	*reason_out = text_slice(&transaction->reason);
}
