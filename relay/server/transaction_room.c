#include "relay/limits.h"
#include "relay/server/transaction_private.h"

const struct reply transaction_reply_no_room = {
	452, "4.3.1", "Insufficient system storage, try again later"};
static const struct reply reply_queue_full = {
	452, "4.3.1",
	"The queue holds as much as it may (limits.max_queue_messages, "
	"max_queue_size), try again later"};
static const struct reply reply_memory = {
	452, "4.3.1",
	"Too much memory is in use for envelopes and headers "
	"(limits.max_memory), try again later"};
static const struct reply reply_memory_part = {
	452, "4.3.1",
	"Memory for envelopes and headers is short (limits.max_memory), and "
	"your address uses its part of it: try again later"};
static const struct reply reply_intake = {
	452, "4.3.1",
	"Too much mail is being received at once (limits.max_incoming), try "
	"again later"};
static const struct reply reply_intake_part = {
	452, "4.3.1",
	"Room for mail that is being received is short (limits.max_incoming), "
	"and your address uses its part of it: try again later"};

/* What its client has of the store's room. */
static struct quota_part *
part_of(const struct transaction *transaction)
{
	return citizen_part(transaction->setup.citizen);
}

const struct reply *
transaction_lack(enum store_lack lack)
{
	static const struct reply *const replies[STORE_LACKS_COUNT] = {
		[STORE_LACKS_TIME] = &transaction_reply_no_room,
		[STORE_LACKS_DISK] = &transaction_reply_no_room,
		[STORE_LACKS_MAP] = &transaction_reply_no_room,
		[STORE_LACKS_PLACE] = &reply_queue_full,
		[STORE_LACKS_INTAKE] = &reply_intake,
		[STORE_LACKS_INTAKE_PART] = &reply_intake_part,
		[STORE_LACKS_MEMORY] = &reply_memory,
		[STORE_LACKS_MEMORY_PART] = &reply_memory_part,
	};

	return replies[lack];
}

const struct reply *
transaction_room(const struct transaction *transaction)
{
	return transaction_lack(store_lacks_for_new(
		transaction->setup.store, part_of(transaction),
		transaction->announced));
}

const struct reply *
transaction_reserve(struct transaction *transaction, uint64_t bytes)
{
	enum store_lack lack;

	if (bytes <= transaction->reserved)
		return NULL;
	lack = store_reserve(transaction->setup.store,
			     part_of(transaction),
			     transaction->reserved,
			     bytes - transaction->reserved);
	if (lack == STORE_LACKS_NOTHING)
		transaction->reserved = bytes;
	return transaction_lack(lack);
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

const struct reply *
transaction_hold(struct transaction *transaction, size_t weight)
{
	size_t more = lacking(transaction, weight);
	enum store_lack lack;

	if (more == 0)
		return NULL;
	lack = store_hold(transaction->setup.store,
			  part_of(transaction),
			  transaction->held, more);
	if (lack == STORE_LACKS_NOTHING)
		transaction->held += more;
	return transaction_lack(lack);
}

/* Twice itself while the list grows, and up to four places of the roster. */
size_t
transaction_recipient_weight(const struct recipient *recipient)
{
	return 2 * sizeof(*recipient) + 4 * sizeof(uint32_t) +
	       recipient->address.len +
	       recipient->destination.len + recipient->orcpt.len;
}

const struct reply *
transaction_lacks_memory(const struct transaction *transaction,
			 const struct recipient *recipient)
{
	size_t weight = transaction->envelope_weight +
			transaction_recipient_weight(recipient);
	size_t more = lacking(transaction, weight);

	if (more == 0)
		return NULL;
	return transaction_lack(store_lacks_memory(
		transaction->setup.store, part_of(transaction),
		transaction->held, more));
}

void
transaction_release(struct transaction *transaction)
{
	struct quota_part *part = part_of(transaction);

	store_let_go(transaction->setup.store, part, transaction->held);
	transaction->held = 0;
	store_release(transaction->setup.store, part, transaction->reserved);
	transaction->reserved = 0;
}
