#include "relay/server/transaction_private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "milter/header.h"
#include "relay/server/accepted.h"
#include "relay/server/account.h"

static const struct reply reply_queued = {250, "2.0.0", "Ok: queued as "};
const struct reply transaction_reply_local_error = {
	451, "4.3.0", "Local error in processing, try again later"};
static const struct reply reply_signing_failed = {
	451, "4.7.5", "The message could not be signed, try again later"};
static const struct reply reply_too_big = {
	552, "5.3.4",
	"Message size exceeds the limit that EHLO gives as SIZE "
	"(limits.max_message_size)"};
static const struct reply reply_header_too_big = {
	552, "5.3.4", "Header size exceeds the limit (limits.max_header_size)"};
static const struct reply reply_too_many_hops = {
	554, "5.4.6",
	"Too many Received fields (limits.max_hops): a mail loop?"};
static const struct reply reply_bare_line_end = {
	554, "5.6.0", "Bare CR or LF in the message: lines must end in CRLF"};
static const struct reply reply_nul = {
	554, "5.6.0", "NUL in the message: send such content in base64"};
static const struct reply reply_long_line = {
	554, "5.6.0",
	"A line is longer than 998 octets (RFC 5322 2.1.1): fold it, or send "
	"the content quoted-printable or in base64"};
static const struct reply reply_not_author = {
	550, "5.7.1", "Your user may not send this message: "};
const struct reply transaction_reply_unsigned = {
	550, "5.7.1", "Nobody here signs this message: "};

struct transaction *
transaction_new(const struct transaction_setup *setup,
		const struct envelope_mail *mail)
{
	struct transaction *transaction = memory_new(sizeof(*transaction));
	struct arena *arena = &transaction->arena;
	struct trace *trace = &transaction->setup.trace;
	struct message *message;
	struct address *client;
	struct claims *origin;

	transaction->setup = *setup;
	generation_ref(setup->generation);
	transaction->setup.listener = arena_copy(arena, setup->listener);
	transaction->setup.user_by = arena_copy(arena, setup->user_by);
	trace->helo = arena_copy(arena, trace->helo);
	trace->client_name = arena_copy(arena, trace->client_name);
	trace->tls = arena_copy(arena, trace->tls);
	trace->hostname = setup->generation->options->hostname;
	client = arena_new(arena, sizeof(*client));
	*client = *trace->client;
	trace->client = client;
	if (setup->origin != NULL) {
		origin = arena_new(arena, sizeof(*origin));
		claims_copy(setup->origin, arena, origin);
		transaction->setup.origin = origin;
	}
	transaction->announced = mail->size;
	message = message_new(mail->path.address);
	message->declared_8bit = mail->declared_8bit;
	message->declared_smtputf8 = mail->declared_smtputf8;
	message->ret = mail->ret;
	message->envid = arena_copy(&message->arena, mail->envid);
	message->user = arena_copy(&message->arena, setup->user);
	message->received_ms = clock_wall_ms();
	transaction->message = message;
	transaction->rewrite = *setup->rewrite;
	if (mail->given.len > 0) {
		transaction->changes.rewritten.rewrites_sender = true;
		text_addf(&transaction->notes, "; the sender was %.*s",
			  SLICE_ARG(mail->given));
	}
	transaction->account = account_find(setup->generation->options,
					    setup->user);
	return transaction;
}

/* Where what follows is the signer's to do, a put is not far. */
static void
expect_put(struct transaction *transaction)
{
	store_expect(transaction->setup.store);
	transaction->is_expected = true;
}

static void
expect_put_no_more(struct transaction *transaction)
{
	if (transaction->is_expected)
		store_expect_no_more(transaction->setup.store);
	transaction->is_expected = false;
}

