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
	bool is_by_domain;        /* of a message, goes no further than that */
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
	delivery->arena = ARENA_SMALL;
	delivery->message = message_ref(message);
	if (!record_delivery_read(walk->destination,
				  slice_of_val(&walk->value), delivery, fault))
		return false;
	list_add_last(deliveries, &TAKE(delivery)->link);
	return true;
}

/* The message that the walk stands on; NULL: fault says why. */
static struct message *
walk_find_message(struct walk *walk, struct fault *fault)
{
	struct message *message = NULL;
	struct record_key key;
	struct slice record;

	record_key_message(&key, &walk->id, 0);
	return engine_get(walk->txn, walk->engine->messages, &key, &record,
			  fault) &&
			       record_message_read(&walk->id, record, &message,
						   fault)
		       ? message
		       : NULL;
}

static bool
walk_is_beyond(const struct walk *walk, const struct selection *selection)
{
	return walk->is_by_domain &&
	       !slice_starts(walk->destination, selection->domain);
}

/* What walk_read_message() has done. */
struct tally {
	size_t looks, reads;
};

/* All of one message that the selection takes. The message is read once, for it
 * may have as many recipients as deliveries, and not at all where no
 * destination is meant. */
static void
walk_read_message(struct walk *walk, const struct selection *selection,
		  struct list *deliveries, engine_damaged_fn *damaged,
		  void *owner, struct tally *tally)
{
	CLEAN(message_unref_clean) struct message *message = NULL;
	struct message_id id = walk->id;
	struct fault fault = {0};
	bool is_looked_for = false, is_other = false;

	for (; walk->status == 0 && message_id_eq(&walk->id, &id);
	     walk_step(walk)) {
		if (walk_is_beyond(walk, selection))
			return;
		tally->looks++;
		if (is_other || !selection_takes_destination(
					selection, walk->destination))
			continue;
		if (!is_looked_for)
			message = walk_find_message(walk, &fault);
		is_looked_for = true;
		/* Whose it was is unknown where it is damaged. */
		is_other = message != NULL
				   ? !selection_takes_sender(
					     selection, message->reverse_path)
				   : selection->has_sender;
		if (is_other)
			continue;
		tally->reads++;
		if (message == NULL ||
		    !walk_read_delivery(walk, message, deliveries, &fault))
			damaged(owner, walk->destination, 0, &id, &fault);
	}
}

/* So that a walk ends although messages keep coming. */
static void
walk_find_last(struct walk *walk, struct message_id *id_out)
{
	struct walk last = *walk;

	if (walk->status != 0 ||
	    mdb_cursor_open(walk->txn, walk->engine->deliveries,
			    &last.cursor) != 0)
		return;
	last.status = mdb_cursor_get(last.cursor, &last.name, &last.value,
				     MDB_LAST);
	walk_look(&last);
	if (last.status == 0)
		*id_out = last.id;
	mdb_cursor_close(last.cursor);
}

static bool
walk_is_within(const struct walk *walk, const struct message_id *until)
{
	return walk->status == 0 &&
	       memcmp(walk->id.bytes, until->bytes, MESSAGE_ID_SIZE) <= 0;
}

static bool
message_id_is_zero(const struct message_id *id)
{
	return message_id_eq(id, &(struct message_id){{0}});
}

static void
page_read_all(struct walk *walk, struct engine_page *page,
	      engine_damaged_fn *damaged, void *owner)
{
	struct tally tally = {0};

	while (walk->status == 0 && message_id_eq(&walk->id, &page->after))
		walk_step(walk);
	while (walk_is_within(walk, &page->until) && tally.reads < page->max &&
	       tally.looks < ENGINE_PAGE_LOOKS) {
		page->after = walk->id;
		walk_read_message(walk, &page->selection, &page->deliveries,
				  damaged, owner, &tally);
	}
	page->has_more = walk_is_within(walk, &page->until);
	page->looks += tally.looks;
}

/* To the first of the message's deliveries that may be at the domain. */
static void
walk_seek(struct walk *walk, const struct message_id *id, struct slice domain)
{
	struct record_key first;

	record_key_delivery(&first, id, domain);
	walk->name = val_of_key(&first);
	walk->status = mdb_cursor_get(walk->cursor, &walk->name, &walk->value,
				      MDB_SET_RANGE);
	walk_look(walk);
}

