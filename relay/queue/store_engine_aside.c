#include "relay/queue/store_engine_private.h"

/* What cannot be read: out of the way, and back once it can be. */

bool
engine_set_aside(struct engine *engine, struct slice destination,
		 uint64_t due_ms, const struct message_id *id,
		 struct slice reason, struct fault *fault)
{
	struct record_key key;
	MDB_val name, value = {reason.len, (void *)reason.bytes};
	int status;

	ASSERT(engine->txn != NULL);
	record_key_due(&key, destination, due_ms, id);
	if (!engine_delete(engine, engine->due, &key, fault))
		return false;
	/* Of what has gone meanwhile there is nothing to keep, and nobody
	 * could ever delete it: no list has it. */
	if (!engine_has_delivery(engine, destination, id))
		return true;
	record_key_delivery(&key, id, destination);
	name = val_of_key(&key);
	status = mdb_put(engine->txn, engine->damaged, &name, &value, 0);
	if (status != 0)
		return engine_fault(fault, status, "write");
	return true;
}

/* What is not there stays with nobody. Behind a broken structure nothing can be
 * read any more in this transaction, nor be told from what is damaged. */
static bool
engine_take_back(struct engine *engine, struct slice destination,
		 const struct message_id *id, bool *stays_out,
		 struct fault *fault)
{
	CLEAN(delivery_free_clean) struct delivery *delivery = NULL;
	struct fault trouble;

	*stays_out = false;
	if (engine_read_delivery(engine, engine->txn, destination, id,
				 &delivery, &trouble))
		return engine_put_due(engine, delivery, delivery->due_ms,
				      fault);
	if (engine_is_damaged(&trouble)) {
		if (fault != NULL)
			*fault = trouble;
		return false;
	}
	*stays_out = engine_has_delivery(engine, destination, id);
	return true;
}

static bool
engine_take_back_all(struct engine *engine, MDB_cursor *cursor,
		     size_t *count_out, struct fault *fault)
{
	MDB_val name, value;
	int status;

	while ((status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) ==
	       0) {
		CLEAN(text_done) struct text key = {0};
		struct slice destination;
		struct message_id id;
		bool stays;

		/* With a write it may move. */
		text_add(&key, slice_of_val(&name));
		if (!record_key_delivery_read(text_slice(&key), &id,
					      &destination))
			continue;
		if (!engine_take_back(engine, destination, &id, &stays, fault))
			return false;
		if (stays)
			continue;
		status = mdb_cursor_del(cursor, 0);
		if (status != 0)
			break;
		++*count_out;
	}
	return status == MDB_NOTFOUND || engine_fault(fault, status, "read");
}

bool
engine_take_back_readable(struct engine *engine, size_t *count_out,
			  struct fault *fault)
{
	MDB_cursor *cursor = NULL;
	bool is_done;
	int status;

	*count_out = 0;
	if (!engine_begin(engine, fault))
		return false;
	status = mdb_cursor_open(engine->txn, engine->damaged, &cursor);
	if (status != 0) {
		engine_abort(engine);
		return engine_fault(fault, status, "read");
	}
	is_done = engine_take_back_all(engine, cursor, count_out, fault);
	mdb_cursor_close(cursor);
	if (is_done && *count_out > 0)
		return engine_commit(engine, fault);
	engine_abort(engine);
	return is_done;
}
