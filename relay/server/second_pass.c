#include "relay/limits.h"
#include "relay/server/transaction_private.h"

static const struct reply reply_long_word = {
	554, "5.6.0",
	"A header line is longer than 998 octets and cannot be folded"};

/* Nothing is known that leads here: it is for what nobody has thought of, so
 * that such a message ends a transaction only. */
static const struct reply reply_overgrown = {
	554, "5.6.0",
	"The message grows too much where it is prepared for signing: send its "
	"content encoded, and in lines of at most 998 octets"};

bool
second_pass_is_due(struct transaction *transaction,
		   const struct prepare_bytes *bytes)
{
	transaction->needs = prepare_needs(
		&transaction->facts, bytes,
		&transaction_options(transaction)->prepare,
		&transaction->notes);
	prepare_strip(version_decision(transaction->version),
		      &transaction->facts, &transaction->arena,
		      &transaction->needs);
	return prepare_is_due(&transaction->needs);
}

/* A new message takes the place of the one whose bytes are read. */
static void
begin_again(struct transaction *transaction)
{
	struct message *message = message_new_like(transaction->message);

	message_unref(transaction->message);
	transaction->message = message;
	version_cancel(&transaction->version);
	transaction->given_size = transaction->size;
	/* Folding can at most double it. */
	transaction_make(transaction,
			 2 * transaction_header_max(transaction) + KIB);
}

/* It needs room beside the one that is read. */
static const struct reply *
reserve(struct transaction *transaction)
{
	return transaction_reserve(transaction,
				   repair_room_max(transaction->size));
}

static bool
on_decided(void *owner, const struct repair_report *report)
{
	struct transaction *transaction = owner;
	enum prepare_outcome outcome = prepare_settle(
		&transaction->needs, report, &transaction->notes);

	const struct reply *refusal = NULL;

	if (outcome == PREPARE_WRITE)
		refusal = reserve(transaction);
	if (outcome == PREPARE_WRITE && refusal == NULL) {
		transaction->report = *report;
		begin_again(transaction);
		return true;
	}
	transaction->pass = NULL; /* it goes by itself */
	if (outcome == PREPARE_WRITE)
		transaction_give_up(transaction, refusal, SLICE_NONE,
				    SLICE("limits.max_incoming"));
	else if (outcome == PREPARE_REFUSE)
		transaction_give_up(transaction, &reply_long_word, SLICE_NONE,
				    SLICE("prepare.long_lines"));
	else
		transaction_finish(transaction);
	return false;
}

static bool
on_bytes(void *owner, struct slice bytes)
{
	struct transaction *transaction = owner;
	enum version_status status;

	if (transaction->is_overgrown)
		return true;
	transaction->size += bytes.len;
	/* limits.max_message_size is for what a client gives. */
	if (transaction->size > repair_size_max(transaction->given_size)) {
		transaction->is_overgrown = true;
		return true;
	}
	status = version_write(transaction->version, bytes);
	transaction->is_overgrown = status == VERSION_HEADER_TOO_LARGE;
	transaction->is_blocked = status == VERSION_WAIT;
	return !transaction->is_blocked;
}

/* The repaired message is whole. */
static void
on_passed(void *owner, const struct fault *fault)
{
	struct transaction *transaction = owner;
	const struct decision *decision;

	transaction->pass = NULL;
	if (fault != NULL) {
		transaction_give_up(transaction,
				    &transaction_reply_local_error, SLICE_NONE,
				    SLICE(fault->text));
		return;
	}
	if (transaction->is_overgrown || !version_end(transaction->version)) {
		transaction_give_up(transaction, &reply_overgrown, SLICE_NONE,
				    SLICE("it grows too much"));
		return;
	}
	transaction->phase = PHASE_FINISHING;
	decision = version_decision(transaction->version);
	if (decision->verdict == VERDICT_REJECT) {
		transaction_give_up(transaction, &transaction_reply_unsigned,
				    decision->reason, decision->reason);
		return;
	}
	transaction->message->body.has_long_line =
		transaction->report.left != NULL;
	transaction_finish(transaction);
}

void
second_pass_start(struct transaction *transaction)
{
	pass_start(&(struct pass_setup){
			   .store = transaction->setup.store,
			   .loop = transaction->setup.loop,
			   .message = transaction->message,
			   .needs = transaction->needs,
			   .header_max = transaction_header_max(transaction),
			   .decided = on_decided,
			   .take = on_bytes,
			   .done = on_passed,
			   .owner = transaction},
		   &transaction->pass);
}