static void
transaction_free(struct transaction *transaction)
{
	transaction_release(transaction);
	expect_put_no_more(transaction);
	version_cancel(&transaction->version);
	message_unref(transaction->message);
	generation_unref(transaction->setup.generation);
	prepare_facts_done(&transaction->facts);
	text_done(&transaction->mended);
	rewriter_done(&transaction->rewriter);
	text_done(&transaction->rewritten);
	text_done(&transaction->notes);
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
	pass_cancel(&transaction->pass);
	transaction_free(transaction);
}

void
transaction_recipient(struct transaction *transaction,
		      const struct recipient *recipient)
{
	struct message *message = transaction->message;
	struct recipient *added;

	ASSERT(transaction->phase == PHASE_ENVELOPE);
	message_add_recipient(message, recipient->address,
			      recipient->destination);
	added = &message->recipients[message->recipients_count - 1];
	added->orcpt = arena_copy(&message->arena, recipient->orcpt);
	added->notify = recipient->notify;
	transaction->envelope_weight += transaction_recipient_weight(recipient);
	/* There was room when it was judged; if there is none any more the next
	 * one meets with that. */
	(void)transaction_hold(transaction, transaction->envelope_weight);
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

void
transaction_give_up(struct transaction *transaction, const struct reply *reply,
		    struct slice extra, struct slice reason)
{
	pass_cancel(&transaction->pass);
	text_add(&transaction->reason, reason);
	tell(transaction, reply, extra);
}

/* Bytes are still coming: the reply has to wait for their end. */
static void
refuse(struct transaction *transaction, const struct reply *reply,
       struct slice extra, struct slice reason)
{
	ASSERT(transaction->phase == PHASE_BYTES);
	transaction->phase = PHASE_REFUSED;
	/* Where data waits for room there will be no other event. */
	transaction->is_blocked = false;
	transaction->refusal = reply;
	transaction->refusal_extra = arena_copy(&transaction->arena, extra);
	text_add(&transaction->reason, reason);
	version_cancel(&transaction->version);
	transaction_release(transaction);
}

static void
log_accepted(const struct transaction *transaction)
{
	CLEAN(text_done) struct text reason = {0};

	/* Why it is signed so, or not; and what was not prepared. */
	text_add(&reason, version_decision(transaction->version)->reason);
	text_add(&reason, text_slice(&transaction->notes));
	accepted_log(&(struct accepted){
		.message = transaction->message,
		.listener = transaction->setup.listener,
		.client = transaction->setup.trace.client,
		.origin = transaction->setup.origin,
		.user_by = transaction->setup.user_by,
		.changes = &transaction->changes,
		.reason = text_slice(&reason),
	});
}

static void
on_stored(struct store_put *put, const struct fault *fault)
{
	struct transaction *transaction =
		CONTAINER(put, struct transaction, put);
	char id[MESSAGE_ID_TEXT + 1];

	if (fault != NULL) {
		transaction_give_up(transaction,
				    fault->kind == FAULT_LIMIT
					    ? &transaction_reply_no_room
					    : &transaction_reply_local_error,
				    SLICE_NONE, SLICE(fault->text));
		return;
	}
	log_accepted(transaction);
	schedule_add(transaction->setup.schedule, &put->deliveries);
	message_id_write(&transaction->message->id, id);
	tell(transaction, &reply_queued, SLICE(id));
}

static void
on_made(void *owner)
{
	struct transaction *transaction = owner;

	transaction->changes.repair = transaction->report;
	transaction->changes.mends_newlines = transaction->newline.has_mended;
	transaction->changes.adds_date = transaction->adds_date;
	transaction->changes.adds_message_id = transaction->adds_message_id;
	version_signatures(transaction->version, &transaction->arena,
			   &transaction->changes);
	transaction->phase = PHASE_STORING;
	transaction->put.message = transaction->message;
	transaction->put.loop = transaction->setup.loop;
	transaction->put.done = on_stored;
	expect_put_no_more(transaction);
	store_put(transaction->setup.store, &transaction->put);
}

void
transaction_finish(struct transaction *transaction)
{
	CLEAN(text_done) struct text received = {0};

	ASSERT(transaction->phase == PHASE_FINISHING);
	trace_received(&received, &transaction->setup.trace,
		       transaction->message);
	expect_put(transaction);
	version_finish(transaction->version, text_slice(&received));
}

/* A signature of ours that does not verify is our fault, not the client's. */
static void
on_failed(void *owner, enum outcome_trouble trouble, const struct fault *fault)
{
	struct transaction *transaction = owner;
	const struct reply *reply = &transaction_reply_local_error;

	if (trouble == TROUBLE_UNSIGNED)
		reply = &reply_signing_failed;
	else if (fault->kind == FAULT_LIMIT)
		reply = &transaction_reply_no_room;
	if (transaction->phase == PHASE_FINISHING ||
	    transaction->pass != NULL) {
		transaction_give_up(transaction, reply, SLICE_NONE,
				    SLICE(fault->text));
		return;
	}
	refuse(transaction, reply, SLICE_NONE, SLICE(fault->text));
	transaction->setup.drained(transaction->setup.owner);
}

/* --- the version --- */

static void
on_drained(void *owner)
{
	struct transaction *transaction = owner;

	transaction->is_blocked = false;
	if (transaction->pass != NULL)
		pass_resume(transaction->pass);
	else if (transaction->phase == PHASE_BYTES)
		transaction->setup.drained(transaction->setup.owner);
}

static void
on_spooled(void *owner)
{
	second_pass_start(owner);
}

static void
on_field(void *owner, struct slice field)
{
	struct transaction *transaction = owner;
	struct slice name, value;
	const char *problem = header_field_parse(field, &name, &value);

	if (problem != NULL && transaction->not_his.len == 0)
		(void)account_may_break(transaction->account, problem,
					&transaction->arena,
					&transaction->not_his);
	if (problem != NULL)
		return;
	prepare_note(&transaction->facts, name, value);
	if (transaction->not_his.len == 0)
		(void)account_may_claim(transaction->account, name, value,
					&transaction->arena,
					&transaction->not_his);
	if (transaction->account != NULL &&
	    slice_eq_nocase(name, SLICE("From")) &&
	    transaction->from_count++ == 0)
		transaction->from = arena_copy(&transaction->arena, value);
}

/* What is signed is what goes out: our own fields take part. */
static void
on_header_ended(void *owner)
{
	struct transaction *transaction = owner;
	const struct message *message = transaction->message;
	const struct prepare_options *options =
		&transaction_options(transaction)->prepare;
	const struct prepare_facts *facts = &transaction->facts;
	CLEAN(text_done) struct text field = {0};

	transaction->adds_date = prepare_adds_date(facts, options);
	transaction->adds_message_id = prepare_adds_message_id(facts, options);
	if (transaction->adds_date) {
		trace_date(&field, message->received_ms);
		version_on_top(transaction->version, text_slice(&field));
	}
	text_clear(&field);
	if (transaction->adds_message_id) {
		trace_message_id(&field, &message->id,
				 transaction->setup.trace.hostname);
		version_on_top(transaction->version, text_slice(&field));
	}
}

void
transaction_make(struct transaction *transaction, size_t header_max)
{
	ASSERT(transaction->version == NULL);
	prepare_facts_done(&transaction->facts);
	transaction->facts = (struct prepare_facts){0};
	transaction->size = 0;
	transaction->from_count = 0;
	transaction->not_his = SLICE_NONE;
	transaction->version = version_new(&(struct version_setup){
		.loop = transaction->setup.loop,
		.store = transaction->setup.store,
		.policy = transaction->setup.generation->policy,
		.message = transaction->message,
		.time_s = transaction->message->received_ms / 1000,
		.header_max = header_max,
		.field = on_field,
		.header_ended = on_header_ended,
		.drained = on_drained,
		.spooled = on_spooled,
		.done = on_made,
		.failed = on_failed,
		.owner = transaction});
	transaction->phase = PHASE_BYTES;
}

/* --- data --- */

static bool
rewrites_from(const struct transaction *transaction)
{
	return transaction->rewrite.from.to.len > 0;
}

size_t
transaction_header_max(const struct transaction *transaction)
{
	size_t given = transaction_options(transaction)->limits.max_header_size;

	return given + (rewrites_from(transaction) ? REWRITE_ADDED_MAX : 0);
}

void
transaction_data(struct transaction *transaction, enum transaction_bytes bytes)
{
	ASSERT(transaction->phase == PHASE_ENVELOPE);
	ASSERT(transaction->message->recipients_count > 0);
	wire_data_init(&transaction->wire);
	newline_init(&transaction->newline);
	transaction->newline.keeps_dots = bytes == TRANSACTION_BDAT;
	transaction->message->received_ms = clock_wall_ms();
	/* Where another was quicker it gets what it needs as it comes. */
	(void)transaction_reserve(transaction, transaction->announced);
	if (rewrites_from(transaction))
		rewriter_init(&transaction->rewriter, &transaction->rewrite,
			      transaction->message->reverse_path.len == 0,
			      transaction_options(transaction)
				      ->limits.max_header_size);
	transaction_make(transaction, transaction_header_max(transaction));
}

static void
refuse_header(struct transaction *transaction)
{
	refuse(transaction, &reply_header_too_big, SLICE_NONE,
	       SLICE("limits.max_header_size"));
}

/* What of the header is in memory: in a buffer that has doubled, and once more
 * as far as it is to be signed; held back as a whole where From is rewritten. */
static size_t
header_weight(const struct transaction *transaction)
{
	if (rewrites_from(transaction) && !transaction->rewriter.is_passing)
		return 3 * transaction->size;
	return 3 * transaction->message->body.header_len;
}

static void
hold_header(struct transaction *transaction)
{
	if (transaction->phase == PHASE_BYTES &&
	    !transaction_hold(transaction, transaction->envelope_weight +
				       header_weight(transaction)))
		refuse(transaction, &transaction_reply_no_memory, SLICE_NONE,
		       SLICE("limits.max_memory"));
}

/* As it is to be. */
static void
keep(struct transaction *transaction, struct slice bytes)
{
	switch (version_write(transaction->version, bytes)) {
	case VERSION_TAKEN:
		break;
	case VERSION_WAIT:
		transaction->is_blocked = true;
		break;
	case VERSION_HEADER_TOO_LARGE:
		refuse_header(transaction);
		break;
	}
}

/* The header stays with the rewriter until it is whole. */
static void
rewrite(struct transaction *transaction, struct slice bytes)
{
	if (transaction->rewriter.is_passing) {
		keep(transaction, bytes);
		return;
	}
	text_clear(&transaction->rewritten);
	rewriter_feed(&transaction->rewriter, bytes, &transaction->rewritten);
	if (transaction->rewritten.len > 0)
		keep(transaction, text_slice(&transaction->rewritten));
}

static void
rewrite_end(struct transaction *transaction)
{
	struct rewriter *rewriter = &transaction->rewriter;
	bool rewrites_sender = transaction->changes.rewritten.rewrites_sender;

	text_clear(&transaction->rewritten);
	rewriter_finish(rewriter, &transaction->rewritten);
	if (transaction->rewritten.len > 0)
		keep(transaction, text_slice(&transaction->rewritten));
	transaction->changes.rewritten = rewriter->report;
	transaction->changes.rewritten.rewrites_sender = rewrites_sender;
	rewriter_remark(rewriter, &transaction->notes);
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
		refuse(transaction, &reply_too_big, SLICE_NONE,
		       SLICE("limits.max_message_size"));
		return true;
	}
	if (!transaction_reserve(transaction, transaction->size)) {
		refuse(transaction, &transaction_reply_intake, SLICE_NONE,
		       SLICE("limits.max_incoming"));
		return true;
	}
	if (rewrites_from(transaction))
		rewrite(transaction, bytes);
	else
		keep(transaction, bytes);
	hold_header(transaction);
	return !transaction->is_blocked;
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
		.has_8bit = version_has_8bit(transaction->version),
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
	const struct decision *decision =
		version_decision(transaction->version);
	struct slice why;
	enum prepare_problem problem =
		prepare_judge(&transaction->facts, bytes, &options->prepare,
			      options->limits.max_hops);

	if (!account_may_write(transaction->account, transaction->from_count,
			       transaction->from, &transaction->arena, &why))
		refuse(transaction, &reply_not_author, why,
		       SLICE("account.from"));
	else if (transaction->not_his.len > 0)
		refuse(transaction, &reply_not_author, transaction->not_his,
		       SLICE("account.from"));
	else if (problem != PREPARE_NO_PROBLEM)
		refuse(transaction, rows[problem].reply, SLICE_NONE,
		       SLICE(rows[problem].reason));
	else if (decision->verdict == VERDICT_REJECT)
		refuse(transaction, &transaction_reply_unsigned,
		       decision->reason, decision->reason);
}

