#include "relay/queue/store_engine_private.h"

#include <errno.h>

bool
engine_get(MDB_txn *txn, MDB_dbi table, struct record_key *key,
	   struct slice *value_out, struct fault *fault)
{
	MDB_val name = val_of_key(key), value;
	int status = mdb_get(txn, table, &name, &value);

	if (status == MDB_NOTFOUND)
		return fault_set(fault, FAULT_ABSENT, "not in the store");
	if (status != 0)
		return engine_fault(fault, status, "read");
	*value_out = slice_of_val(&value);
	return true;
}

static bool
delivery_read(struct engine *engine, const struct message_id *id,
	      struct slice destination, struct slice of_message,
	      struct slice of_delivery, struct delivery *delivery,
	      struct fault *fault)
{
	CLEAN(record_index_unref_clean)
	struct record_index *index = engine_index(engine, id, of_message);

	return index != NULL
		       ? record_index_read(index, destination, of_message,
					   of_delivery, delivery, fault)
		       : record_delivery_read_alone(id, destination, of_message,
						    of_delivery, delivery,
						    fault);
}

bool
engine_read_delivery(struct engine *engine, MDB_txn *txn,
		     struct slice destination, const struct message_id *id,
		     struct delivery **delivery_out, struct fault *fault)
{
	CLEAN(delivery_free_clean) struct delivery *delivery =
		memory_new(sizeof(*delivery));
	struct record_key key;
	struct slice of_message, of_delivery;

	list_init(&delivery->link);
	delivery->arena = ARENA_SMALL;
	record_key_message(&key, id, 0);
	if (!engine_get(txn, engine->messages, &key, &of_message, fault))
		return fault_within(fault, "message");
	record_key_delivery(&key, id, destination);
	if (!engine_get(txn, engine->deliveries, &key, &of_delivery, fault))
		return fault_within(fault, "delivery");
	if (!delivery_read(engine, id, destination, of_message, of_delivery,
			   delivery, fault))
		return false;
	*delivery_out = TAKE(delivery);
	return true;
}

/* Where reading begins: behind what was read before. */
static int
due_first(MDB_cursor *cursor, const struct engine_due *due, MDB_val *name)
{
	struct record_key key;
	MDB_val value;
	int status;

	record_key_due(&key, due->destination, due->after_ms, &due->after_id);
	*name = val_of_key(&key);
	status = mdb_cursor_get(cursor, name, &value, MDB_SET_RANGE);
	if (status == 0 && due->after_ms > 0 && name->mv_size == key.len &&
	    memcmp(name->mv_data, key.bytes, key.len) == 0)
		status = mdb_cursor_get(cursor, name, &value, MDB_NEXT);
	return status;
}

static int
engine_walk_due(struct engine *engine, MDB_txn *txn, MDB_cursor *cursor,
		struct engine_due *due, engine_damaged_fn *damaged, void *owner)
{
	MDB_val name, value;
	size_t count = 0;
	int status = due_first(cursor, due, &name);

	for (; status == 0;
	     status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) {
		struct slice destination;
		uint64_t due_ms;
		struct message_id id;
		struct delivery *delivery = NULL;
		struct fault fault;

		if (!record_key_due_read(slice_of_val(&name), &destination,
					 &due_ms, &id))
			return MDB_CORRUPTED;
		if (!slice_eq(destination, due->destination))
			return MDB_NOTFOUND;
		if (due_ms > due->until_ms || count == due->max) {
			due->next_due_ms = due_ms;
			due->has_more = due_ms <= due->until_ms;
			return MDB_NOTFOUND;
		}
		due->after_ms = due_ms;
		due->after_id = id;
		/* What is damaged counts too: setting it aside is work. */
		count++;
		if (!engine_read_delivery(engine, txn, destination, &id,
					  &delivery, &fault)) {
			if (engine_is_damaged(&fault))
				return MDB_CORRUPTED;
			if (fault.kind != FAULT_INPUT &&
			    fault.kind != FAULT_ABSENT)
				return EIO;
			damaged(owner, destination, due_ms, &id, &fault);
			continue;
		}
		delivery->due_ms = due_ms;
		list_add_last(&due->deliveries, &delivery->link);
	}
	return status;
}

/* A read transaction with a cursor over what is due. */
static bool
engine_open_due(struct engine *engine, MDB_txn **txn_out,
		MDB_cursor **cursor_out, struct fault *fault)
{
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn);

	if (status != 0)
		return engine_fault(fault, status, "transaction");
	status = mdb_cursor_open(txn, engine->due, cursor_out);
	if (status != 0) {
		mdb_txn_abort(txn);
		return engine_fault(fault, status, "read");
	}
	*txn_out = txn;
	return true;
}

/* Closes both; what the walk ended with decides. */
static bool
engine_close_due(MDB_txn *txn, MDB_cursor *cursor, int status,
		 struct fault *fault)
{
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	if (status != 0 && status != MDB_NOTFOUND)
		return engine_fault(fault, status, "read");
	return true;
}

