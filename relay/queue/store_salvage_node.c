#include "relay/queue/store_salvage_private.h"

#include <errno.h>
#include <stdlib.h>

/* A transaction of the engine is bounded. */
#define SALVAGE_GROUP_BYTES (64 * MIB)
/* Beyond, every delivery may have been there. */
#define GAPS_MAX 4096
/* No body has this many chunks, so such a number is a destination's first
 * characters. */
#define NUMBER_MAX 0x20000000

/* --- writing --- */

bool
salvage_failed(struct salvage *salvage, int status)
{
	if (salvage->fault.kind == FAULT_NONE)
		engine_fault(&salvage->fault, status, "salvage");
	return false;
}

static bool
salvage_wrote(struct salvage *salvage, size_t bytes)
{
	salvage->uncommitted += bytes + 64;
	if (salvage->uncommitted < SALVAGE_GROUP_BYTES)
		return true;
	salvage->uncommitted = 0;
	return engine_commit(salvage->engine, &salvage->fault) &&
	       engine_begin(salvage->engine, &salvage->fault);
}

bool
salvage_write(struct salvage *salvage, MDB_dbi table, struct slice key,
	      struct slice value, unsigned flags)
{
	MDB_val name = {key.len, (void *)key.bytes};
	MDB_val bytes = {value.len, (void *)value.bytes};
	int status = mdb_put(salvage->engine->txn, table, &name, &bytes, flags);

	if (status == MDB_KEYEXIST)
		return true;
	if (status != 0)
		return salvage_failed(salvage, status);
	return salvage_wrote(salvage, key.len + value.len);
}

bool
salvage_delete(struct salvage *salvage, MDB_dbi table, struct slice key)
{
	MDB_val name = {key.len, (void *)key.bytes};
	int status = mdb_del(salvage->engine->txn, table, &name, NULL);

	if (status != 0 && status != MDB_NOTFOUND)
		return salvage_failed(salvage, status);
	return salvage_wrote(salvage, key.len);
}

bool
salvage_seek(struct salvage *salvage, MDB_dbi table, struct slice from,
	     struct text *key, struct text *value)
{
	MDB_val name = {from.len, (void *)from.bytes}, bytes;
	MDB_cursor *cursor;
	int status = mdb_cursor_open(salvage->engine->txn, table, &cursor);

	if (status != 0)
		return salvage_failed(salvage, status);
	status = mdb_cursor_get(cursor, &name, &bytes,
				from.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
	if (status == 0) {
		text_clear(key);
		text_add(key, slice_of_val(&name));
		text_clear(value);
		text_add(value, slice_of_val(&bytes));
	} else if (status != MDB_NOTFOUND) {
		salvage_failed(salvage, status);
	}
	mdb_cursor_close(cursor);
	return status == 0;
}

/* --- gaps --- */

void
salvage_gap(void *owner, struct slice low, struct slice high)
{
	struct salvage *salvage = owner;
	struct salvage_gap *gap;

	if (salvage->gaps_count == GAPS_MAX)
		low = high = SLICE_NONE; /* everywhere */
	if (salvage->gaps_count > GAPS_MAX)
		return;
	if (salvage->gaps_count == salvage->gaps_room) {
		salvage->gaps_room = 2 * salvage->gaps_room + 16;
		salvage->gaps =
			memory_grow(salvage->gaps,
				    salvage->gaps_room * sizeof(*gap));
	}
	gap = &salvage->gaps[salvage->gaps_count++];
	gap->from = arena_copy(&salvage->arena, low);
	gap->low = slice_sub(gap->from, 0, MESSAGE_ID_SIZE);
	gap->high = arena_copy(&salvage->arena, high);
}

/* Its key may be what is damaged: it stood somewhere between the two that are
 * sound. */
static void
gap_begin(struct salvage *salvage)
{
	salvage->is_in_gap = true;
}

static void
gap_end(struct salvage *salvage, struct slice key)
{
	if (salvage->is_in_gap)
		salvage_gap(salvage, text_slice(&salvage->last), key);
	salvage->is_in_gap = false;
	text_clear(&salvage->last);
	text_add(&salvage->last, key);
}

static bool
is_between(struct slice low, struct slice key, struct slice high)
{
	return (low.len == 0 || slice_compare(low, key) <= 0) &&
	       (high.len == 0 || slice_compare(key, high) < 0);
}

bool
salvage_is_in_gap(const struct salvage *salvage, struct slice key)
{
	for (size_t i = 0; i < salvage->gaps_count; i++)
		if (is_between(salvage->gaps[i].low, key,
			       salvage->gaps[i].high))
			return true;
	return false;
}

bool
salvage_is_exactly_in_gap(const struct salvage *salvage, struct slice key)
{
	for (size_t i = 0; i < salvage->gaps_count; i++)
		if (is_between(salvage->gaps[i].from, key,
			       salvage->gaps[i].high))
			return true;
	return false;
}

void
salvage_gap_end(struct salvage *salvage)
{
	gap_end(salvage, SLICE_NONE);
}

/* --- nodes --- */

/* Which of two copies of a delivery is the later: with time there are fewer
 * recipients left, then it was tried again. */
static bool
place_is_later(const struct record_place *place,
	       const struct record_place *than)
{
	if (place->recipients != than->recipients)
		return place->recipients < than->recipients;
	return place->last_attempt_ms > than->last_attempt_ms;
}

static bool
node_is_message(struct salvage *salvage, struct slice key,
		const struct message_id *id, uint32_t number,
		struct slice record)
{
	struct slice bytes;
	uint32_t chunks;
	MDB_val name = {MESSAGE_ID_SIZE, (void *)id->bytes}, value;

