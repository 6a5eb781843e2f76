#include "tests/fake/queue.h"

#include <stdlib.h>

#include "relay/net/signing.h"
#include "relay/prepare/recheck.h"
#include "relay/queue/spool.h"

static enum fault_kind failing[FAKE_PARTS];
static bool is_full;
static uint64_t incoming, incoming_max, held, held_max;
static size_t spool_at_once;
static size_t stored;
static struct text last;
static struct message *last_message;

/* What is under way, at most one of each. */
static struct store_put *put_open;
static bool is_put_expected;
static struct signing_order *order_open;
static struct signature *order_signatures;
static size_t order_count;

struct spool {
	struct message *message;
	spool_fn *event;
	void *owner;
	struct text bytes;
	size_t since_drained;
	unsigned noes; /* since it has drained */
	bool is_finishing, has_failed;
	struct fault fault;
};
static struct spool *spool_open;

void
fake_queue_fail(enum fake_part part, enum fault_kind kind)
{
	failing[part] = kind;
}

void
fake_queue_is_full(bool full)
{
	is_full = full;
}

void
fake_queue_incoming_max(uint64_t bytes)
{
	incoming_max = bytes;
}

void
fake_queue_held_max(uint64_t bytes)
{
	held_max = bytes;
}

void
fake_queue_slow(size_t bytes)
{
	spool_at_once = bytes;
}

size_t
fake_queue_stored(void)
{
	return stored;
}

struct slice
fake_queue_last(void)
{
	return text_slice(&last);
}

const struct message *
fake_queue_last_message(void)
{
	return last_message;
}

void
fake_queue_forget(void)
{
	ASSERT(put_open == NULL);
	ASSERT(order_open == NULL);
	ASSERT(spool_open == NULL);
	memset(failing, 0, sizeof(failing));
	ASSERT(incoming == 0 && held == 0);
	incoming_max = held_max = 0;
	is_full = false;
	spool_at_once = 0;
	stored = 0;
	text_done(&last);
	if (last_message != NULL)
		message_unref(last_message);
	last_message = NULL;
}

/* --- spool --- */

struct spool *
spool_new(struct store *store, struct loop *loop, struct message *message,
	  spool_fn *event, void *owner)
{
	struct spool *spool = memory_new(sizeof(*spool));

	(void)store;
	(void)loop;
	ASSERT(spool_open == NULL);
	spool->message = message;
	spool->event = event;
	spool->owner = owner;
	spool_open = spool;
	return spool;
}

static void
spool_end(struct spool *spool)
{
	spool_open = NULL;
	text_done(&spool->bytes);
	free(spool);
}

bool
spool_write(struct spool *spool, struct slice bytes)
{
	ASSERT(!spool->is_finishing);
	/* What stands behind a header may follow it at once: spool.h. */
	ASSERT(spool->noes < 2 || spool->has_failed);
	text_add(&spool->bytes, bytes);
	spool->since_drained += bytes.len;
	if (failing[FAKE_SPOOL] != FAULT_NONE)
		spool->has_failed = true;
	if (spool->has_failed ||
	    (spool_at_once > 0 && spool->since_drained >= spool_at_once))
		spool->noes++;
	return spool->noes == 0;
}

void
spool_finish(struct spool *spool)
{
	ASSERT(!spool->is_finishing);
	spool->is_finishing = true;
}

void
spool_cancel(struct spool **spool)
{
	spool_end(TAKE(*spool));
}

const struct fault *
spool_fault(const struct spool *spool)
{
	return &spool->fault;
}

static bool
spool_turn(struct spool *spool)
{
	struct message *message = spool->message;
	struct body *body = &message->body;
	void *owner = spool->owner;
	spool_fn *event = spool->event;

	if (spool->has_failed) {
		/* Told once; only spool_cancel() may follow. */
		spool->has_failed = false;
		spool->noes = 0;
		fault_set(&spool->fault, failing[FAKE_SPOOL], "spool");
		event(owner, SPOOL_FAILED);
		return true;
	}
	if (spool->noes > 0) {
		spool->noes = 0;
		spool->since_drained = 0;
		event(owner, SPOOL_DRAINED);
		return true;
	}
	if (!spool->is_finishing)
		return false;
	body->size = spool->bytes.len;
	body->chunks = arena_new(&message->arena, sizeof(*body->chunks));
	body->chunks[0] = arena_copy(&message->arena,
				     text_slice(&spool->bytes));
	body->chunks_count = 1;
	spool_end(spool);
	event(owner, SPOOL_DONE);
	return true;
}

/* --- signer --- */

void
signing_start(struct signing *signing, struct signing_order *order,
	      struct signature *signatures, size_t count)
{
	(void)signing;
	ASSERT(order_open == NULL);
	ASSERT(count > 0);
	order_signatures = signatures;
	order_count = count;
	order_open = order;
}

void
signing_cancel(struct signing_order *order)
{
	ASSERT(order == order_open);
	order_open = NULL;
}