bool
engine_read_due(struct engine *engine, struct engine_due *due,
		engine_damaged_fn *damaged, void *owner, struct fault *fault)
{
	MDB_txn *txn = NULL;
	MDB_cursor *cursor = NULL;
	int status;

	if (!engine_open_due(engine, &txn, &cursor, fault))
		return false;
	due->version = mdb_txn_id(txn);
	status = engine_walk_due(engine, txn, cursor, due, damaged, owner);
	return engine_close_due(txn, cursor, status, fault);
}

static int
engine_walk_all(struct engine *engine, MDB_txn *txn, MDB_cursor *cursor,
		uint64_t deadline_ms, engine_damaged_fn *damaged, void *owner)
{
	MDB_val name, value;
	size_t count = 0;
	int status = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);

	for (; status == 0;
	     status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) {
		CLEAN(delivery_free_clean) struct delivery *delivery = NULL;
		struct slice destination;
		uint64_t due_ms;
		struct message_id id;
		struct fault fault;

		if (++count % 256 == 0 && clock_now_ms() > deadline_ms)
			return 0;
		if (!record_key_due_read(slice_of_val(&name), &destination,
					 &due_ms, &id))
			return MDB_CORRUPTED;
		if (engine_read_delivery(engine, txn, destination, &id,
					 &delivery, &fault))
			continue;
		if (engine_is_damaged(&fault))
			return MDB_CORRUPTED;
		damaged(owner, destination, due_ms, &id, &fault);
	}
	return status;
}

bool
engine_check(struct engine *engine, uint64_t deadline_ms,
	     engine_damaged_fn *damaged, void *owner, struct fault *fault)
{
	MDB_txn *txn = NULL;
	MDB_cursor *cursor = NULL;
	int status;

	if (!engine_open_due(engine, &txn, &cursor, fault))
		return false;
	status = engine_walk_all(engine, txn, cursor, deadline_ms, damaged,
				 owner);
	return engine_close_due(txn, cursor, status, fault);
}

bool
engine_read_chunk(struct engine *engine, const struct message_id *id,
		  uint32_t number, size_t from, size_t max, struct text *out,
		  struct fault *fault)
{
	struct record_key key;
	struct slice record, bytes;
	bool is_done = false;
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn);

	if (status != 0)
		return engine_fault(fault, status, "transaction");
	record_key_message(&key, id, number);
	if (engine_get(txn, engine->messages, &key, &record, fault)) {
		is_done = record_chunk_read(id, number, record, &bytes);
		if (is_done)
			text_add(out, slice_sub(bytes, from, max));
		else
			fault_set(fault, FAULT_INPUT,
				  "chunk %u of the body is damaged",
				  (unsigned)number);
	}
	mdb_txn_abort(txn);
	return is_done;
}

/* From one destination's first entry to the next destination's: keys of one
 * destination all have a NUL behind its name. */
static int
engine_walk_destinations(MDB_cursor *cursor,
			 void (*each)(void *owner, struct slice destination,
				      uint64_t due_ms),
			 void *owner)
{
	char next[DESTINATION_MAX + 1];
	size_t next_len = 0;
	MDB_val name, value;
	int status = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);

	while (status == 0) {
		struct slice destination;
		uint64_t due_ms;
		struct message_id id;

		/* Not behind the one before: pages that lead in a circle. */
		if (!record_key_due_read(slice_of_val(&name), &destination,
					 &due_ms, &id) ||
		    (next_len > 0 &&
		     slice_compare(destination,
				   slice_of(next, next_len - 1)) <= 0))
			return MDB_CORRUPTED;
		each(owner, destination, due_ms);
		memcpy(next, destination.bytes, destination.len);
		next[destination.len] = 1;
		next_len = destination.len + 1;
		name = (MDB_val){next_len, next};
		status = mdb_cursor_get(cursor, &name, &value, MDB_SET_RANGE);
	}
	return status;
}

bool
engine_each_destination(struct engine *engine,
			void (*each)(void *owner, struct slice destination,
				     uint64_t due_ms),
			void *owner, struct fault *fault)
{
	MDB_txn *txn = NULL;
	MDB_cursor *cursor = NULL;
	int status;

	if (!engine_open_due(engine, &txn, &cursor, fault))
		return false;
	status = engine_walk_destinations(cursor, each, owner);
	return engine_close_due(txn, cursor, status, fault);
}

bool
engine_has_message(struct engine *engine, const struct message_id *id,
		   bool *has_out, struct fault *fault)
{
	MDB_cursor *cursor = NULL;
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn);
	bool is_done;

	if (status != 0)
		return engine_fault(fault, status, "transaction");
	is_done = engine_find_id(txn, engine->messages, id, &cursor, has_out,
				 fault);
	if (is_done)
		mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return is_done;
}
