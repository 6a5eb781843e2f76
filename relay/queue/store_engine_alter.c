#include "relay/queue/store_engine_private.h"

/* The message and its recipients are not read: only a delivery's place changes,
 * and a message may have a thousand of them. */

/* The entry of this message among those of its destination, whenever it is
 * due. */
static int
place_search(MDB_cursor *cursor, const struct store_alter_row *row)
{
	struct slice destination;
	struct record_key first;
	struct message_id id;
	MDB_val name, value;
	uint64_t due_ms;
	int status;

	record_key_due(&first, row->destination, 0,
		       &(struct message_id){{0}});
	name = val_of_key(&first);
	status = mdb_cursor_get(cursor, &name, &value, MDB_SET_RANGE);
	for (; status == 0;
	     status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) {
		if (!record_key_due_read(slice_of_val(&name), &destination,
					 &due_ms, &id) ||
		    !slice_eq(destination, row->destination))
			return MDB_NOTFOUND;
		if (message_id_eq(&id, &row->id))
			return 0;
	}
	return status;
}

static bool
place_delete(struct engine *engine, MDB_dbi table,
	     const struct store_alter_row *row, struct fault *fault)
{
	MDB_cursor *cursor = NULL;
	int status = mdb_cursor_open(engine->txn, table, &cursor);

	if (status != 0)
		return engine_fault(fault, status, "delete");
	status = place_search(cursor, row);
	if (status == 0)
		status = mdb_cursor_del(cursor, 0);
	mdb_cursor_close(cursor);
	return status == 0 || status == MDB_NOTFOUND ||
	       engine_fault(fault, status, "delete");
}

static bool
is_set_aside(struct engine *engine, const struct store_alter_row *row)
{
	struct record_key key;

	record_key_delivery(&key, &row->id, row->destination);
	return engine_get(engine->txn, engine->damaged, &key,
			  &(struct slice){0}, NULL);
}

/* A damaged record does not say where it stands. An entry that was left would
 * have no delivery, and the next start take that for a broken structure. What was
 * set aside has none: nothing is looked for among all that its destination
 * has. */
static bool
alter_delete(struct engine *engine, struct store_alter_row *row,
	     struct slice record, struct fault *fault)
{
	struct record_place place;
	struct record_key key;
	bool is_gone;

	if (!record_delivery_place(&row->id, row->destination, record,
				   &place) &&
	    !is_set_aside(engine, row) &&
	    (!place_delete(engine, engine->due, row, fault) ||
	     !place_delete(engine, engine->held, row, fault)))
		return false;
	record_key_delivery(&key, &row->id, row->destination);
	if (!engine_delete(engine, engine->damaged, &key, fault) ||
	    !engine_delete_due(engine, row->destination, &row->id, 0, fault) ||
	    !engine_delete_delivery(engine, row->destination, &row->id,
				    &is_gone, fault))
		return false;
	row->altered = ALTERED;
	row->has_dead_file = is_gone && row->may_have_file;
	return true;
}

/* Makes the change in memory, as far as it is one. */
static enum altered
alter_place(struct record_place *place, enum alteration alteration,
	    uint64_t now_ms)
{
	if (alteration == ALTER_HOLD) {
		if (place->is_held)
			return ALTERED_ALREADY;
		place->is_held = true;
		return ALTERED;
	}
	if (place->is_held != (alteration == ALTER_RELEASE))
		return ALTERED_UNFIT;
	/* Due, and not tried yet: that is all there is to wish for. */
	if (!place->is_held && place->due_ms <= now_ms &&
	    place->last_attempt_ms == 0)
		return ALTERED_ALREADY;
	place->is_held = false;
	/* Released, it is tried whatever others behind it have met with. */
	place->is_owed_attempt = alteration == ALTER_RELEASE ||
				 place->last_attempt_ms != 0;
	if (place->due_ms > now_ms)
		place->due_ms = now_ms;
	return ALTERED;
}

static bool
alter_write(struct engine *engine, const struct store_alter_row *row,
	    const struct record_place *place, struct slice record,
	    struct fault *fault)
{
	CLEAN(text_done) struct text copy = {0};
	struct record_key key;
	MDB_val name, value, nothing = {0, NULL};
	int status;

	/* What stands in the engine's pages may move with any write. */
	text_add(&copy, record);
	record_key_delivery(&key, &row->id, row->destination);
	if (!engine_delete(engine, engine->damaged, &key, fault) ||
	    !engine_delete_due(engine, row->destination, &row->id, 0, fault))
		return false;
	record_delivery_put(&row->id, row->destination, place,
			    (uint8_t *)copy.bytes, copy.len);
	name = val_of_key(&key);
	value = (MDB_val){copy.len, copy.bytes};
	status = mdb_put(engine->txn, engine->deliveries, &name, &value, 0);
	if (status != 0)
		return engine_fault(fault, status, "write");
	record_key_due(&key, row->destination, place->due_ms, &row->id);
	name = val_of_key(&key);
	status = mdb_put(engine->txn,
			 place->is_held ? engine->held : engine->due, &name,
			 &nothing, 0);
	return status == 0 || engine_fault(fault, status, "write");
}

uint64_t
engine_version(const struct engine *engine)
{
	return mdb_txn_id(engine->txn);
}

bool
engine_alter(struct engine *engine, enum alteration alteration,
	     uint64_t now_ms, struct store_alter_row *row, struct fault *fault)
{
	struct record_place place;
	struct record_key key;
	struct slice record;
	struct fault trouble = {0};

	ASSERT(engine->txn != NULL);
	row->due_ms = 0;
	row->has_dead_file = false;
	row->altered = ALTERED_GONE;
	record_key_delivery(&key, &row->id, row->destination);
	if (!engine_get(engine->txn, engine->deliveries, &key, &record,
			&trouble)) {
		if (trouble.kind != FAULT_ABSENT && fault != NULL)
			*fault = trouble;
		return trouble.kind == FAULT_ABSENT;
	}
	if (alteration == ALTER_DELETE)
		return alter_delete(engine, row, record, fault);
	row->altered = ALTERED_DAMAGED;
	if (!record_delivery_place(&row->id, row->destination, record, &place))
		return true;
	row->altered = alter_place(&place, alteration, now_ms);
	/* Set aside, and not among what is due, though it can be read by now. */
	if (row->altered == ALTERED_ALREADY && is_set_aside(engine, row))
		row->altered = ALTERED;
	if (!place.is_held)
		row->due_ms = place.due_ms;
	return row->altered != ALTERED ||
	       alter_write(engine, row, &place, record, fault);
}
