#include "relay/queue/store_engine_private.h"

/* Gives the delivery as it stands now; NULL: it is gone, or damaged, and the
 * row says which. False: the engine failed. */
static bool
alter_read(struct engine *engine, struct store_alter_row *row,
	   struct delivery **delivery_out, struct fault *fault)
{
	struct record_key key;
	struct slice record;
	struct fault trouble = {0};

	*delivery_out = NULL;
	record_key_delivery(&key, &row->id, row->destination);
	if (!engine_get(engine->txn, engine->deliveries, &key, &record,
			&trouble)) {
		row->altered = ALTERED_GONE;
	} else if (engine_read_delivery(engine, engine->txn, row->destination,
					&row->id, delivery_out, &trouble)) {
		return true;
	} else {
		*delivery_out = NULL;
		row->altered = ALTERED_DAMAGED;
	}
	if (trouble.kind == FAULT_ABSENT || trouble.kind == FAULT_INPUT)
		return true;
	if (fault != NULL)
		*fault = trouble;
	return false;
}

/* The record may be damaged, and its place among what is due unknown: then
 * whoever meets that sets it aside. */
static bool
alter_delete(struct engine *engine, const struct delivery *delivery,
	     struct store_alter_row *row, struct fault *fault)
{
	struct record_key key;
	bool is_gone;

	record_key_delivery(&key, &row->id, row->destination);
	if (!engine_delete(engine, engine->damaged, &key, fault) ||
	    !engine_delete_due(engine, row->destination, &row->id, 0, fault) ||
	    !engine_delete_delivery(engine, row->destination, &row->id,
				    &is_gone, fault))
		return false;
	row->altered = ALTERED;
	row->due_ms = 0;
	row->has_dead_file =
		is_gone &&
		(delivery == NULL || delivery->message->body.is_file);
	return true;
}

static bool
delivery_was_tried(const struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (delivery->recipients[i].attempts > 0)
			return true;
	return false;
}

/* Makes the change in memory, as far as it is one. */
static enum altered
alter_delivery(struct delivery *delivery, enum alteration alteration,
	       uint64_t now_ms)
{
	if (alteration == ALTER_HOLD) {
		if (delivery->is_held)
			return ALTERED_ALREADY;
		delivery->is_held = true;
		return ALTERED;
	}
	if (delivery->is_held != (alteration == ALTER_RELEASE))
		return ALTERED_UNFIT;
	/* Due, and not tried yet: that is all there is to wish for. */
	if (!delivery->is_held && delivery->due_ms <= now_ms &&
	    !delivery_was_tried(delivery))
		return ALTERED_ALREADY;
	delivery->is_held = false;
	delivery->is_owed_attempt = delivery_was_tried(delivery);
	if (delivery->due_ms > now_ms)
		delivery->due_ms = now_ms;
	return ALTERED;
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
	CLEAN(delivery_free_clean) struct delivery *delivery = NULL;

	ASSERT(engine->txn != NULL);
	row->due_ms = 0;
	row->has_dead_file = false;
	if (!alter_read(engine, row, &delivery, fault))
		return false;
	if (alteration == ALTER_DELETE &&
	    (delivery != NULL || row->altered == ALTERED_DAMAGED))
		return alter_delete(engine, delivery, row, fault);
	if (delivery == NULL)
		return true;
	row->altered = alter_delivery(delivery, alteration, now_ms);
	if (!delivery->is_held)
		row->due_ms = delivery->due_ms;
	return row->altered != ALTERED ||
	       (engine_delete_due(engine, row->destination, &row->id, 0,
				  fault) &&
		engine_put_delivery(engine, delivery, delivery->due_ms,
				    fault));
}
