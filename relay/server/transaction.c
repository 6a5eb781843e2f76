#include "relay/server/transaction.h"

#include <stdlib.h>

#include "milter/header.h"
#include "relay/net/signing.h"
#include "relay/net/wire.h"
#include "relay/queue/spool.h"
#include "relay/server/recheck.h"

/*
 * FIELDS → BODY, or → REFUSED from either: the rest is read and dropped, in
 * constant memory. At the end of data → FINISHING (spool and signer at work)
 * → STORING (looked at once more where that is due, then in the store's hands).
 * ENVELOPE comes before them all.
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
	uint64_t size;
	uint64_t hops;
	bool has_date, has_message_id;
	bool adds_date, adds_message_id;

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
static const struct reply reply_too_big = {
	552, "5.3.4", "Message size exceeds the limit"};
static const struct reply reply_header_too_big = {
	552, "5.3.4", "Header size exceeds the limit"};
static const struct reply reply_too_many_hops = {
	554, "5.4.6", "Too many hops: a mail loop?"};
static const struct reply reply_bare_line_end = {
	554, "5.6.0", "Bare CR or LF in the message: lines must end in CRLF"};
static const struct reply reply_nul = {554, "5.6.0", "NUL in the message"};
static const struct reply reply_unsigned = {
	550, "5.7.1", "Nobody here signs this message: "};

static bool
field_is(struct slice name, const char *word)
{
	return slice_eq_nocase(name, SLICE(word));
}

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
	text_done(&transaction->reason);
	arena_done(&transaction->arena);
	free(transaction);
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
	if (transaction->is_signing)
		signing_cancel(&transaction->order);
	if (transaction->spool != NULL)
		spool_cancel(&transaction->spool);
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

/* What spool and signer still do is of no use any more. */
static void
give_up(struct transaction *transaction, const struct reply *reply,
	const struct fault *fault)
{
	if (transaction->is_signing)
		signing_cancel(&transaction->order);
	if (transaction->spool != NULL)
		spool_cancel(&transaction->spool);
	transaction->is_signing = false;
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
log_signatures(struct log *line, const struct transaction *transaction)
{
	log_list_begin(line, "signatures");
	for (size_t i = 0; i < transaction->signatures_count; i++) {
		const struct signature *signature =
			&transaction->signatures[i];
		enum key_algorithm algorithm =
			key_public_algorithm(signature->selector->key);

		log_object_begin(line);
		log_text(line, "domain", signature->domain);
		log_text(line, "selector", signature->selector->name);
		log_string(line, "algorithm", key_algorithm_name(algorithm));
		log_object_end(line);
	}
	log_list_end(line);
}

static void
log_changed(struct log *line, const struct transaction *transaction)
{
	log_list_begin(line, "changed");
	if (transaction->adds_date)
		log_item(line, SLICE("Date added"));
	if (transaction->adds_message_id)
		log_item(line, SLICE("Message-ID added"));
	log_list_end(line);
}

static void
log_accepted(const struct transaction *transaction)
{
	const struct message *message = transaction->message;
	char id[MESSAGE_ID_TEXT + 1], client[ADDRESS_TEXT_SIZE];
	struct log line;

	message_id_write(&message->id, id);
	address_write_host(transaction->setup.trace.client, client);
	log_begin(&line, LOG_LEVEL_INFO, "accepted");
	log_string(&line, "id", id);
	log_text(&line, "listener", transaction->setup.listener);
	log_string(&line, "client", client);
	log_text(&line, "from", message->reverse_path);
	log_list_begin(&line, "recipients");
	for (size_t i = 0; i < message->recipients_count; i++)
		log_item(&line, message->recipients[i].address);
	log_list_end(&line);
	log_number(&line, "size", message_size(message));
	log_signatures(&line, transaction);
	log_text(&line, "reason", transaction->decision->reason);
	log_changed(&line, transaction);
	log_send(&line);
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

static void
recheck_message(struct transaction *transaction)
{
	enum recheck_status status;
	struct fault fault;

	transaction->recheck.done = on_rechecked;
	status = recheck_start(&transaction->recheck, transaction->setup.store,
			       transaction->setup.loop, transaction->message,
			       transaction->pipeline, &fault);
	if (status != RECHECK_LATER)
		on_rechecked(&transaction->recheck,
			     status == RECHECK_BAD ? &fault : NULL);
}

/* Spool and signer are through: our fields on top, and into the store. */
static void
store_message(struct transaction *transaction)
{
	struct message *message = transaction->message;
	struct slice hostname = transaction->setup.trace.hostname;
	CLEAN(text_done) struct text prefix = {0};

	ASSERT(message->body.size == transaction->size);
	if (transaction->signatures_count > 0)
		pipeline_write(transaction->pipeline, &prefix);
	prepare_received(&prefix, &transaction->setup.trace, message);
	if (transaction->adds_date) {
		prepare_date(&prefix, message->received_ms);
		text_add_string(&prefix, "\r\n");
	}
	if (transaction->adds_message_id) {
		prepare_message_id(&prefix, &message->id, hostname);
		text_add_string(&prefix, "\r\n");
	}
	message->prefix = arena_copy(&message->arena, text_slice(&prefix));
	transaction->phase = PHASE_STORING;
	recheck_message(transaction);
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
	const struct reply *reply = fault.kind == FAULT_LIMIT
					    ? &reply_no_room
					    : &reply_local_error;

	if (transaction->phase == PHASE_FINISHING) {
		give_up(transaction, reply, &fault);
		return;
	}
	/* Where data waited for room there will be no other event. */
	transaction->is_blocked = false;
	refuse(transaction, reply, SLICE(fault.text));
	transaction->setup.drained(transaction->setup.owner);
}

static void
on_spool(void *owner, enum spool_event event)
{
	struct transaction *transaction = owner;

	switch (event) {
	case SPOOL_DRAINED:
		transaction->is_blocked = false;
		if (transaction->phase < PHASE_FINISHING)
			transaction->setup.drained(transaction->setup.owner);
		break;
	case SPOOL_DONE:
		transaction->spool = NULL;
		transaction->has_spooled = true;
		if (!transaction->is_signing)
			store_message(transaction);
		break;
	case SPOOL_FAILED:
		spool_failed(transaction);
		break;
	}
}

/* --- data --- */

void
transaction_data(struct transaction *transaction)
{
	struct message *message = transaction->message;
	const struct options *options = transaction_options(transaction);

	ASSERT(transaction->phase == PHASE_ENVELOPE);
	ASSERT(message->recipients_count > 0);
	wire_data_init(&transaction->wire);
	header_reader_init(&transaction->header,
			   options->limits.max_header_size);
	message->received_ms = clock_wall_ms();
	transaction->pipeline =
		pipeline_new(transaction->setup.generation->policy,
			     message->received_ms / 1000);
	transaction->spool = spool_new(transaction->setup.store,
				       transaction->setup.loop, message,
				       on_spool, transaction);
	transaction->phase = PHASE_FIELDS;
}

static void
take_field(struct transaction *transaction, struct slice field)
{
	struct slice name, value;

	pipeline_header(transaction->pipeline, field);
	if (header_field_parse(field, &name, &value) != NULL)
		return;
	if (field_is(name, "Received"))
		transaction->hops++;
	else if (field_is(name, "Date"))
		transaction->has_date = true;
	else if (field_is(name, "Message-ID"))
		transaction->has_message_id = true;
}

/* What is signed is what goes out: our own fields take part. */
static void
end_of_header(struct transaction *transaction)
{
	const struct message *message = transaction->message;
	CLEAN(text_done) struct text field = {0};

	transaction->adds_date = !transaction->has_date;
	transaction->adds_message_id = !transaction->has_message_id;
	if (transaction->adds_date) {
		prepare_date(&field, message->received_ms);
		pipeline_header(transaction->pipeline, text_slice(&field));
	}
	text_clear(&field);
	if (transaction->adds_message_id) {
		prepare_message_id(&field, &message->id,
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
take(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;
	uint64_t size_max =
		transaction_options(transaction)->limits.max_message_size;
	struct slice rest = bytes;

	if (transaction->phase == PHASE_REFUSED)
		return true;
	transaction->size += bytes.len;
	if (transaction->size > size_max) {
		refuse(transaction, &reply_too_big,
		       SLICE("limits.max_message_size"));
		return true;
	}
	if (transaction->phase == PHASE_FIELDS)
		take_fields(transaction, &rest);
	if (transaction->phase == PHASE_REFUSED)
		return true;
	if (transaction->phase == PHASE_BODY && rest.len > 0)
		pipeline_body(transaction->pipeline, rest);
	transaction->is_blocked = !spool_write(transaction->spool, bytes);
	return !transaction->is_blocked;
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

/* In the order in which they should be mended. */
static void
judge(struct transaction *transaction)
{
	const struct limits_options *limits =
		&transaction_options(transaction)->limits;

	if (transaction->wire.has_bare_cr || transaction->wire.has_bare_lf)
		refuse(transaction, &reply_bare_line_end,
		       SLICE("bare CR or LF"));
	else if (transaction->wire.has_nul)
		refuse(transaction, &reply_nul, SLICE("NUL"));
	else if (transaction->hops > limits->max_hops)
		refuse(transaction, &reply_too_many_hops,
		       SLICE("limits.max_hops"));
	else if (transaction->decision->verdict == VERDICT_REJECT) {
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

static void
end_of_data(struct transaction *transaction)
{
	struct body *body = &transaction->message->body;

	if (transaction->phase == PHASE_FIELDS)
		last_fields(transaction);
	if (transaction->phase != PHASE_REFUSED)
		judge(transaction);
	if (transaction->phase == PHASE_REFUSED)
		return;
	transaction->phase = PHASE_FINISHING;
	body->has_8bit = transaction->wire.has_8bit;
	body->has_long_line = transaction->wire.has_long_line;
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
	status = wire_data_read(&transaction->wire, input, used_out, take,
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
