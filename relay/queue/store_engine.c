#include "relay/queue/store_engine_private.h"

#include <errno.h>

#include "relay/queue/record.h"
#include "relay/queue/space.h"
#include "relay/queue/store_engine_count.h"

static bool
status_is_damage(int status)
{
	return status == MDB_CORRUPTED || status == MDB_PAGE_NOTFOUND ||
	       status == MDB_INVALID || status == MDB_VERSION_MISMATCH ||
	       status == MDB_INCOMPATIBLE || status == MDB_CURSOR_FULL ||
	       status == MDB_PAGE_FULL;
}

void
engine_fault_fill(struct fault *fault, int status, const char *what)
{
	enum fault_kind kind = FAULT_SYSTEM;

	/* TXN_FULL: too much for one transaction, on any disk. */
	if (status == MDB_MAP_FULL || status == MDB_TXN_FULL ||
	    space_is_lack(status)) {
		kind = FAULT_LIMIT;
	} else if (status_is_damage(status)) {
		fault_set(fault, FAULT_INPUT,
			  "%s: the structure is damaged (%s)", what,
			  mdb_strerror(status));
		engine_damaged(fault);
		return;
	} else if (status == EACCES || status == EPERM || status == EROFS) {
		kind = FAULT_DENIED;
	}
	fault_set(fault, kind, "%s: %s", what, mdb_strerror(status));
	if (fault != NULL && status > 0)
		fault->system = status;
}

/* --- the writer --- */

bool
engine_begin(struct engine *engine, struct fault *fault)
{
	int status;

	ASSERT(engine->txn == NULL);
	status = mdb_txn_begin(engine->env, NULL, 0, &engine->txn);
	if (status != 0) {
		engine->txn = NULL;
		return engine_fault(fault, status, "transaction");
	}
	engine_count_begin(engine);
	return true;
}

bool
engine_commit(struct engine *engine, struct fault *fault)
{
	int status;

	ASSERT(engine->txn != NULL);
	if (!engine_count_write(engine, fault)) {
		engine_abort(engine);
		return false;
	}
	engine_measure(engine, engine->txn);
	status = mdb_txn_commit(engine->txn);
	engine->txn = NULL;
	if (status != 0)
		return engine_fault(fault, status, "commit");
	engine_count_committed(engine);
	engine_reserve_disk(engine);
	return true;
}

void
engine_abort(struct engine *engine)
{
	if (engine->txn != NULL)
		mdb_txn_abort(engine->txn);
	engine->txn = NULL;
}

/* Room for a value, to be written in place. */
static bool
engine_reserve(struct engine *engine, MDB_dbi table, struct record_key *key,
	       size_t size, uint8_t **out, struct fault *fault)
{
	MDB_val name = val_of_key(key), value = {size, NULL};
	int status = mdb_put(engine->txn, table, &name, &value, MDB_RESERVE);

	if (status != 0)
		return engine_fault(fault, status, "write");
	*out = value.mv_data;
	return true;
}

bool
engine_put_due(struct engine *engine, const struct delivery *delivery,
	       uint64_t due_ms, struct fault *fault)
{
	MDB_dbi table = delivery->is_held ? engine->held : engine->due;
	struct record_key key;
	MDB_val name, nothing = {0, NULL};
	int status;

	record_key_due(&key, delivery->destination, due_ms,
		       &delivery->message->id);
	name = val_of_key(&key);
	status = mdb_put(engine->txn, table, &name, &nothing, 0);
	if (status != 0)
		return engine_fault(fault, status, "write");
	return true;
}

/* The record, and where it is due or held. */
static bool
engine_put_delivery(struct engine *engine, const struct delivery *delivery,
		    uint64_t due_ms, struct fault *fault)
{
	struct record_key key;
	uint8_t *out = NULL;

	record_key_delivery(&key, &delivery->message->id,
			    delivery->destination);
	if (!engine_reserve(engine, engine->deliveries, &key,
			    record_delivery_size(delivery), &out, fault))
		return false;
	record_delivery_write(delivery, due_ms, out);
	return engine_put_due(engine, delivery, due_ms, fault);
}