	if (number == 0 ? !record_message_chunks(id, record, &chunks)
			: !record_chunk_read(id, number, record, &bytes))
		return true; /* the message will be found to lack it */
	name = (MDB_val){key.len, (void *)key.bytes};
	if (salvage->is_doubtful && number == 0 &&
	    mdb_get(salvage->engine->txn, salvage->engine->messages, &name,
		    &value) == MDB_NOTFOUND &&
	    !salvage_write(salvage, salvage->engine->damaged,
			   slice_of(id->bytes, sizeof(id->bytes)),
			   SALVAGE_DOUBTFUL, 0))
		return false;
	return salvage_write(salvage, salvage->engine->messages, key, record,
			     MDB_NOOVERWRITE);
}

static bool
node_is_delivery(struct salvage *salvage, struct slice key,
		 const struct message_id *id, struct slice destination,
		 struct slice record)
{
	MDB_val name = {key.len, (void *)key.bytes}, value;
	struct record_place place, known;
	struct record_key message;

	if (!record_delivery_place(id, destination, record, &place)) {
		gap_begin(salvage);
		return true;
	}
	gap_end(salvage, key);
	record_key_message(&message, id, 0);
	if (salvage->is_doubtful &&
	    !engine_get(salvage->engine->txn, salvage->engine->messages,
			&message, &(struct slice){0}, NULL))
		return true;
	if (mdb_get(salvage->engine->txn, salvage->engine->deliveries, &name,
		    &value) == 0 &&
	    record_delivery_place(id, destination, slice_of_val(&value),
				  &known) &&
	    !place_is_later(&place, &known))
		return true;
	return salvage_write(salvage, salvage->engine->deliveries, key, record,
			     0);
}

/* Which table it is of, its key says: and the checksum, which is of both,
 * whether that is so. */
bool
salvage_node(void *owner, struct slice key, const struct pages_value *value)
{
	struct salvage *salvage = owner;
	CLEAN(text_done) struct text record = {0};
	struct slice destination;
	struct message_id id;
	uint32_t number;

	if (value->is_tree || value->len < RECORD_SUM_SIZE ||
	    key.len > RECORD_KEY_MAX)
		return true;
	if (!pages_value_read(salvage->pages, value, &record))
		text_clear(&record);
	if (record_key_message_read(key, &id, &number) && number < NUMBER_MAX)
		return node_is_message(salvage, key, &id, number,
				       text_slice(&record));
	if (!salvage->is_for_messages &&
	    record_key_delivery_read(key, &id, &destination))
		return node_is_delivery(salvage, key, &id, destination,
					text_slice(&record));
	return true;
}