static void
signing_turn(void)
{
	struct signing_order *order = TAKE(order_open);
	struct fault fault = {0};

	if (failing[FAKE_SIGNER] != FAULT_NONE) {
		fault_set(&fault, failing[FAKE_SIGNER], "signer");
		order->done(order, &fault);
		return;
	}
	for (size_t i = 0; i < order_count; i++) {
		order_signatures[i].signature_len = 64;
		memset(order_signatures[i].signature, 0x55, 64);
	}
	order->done(order, NULL);
}

/* The fake signer's signatures verify nowhere: this says whether they do. */
enum recheck_status
recheck_start(struct recheck *recheck, struct store *store, struct loop *loop,
	      struct message *message, const struct pipeline *pipeline,
	      struct fault *fault)
{
	(void)recheck;
	(void)store;
	(void)loop;
	ASSERT(message->prefix.len > 0);
	ASSERT(pipeline != NULL);
	if (failing[FAKE_RECHECK] == FAULT_NONE)
		return RECHECK_GOOD;
	fault_set(fault, failing[FAKE_RECHECK], "recheck");
	return RECHECK_BAD;
}

/* --- store --- */

enum store_lack
store_lacks_for_new(struct store *store, const struct quota_part *part,
		    uint64_t size_bytes)
{
	(void)store;
	(void)part;
	if (incoming_max > 0 &&
	    incoming + (size_bytes > 0 ? size_bytes : 1) > incoming_max)
		return STORE_LACKS_INTAKE;
	return is_full ? STORE_LACKS_DISK : STORE_LACKS_NOTHING;
}

enum store_lack
store_reserve(struct store *store, struct quota_part *part, uint64_t own,
	      uint64_t bytes)
{
	(void)store;
	ASSERT(part->incoming >= own);
	if (incoming_max > 0 && incoming + bytes > incoming_max)
		return STORE_LACKS_INTAKE;
	incoming += bytes;
	part->incoming += bytes;
	return STORE_LACKS_NOTHING;
}

bool
store_is_pressed(const struct store *store)
{
	(void)store;
	return incoming_max > 0 && incoming > incoming_max / 2;
}

enum store_lack
store_lacks_memory(struct store *store, const struct quota_part *part,
		   uint64_t own, uint64_t bytes)
{
	(void)store;
	ASSERT(part->held >= own);
	return held_max == 0 || held + bytes <= held_max ? STORE_LACKS_NOTHING
							 : STORE_LACKS_MEMORY;
}

enum store_lack
store_hold(struct store *store, struct quota_part *part, uint64_t own,
	   uint64_t bytes)
{
	enum store_lack lack = store_lacks_memory(store, part, own, bytes);

	if (lack == STORE_LACKS_NOTHING) {
		held += bytes;
		part->held += bytes;
	}
	return lack;
}

void
store_let_go(struct store *store, struct quota_part *part, uint64_t bytes)
{
	(void)store;
	ASSERT(held >= bytes && part->held >= bytes);
	held -= bytes;
	part->held -= bytes;
}

void
store_release(struct store *store, struct quota_part *part, uint64_t bytes)
{
	(void)store;
	ASSERT(incoming >= bytes && part->incoming >= bytes);
	incoming -= bytes;
	part->incoming -= bytes;
}

void
store_expect(struct store *store)
{
	(void)store;
	ASSERT(!is_put_expected);
	is_put_expected = true;
}

void
store_expect_no_more(struct store *store)
{
	(void)store;
	ASSERT(is_put_expected);
	is_put_expected = false;
}

void
store_put(struct store *store, struct store_put *put)
{
	(void)store;
	ASSERT(put_open == NULL);
	ASSERT(!is_put_expected);
	list_init(&put->deliveries);
	put_open = put;
}

static void
put_turn(void)
{
	struct store_put *put = TAKE(put_open);
	struct message *message = put->message;
	struct fault fault = {0};

	if (failing[FAKE_STORE] != FAULT_NONE) {
		fault_set(&fault, failing[FAKE_STORE], "store");
		put->done(put, &fault);
		return;
	}
	stored++;
	text_clear(&last);
	text_add(&last, message->prefix);
	ASSERT(message->body.chunks_count == 1);
	text_add(&last, message->body.chunks[0]);
	ASSERT(message->body.header_len <= message->body.size);
	if (last_message != NULL)
		message_unref(last_message);
	last_message = message_ref(message);
	put->done(put, NULL);
}

/* What the spool here has is always in memory. */
void
store_read_body(struct store *store, struct store_read_body *read)
{
	(void)store;
	(void)read;
	ASSERT(false); /* nothing is in a file */
}

void
schedule_add(struct schedule *schedule, struct list *deliveries)
{
	(void)schedule;
	ASSERT(list_is_empty(deliveries));
}

bool
fake_queue_turn(void)
{
	if (order_open != NULL) {
		signing_turn();
		return true;
	}
	if (spool_open != NULL && spool_turn(spool_open))
		return true;
	if (put_open != NULL) {
		put_turn();
		return true;
	}
	return false;
}
