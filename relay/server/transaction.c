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
	citizen_ref(setup->citizen);
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
	citizen_unref(transaction->setup.citizen);
	expect_put_no_more(transaction);
	version_cancel(&transaction->version);
	roster_done(&transaction->roster);
	message_unref(transaction->message);
	generation_unref(transaction->setup.generation);
	prepare_facts_done(&transaction->facts);
	text_done(&transaction->mended);
	separator_done(&transaction->separator);
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
	roster_note(&transaction->roster, message);
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

bool
transaction_has_recipient(const struct transaction *transaction,
			  const struct recipient *recipient)
{
	return roster_has(&transaction->roster, transaction->message,
			  recipient);
}

const struct message *
transaction_message(const struct transaction *transaction)
{
	return transaction->message;
}

struct slice
transaction_mail_id(const struct transaction *transaction)
{
	return transaction->mail_id;
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
		.mail_id = transaction->mail_id,
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
	transaction->changes.separated = transaction->separator.report;
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
	transaction_refuse(transaction, reply, SLICE_NONE,
			   SLICE(fault->text));
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

/* By which everybody else knows it: for the log. */
static void
mail_id_take(struct transaction *transaction, struct slice value)
{
	value = slice_trim(value);
	if (value.len > LOGGED_FIELD_MAX)
		value.len = LOGGED_FIELD_MAX;
	transaction->mail_id = arena_copy(&transaction->arena, value);
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
	if (transaction->mail_id.len == 0 &&
	    slice_eq_nocase(name, SLICE("Message-ID")))
		mail_id_take(transaction, value);
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
		mail_id_take(transaction,
			     slice_from(text_slice(&field),
					strlen("Message-ID:")));
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
	transaction->mail_id = SLICE_NONE;
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