static bool
engine_put_body(struct engine *engine, const struct message *message,
		struct fault *fault)
{
	struct record_key key;
	uint8_t *out = NULL;

	for (size_t i = 0; i < message->body.chunks_count; i++) {
		uint32_t number = (uint32_t)i + 1;
		struct slice bytes = message->body.chunks[i];

		record_key_message(&key, &message->id, number);
		if (!engine_reserve(engine, engine->messages, &key,
				    RECORD_SUM_SIZE + bytes.len, &out, fault))
			return false;
		record_chunk_write(&message->id, number, bytes, out);
	}
	return true;
}

bool
engine_add(struct engine *engine, struct delivery *delivery,
	   struct fault *fault)
{
	ASSERT(engine->txn != NULL);
	delivery->version = mdb_txn_id(engine->txn);
	return engine_put_delivery(engine, delivery, delivery->due_ms, fault);
}

bool
engine_put(struct engine *engine, const struct message *message,
	   struct list *deliveries, struct fault *fault)
{
	struct record_key key;
	uint8_t *out = NULL;

	ASSERT(engine->txn != NULL);
	record_key_message(&key, &message->id, 0);
	if (!engine_reserve(engine, engine->messages, &key,
			    record_message_size(message), &out, fault))
		return false;
	record_message_write(message, out);
	if (!message->body.is_file &&
	    !engine_put_body(engine, message, fault))
		return false;
	engine_count_put(engine, message);
	LIST_EACH (item, deliveries)
		if (!engine_add(engine, CONTAINER(item, struct delivery, link),
				fault))
			return false;
	return true;
}

bool
engine_delete(struct engine *engine, MDB_dbi table, struct record_key *key,
	      struct fault *fault)
{
	MDB_val name = val_of_key(key);
	int status = mdb_del(engine->txn, table, &name, NULL);

	if (status != 0 && status != MDB_NOTFOUND)
		return engine_fault(fault, status, "delete");
	return true;
}

bool
engine_delete_due(struct engine *engine, struct slice destination,
		  const struct message_id *id, uint64_t due_ms,
		  struct fault *fault)
{
	struct record_place place = {.due_ms = due_ms};
	struct record_key key;
	MDB_val name, value;
	int status;

	record_key_delivery(&key, id, destination);
	name = val_of_key(&key);
	status = mdb_get(engine->txn, engine->deliveries, &name, &value);
	if (status != 0 && status != MDB_NOTFOUND)
		return engine_fault(fault, status, "read");
	if (status == 0 &&
	    !record_delivery_place(id, destination, slice_of_val(&value),
				   &place))
		place = (struct record_place){.due_ms = due_ms};
	record_key_due(&key, destination, place.due_ms, id);
	return engine_delete(engine, place.is_held ? engine->held : engine->due,
			     &key, fault);
}

bool
engine_find_id(MDB_txn *txn, MDB_dbi table, const struct message_id *id,
	       MDB_cursor **cursor_out, bool *found_out, struct fault *fault)
{
	MDB_val name = {MESSAGE_ID_SIZE, (void *)id->bytes}, value;
	MDB_cursor *cursor = NULL;
	int status = mdb_cursor_open(txn, table, &cursor);

	if (status == 0)
		status = mdb_cursor_get(cursor, &name, &value, MDB_SET_RANGE);
	else
		cursor = NULL;
	if (status != 0 && status != MDB_NOTFOUND) {
		if (cursor != NULL)
			mdb_cursor_close(cursor);
		return engine_fault(fault, status, "read");
	}
	*found_out = status == 0 && name.mv_size >= MESSAGE_ID_SIZE &&
		     memcmp(name.mv_data, id->bytes, MESSAGE_ID_SIZE) == 0;
	*cursor_out = cursor;
	return true;
}

