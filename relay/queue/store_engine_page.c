#include "relay/queue/store_engine_private.h"

#include <errno.h>

/* Where a walk over the deliveries stands. */
struct walk {
	struct engine *engine;
	MDB_txn *txn;
	MDB_cursor *cursor;
	MDB_val name, value;
	int status; /* the engine's, of the last step */
	struct message_id id;
	struct slice destination; /* in the key */
};

static void
walk_look(struct walk *walk)
{
	if (walk->status == 0 &&
	    !record_key_delivery_read(slice_of_val(&walk->name), &walk->id,
				      &walk->destination))
		walk->status = MDB_CORRUPTED;
}

static void
walk_step(struct walk *walk)
{
	walk->status = mdb_cursor_get(walk->cursor, &walk->name, &walk->value,
				      MDB_NEXT);
	walk_look(walk);
}

/* To the first delivery of this message or of one behind it. */
static bool
walk_begin(struct walk *walk, struct engine *engine,
	   const struct message_id *id, struct fault *fault)
{
	*walk = (struct walk){.engine = engine};
	walk->status = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &walk->txn);
	if (walk->status != 0)
		return engine_fault(fault, walk->status, "transaction");
	walk->status =
		mdb_cursor_open(walk->txn, engine->deliveries, &walk->cursor);
	if (walk->status != 0) {
		mdb_txn_abort(walk->txn);
		return engine_fault(fault, walk->status, "read");
	}
	walk->name = (MDB_val){MESSAGE_ID_SIZE, (void *)id->bytes};
	walk->status = mdb_cursor_get(walk->cursor, &walk->name, &walk->value,
				      MDB_SET_RANGE);
	walk_look(walk);
	return true;
}

static bool
walk_end(struct walk *walk, struct fault *fault)
{
	mdb_cursor_close(walk->cursor);
	mdb_txn_abort(walk->txn);
	if (walk->status != 0 && walk->status != MDB_NOTFOUND)
		return engine_fault(fault, walk->status, "read");
	return true;
}

static bool
walk_read_delivery(struct walk *walk, struct message *message,
		   struct list *deliveries, struct fault *fault)
{
	CLEAN(delivery_free_clean)
	struct delivery *delivery = memory_new(sizeof(*delivery));

	list_init(&delivery->link);
	delivery->message = message_ref(message);
	if (!record_delivery_read(walk->destination,
				  slice_of_val(&walk->value), delivery, fault))
		return false;
	list_add_last(deliveries, &TAKE(delivery)->link);
	return true;
}

/* All of one message, which the walk stands on; how many deliveries. The
 * message is read once: it may have as many recipients as deliveries. */
static size_t
walk_read_message(struct walk *walk, struct list *deliveries,
		  engine_damaged_fn *damaged, void *owner)
{
	CLEAN(message_unref_clean) struct message *message = NULL;
	struct message_id id = walk->id;
	struct record_key key;
	struct slice record;
	struct fault fault = {0};
	size_t count = 0;

	record_key_message(&key, &id, 0);
	if (!engine_get(walk->txn, walk->engine->messages, &key, &record,
			&fault) ||
	    !record_message_read(&id, record, &message, &fault))
		message = NULL;
	for (; walk->status == 0 && message_id_eq(&walk->id, &id);
	     walk_step(walk)) {
		if (message == NULL ||
		    !walk_read_delivery(walk, message, deliveries, &fault))
			damaged(owner, walk->destination, 0, &id, &fault);
		count++;
	}
	return count;
}

bool
engine_read_page(struct engine *engine, struct engine_page *page,
		 engine_damaged_fn *damaged, void *owner, struct fault *fault)
{
	struct walk walk;
	size_t count = 0;

	list_init(&page->deliveries);
	if (!walk_begin(&walk, engine, &page->after, fault))
		return false;
	while (walk.status == 0 && message_id_eq(&walk.id, &page->after))
		walk_step(&walk);
	while (walk.status == 0 && count < page->max) {
		page->after = walk.id;
		count += walk_read_message(&walk, &page->deliveries, damaged,
					   owner);
	}
	page->has_more = walk.status == 0;
	return walk_end(&walk, fault);
}

bool
engine_read_message(struct engine *engine, const struct message_id *id,
		    struct list *deliveries, engine_damaged_fn *damaged,
		    void *owner, struct fault *fault)
{
	struct walk walk;
	bool is_found;

	list_init(deliveries);
	if (!walk_begin(&walk, engine, id, fault))
		return false;
	is_found = walk.status == 0 && message_id_eq(&walk.id, id);
	if (is_found)
		walk_read_message(&walk, deliveries, damaged, owner);
	if (!walk_end(&walk, fault))
		return false;
	return is_found || fault_set(fault, FAULT_ABSENT, "not in the queue");
}