static void
end_of_data(struct transaction *transaction)
{
	struct prepare_bytes bytes;

	if (rewrites_from(transaction) && transaction->phase == PHASE_BYTES)
		rewrite_end(transaction);
	if (transaction->phase == PHASE_REFUSED)
		return;
	if (!version_end(transaction->version)) {
		refuse_header(transaction);
		return;
	}
	bytes = bytes_seen(transaction);
	judge(transaction, &bytes);
	if (transaction->phase == PHASE_REFUSED)
		return;
	transaction->phase = PHASE_FINISHING;
	transaction->message->body.has_long_line = bytes.has_long_line;
	if (second_pass_is_due(transaction, &bytes))
		version_spool(transaction->version);
	else
		transaction_finish(transaction);
}

enum transaction_status
transaction_read(struct transaction *transaction, struct slice input,
		 size_t *used_out)
{
	enum wire_data_status status;

	ASSERT(transaction->phase == PHASE_BYTES ||
	       transaction->phase == PHASE_REFUSED);
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

static void
chunk_take(struct transaction *transaction, struct slice bytes)
{
	wire_chunk(&transaction->wire, bytes);
	if (transaction->setup.normalizes)
		take_mended(transaction, bytes);
	else
		take(transaction, bytes);
}

enum transaction_status
transaction_chunk(struct transaction *transaction, struct slice bytes)
{
	ASSERT(transaction->phase == PHASE_BYTES ||
	       transaction->phase == PHASE_REFUSED);
	ASSERT(!transaction->is_blocked);
	chunk_take(transaction, bytes);
	return transaction->is_blocked ? TRANSACTION_BLOCKED
				       : TRANSACTION_MORE;
}

/* Every message ends with a line end: for what reads it, and as the same would
 * come by DATA. */
static void
end_line(struct transaction *transaction)
{
	const struct newline *newline = &transaction->newline;
	bool is_ended = transaction->setup.normalizes
				? newline->crs == 0 && newline->column == 0
				: wire_is_line_start(&transaction->wire);

	if (!is_ended)
		chunk_take(transaction, SLICE("\r\n"));
}

enum transaction_status
transaction_chunk_end(struct transaction *transaction, bool is_last)
{
	ASSERT(!transaction->is_blocked);
	if (is_last && transaction->phase == PHASE_BYTES)
		end_line(transaction);
	if (is_last)
		end_of_data(transaction);
	if (transaction->phase == PHASE_REFUSED)
		return TRANSACTION_REFUSED;
	return is_last ? TRANSACTION_ENDED : TRANSACTION_MORE;
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