/* Record and chunks, whatever they hold: a damaged one goes too. */
static bool
engine_delete_message(struct engine *engine, const struct message_id *id,
		      struct fault *fault)
{
	MDB_cursor *cursor = NULL;
	MDB_val name, value;
	bool found;
	int status = 0;

	if (!engine_find_id(engine->txn, engine->messages, id, &cursor, &found,
			    fault))
		return false;
	while (found && status == 0) {
		status = mdb_cursor_get(cursor, &name, &value,
					MDB_GET_CURRENT);
		if (status != 0)
			break;
		engine_count_gone(engine, &name, &value);
		status = mdb_cursor_del(cursor, 0);
		if (status != 0)
			break;
		/* After a deletion this gives what moved up. */
		status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
		found = status == 0 && name.mv_size >= MESSAGE_ID_SIZE &&
			memcmp(name.mv_data, id->bytes, MESSAGE_ID_SIZE) == 0;
	}
	mdb_cursor_close(cursor);
	if (status != 0 && status != MDB_NOTFOUND)
		return engine_fault(fault, status, "delete");
	return true;
}

bool
engine_delete_delivery(struct engine *engine, struct slice destination,
		       const struct message_id *id, bool *message_gone_out,
		       struct fault *fault)
{
	struct record_key key;
	MDB_cursor *cursor = NULL;
	bool others;

	*message_gone_out = false;
	record_key_delivery(&key, id, destination);
	if (!engine_delete(engine, engine->deliveries, &key, fault) ||
	    !engine_find_id(engine->txn, engine->deliveries, id, &cursor,
			    &others, fault))
		return false;
	mdb_cursor_close(cursor);
	if (others)
		return true;
	if (!engine_delete_message(engine, id, fault))
		return false;
	*message_gone_out = true;
	return true;
}

bool
engine_settle(struct engine *engine, const struct delivery *delivery,
	      uint64_t due_ms, bool *message_gone_out, struct fault *fault)
{
	const struct message_id *id = &delivery->message->id;

	ASSERT(engine->txn != NULL);
	*message_gone_out = false;
	if (!engine_delete_due(engine, delivery->destination, id,
			       delivery->due_ms, fault))
		return false;
	if (record_delivery_left(delivery) > 0)
		return engine_put_delivery(engine, delivery, due_ms, fault);
	return engine_delete_delivery(engine, delivery->destination, id,
				      message_gone_out, fault);
}

bool
engine_has_delivery(struct engine *engine, struct slice destination,
		    const struct message_id *id)
{
	struct record_key key;
	MDB_val name, value;

	record_key_delivery(&key, id, destination);
	name = val_of_key(&key);
	return mdb_get(engine->txn, engine->deliveries, &name, &value) !=
	       MDB_NOTFOUND;
}

bool
engine_move(struct engine *engine, const struct delivery *delivery,
	    struct slice destination, struct delivery **moved_out,
	    struct fault *fault)
{
	CLEAN(delivery_free_clean) struct delivery *moved = NULL;
	struct record_key key;

	ASSERT(engine->txn != NULL);
	if (!engine_read_delivery(engine, engine->txn, delivery->destination,
				  &delivery->message->id, &moved, fault))
		return false;
	if (engine_has_delivery(engine, destination, &delivery->message->id))
		return fault_set(fault, FAULT_BUSY,
				 "the message has one there already");
	record_key_delivery(&key, &delivery->message->id,
			    delivery->destination);
	if (!engine_delete_due(engine, delivery->destination,
			       &delivery->message->id, delivery->due_ms,
			       fault) ||
	    !engine_delete(engine, engine->deliveries, &key, fault))
		return false;
	moved->destination = arena_copy(&moved->arena, destination);
	moved->version = mdb_txn_id(engine->txn);
	if (!engine_put_delivery(engine, moved, moved->due_ms, fault))
		return false;
	*moved_out = TAKE(moved);
	return true;
}