/* False: nothing was read, for there are too many. */
static bool
page_read_domain(struct walk *walk, struct engine_page *page,
		 engine_damaged_fn *damaged, void *owner)
{
	CLEAN(clean_memory) struct message_id *ids =
		memory_array(page->max + 1, sizeof(*ids));
	struct engine_find find = {.domain = page->selection.domain,
				   .after = page->after,
				   .until = page->until,
				   .max = page->max,
				   .ids = ids};
	struct tally tally = {0};
	size_t i;
	bool is_found = engine_find_domain(walk->engine, walk->txn, &find,
					   NULL);

	page->looks += find.looks;
	if (!is_found || find.is_too_much)
		return false;
	walk->is_by_domain = true;
	for (i = 0; i < find.count && tally.reads < page->max &&
		    tally.looks < ENGINE_PAGE_LOOKS;
	     i++) {
		page->after = ids[i];
		walk_seek(walk, &ids[i], find.domain);
		if (walk->status == 0 && message_id_eq(&walk->id, &ids[i]))
			walk_read_message(walk, &page->selection,
					  &page->deliveries, damaged, owner,
					  &tally);
	}
	page->has_more = find.has_more || i < find.count;
	page->looks += tally.looks;
	return true;
}

bool
engine_read_page(struct engine *engine, struct engine_page *page,
		 engine_damaged_fn *damaged, void *owner, struct fault *fault)
{
	struct walk walk;

	list_init(&page->deliveries);
	page->looks = 0;
	if (!walk_begin(&walk, engine, &page->after, fault))
		return false;
	if (message_id_is_zero(&page->until))
		walk_find_last(&walk, &page->until);
	if (!page->selection.has_domain || !engine->is_by_destination ||
	    !page_read_domain(&walk, page, damaged, owner))
		page_read_all(&walk, page, damaged, owner);
	return walk_end(&walk, fault);
}

bool
engine_read_message(struct engine *engine, const struct message_id *id,
		    struct list *deliveries, engine_damaged_fn *damaged,
		    void *owner, struct fault *fault)
{
	struct selection all = {0};
	struct tally tally = {0};
	struct walk walk;
	bool is_found;

	list_init(deliveries);
	if (!walk_begin(&walk, engine, id, fault))
		return false;
	is_found = walk.status == 0 && message_id_eq(&walk.id, id);
	if (is_found)
		walk_read_message(&walk, &all, deliveries, damaged, owner,
				  &tally);
	if (!walk_end(&walk, fault))
		return false;
	return is_found || fault_set(fault, FAULT_ABSENT, "not in the queue");
}

/* --- depths --- */

/* Those keys that begin with the destination and this byte: the end of its name,
 * or a route behind it (relay/routing.h). Adds to what was counted before. */
static int
range_count(MDB_cursor *cursor, struct slice destination, char behind,
	    size_t max, size_t *count)
{
	struct record_key first;
	MDB_val name, value;
	int status;

	memcpy(first.bytes, destination.bytes, destination.len);
	first.bytes[destination.len] = (uint8_t)behind;
	first.len = destination.len + 1;
	name = val_of_key(&first);
	status = mdb_cursor_get(cursor, &name, &value, MDB_SET_RANGE);
	while (status == 0 && *count < max && name.mv_size >= first.len &&
	       memcmp(name.mv_data, first.bytes, first.len) == 0) {
		++*count;
		status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
	}
	return status == MDB_NOTFOUND ? 0 : status;
}

static int
table_count(MDB_txn *txn, MDB_dbi table, const struct store_depth *depth,
	    size_t max, size_t *count_out)
{
	MDB_cursor *cursor = NULL;
	size_t count = 0;
	int status = mdb_cursor_open(txn, table, &cursor);

	if (status != 0)
		return status;
	status = range_count(cursor, depth->destination, '\0', max, &count);
	if (status == 0 && depth->is_domain)
		status = range_count(cursor, depth->destination,
				     ROUTING_SEPARATOR, max, &count);
	mdb_cursor_close(cursor);
	*count_out = count;
	return status;
}

bool
engine_count_depth(struct engine *engine, struct store_depth *depth, size_t max,
		   struct fault *fault)
{
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn);

	ASSERT(depth->destination.len <= DESTINATION_MAX);
	if (status != 0)
		return engine_fault(fault, status, "transaction");
	status = table_count(txn, engine->due, depth, max, &depth->due);
	if (status == 0)
		status = table_count(txn, engine->held, depth, max,
				     &depth->held);
	mdb_txn_abort(txn);
	return status == 0 || engine_fault(fault, status, "read");
}
