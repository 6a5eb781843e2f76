#include "relay/limits.h"
#include "relay/server/transaction_private.h"

const struct reply transaction_reply_no_room = {
	452, "4.3.1", "Insufficient system storage, try again later"};
static const struct reply reply_queue_full = {
	452, "4.3.1",
	"The queue holds as much as it may (limits.max_queue_messages, "
	"max_queue_size), try again later"};
const struct reply transaction_reply_no_memory = {
	452, "4.3.1",
	"Too much memory is in use for envelopes and headers "
	"(limits.max_memory), try again later"};
const struct reply transaction_reply_intake = {
	452, "4.3.1",
	"Too much mail is being received at once (limits.max_incoming), try "
	"again later"};

const struct reply *
transaction_lack(enum store_lack lack)
{
	static const struct reply *const replies[STORE_LACKS_COUNT] = {
		[STORE_LACKS_TIME] = &transaction_reply_no_room,
		[STORE_LACKS_DISK] = &transaction_reply_no_room,
		[STORE_LACKS_PLACE] = &reply_queue_full,
		[STORE_LACKS_INTAKE] = &transaction_reply_intake,
		[STORE_LACKS_MEMORY] = &transaction_reply_no_memory,
	};

	return replies[lack];
}

const struct reply *
transaction_room(const struct transaction *transaction)
{
	return transaction_lack(store_lacks_for_new(
		transaction->setup.store, transaction->announced));
}

bool
transaction_reserve(struct transaction *transaction, uint64_t bytes)
{
	if (bytes <= transaction->reserved)
		return true;
	if (!store_reserve(transaction->setup.store,
			   bytes - transaction->reserved))
		return false;
	transaction->reserved = bytes;
	return true;
}

/* What it has to take from the store to have that much in memory. */
static size_t
lacking(const struct transaction *transaction, size_t weight)
{
	size_t has = TRANSACTION_MEMORY + transaction->held;

	if (weight <= has)
		return 0;
	return (weight - has + TRANSACTION_MEMORY - 1) / TRANSACTION_MEMORY *
	       TRANSACTION_MEMORY;
}

bool
transaction_hold(struct transaction *transaction, size_t weight)
{
	size_t more = lacking(transaction, weight);

	if (more == 0)
		return true;
	if (!store_hold(transaction->setup.store, more))
		return false;
	transaction->held += more;
	return true;
}

/* Twice itself while the list grows. */
size_t
transaction_recipient_weight(const struct recipient *recipient)
{
	return 2 * sizeof(*recipient) + recipient->address.len +
	       recipient->destination.len + recipient->orcpt.len;
}

const struct reply *
transaction_lacks_memory(const struct transaction *transaction,
			 const struct recipient *recipient)
{
	size_t weight = transaction->envelope_weight +
			transaction_recipient_weight(recipient);
	size_t more = lacking(transaction, weight);

	return more == 0 || store_may_hold(transaction->setup.store, more)
		       ? NULL
		       : &transaction_reply_no_memory;
}

void
transaction_release(struct transaction *transaction)
{
	store_let_go(transaction->setup.store, transaction->held);
	transaction->held = 0;
	store_release(transaction->setup.store, transaction->reserved);
	transaction->reserved = 0;
}
