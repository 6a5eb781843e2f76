#include "relay/queue/store_engine_count.h"

#include "relay/queue/record_private.h"

/* sum, messages, bytes */
#define COUNT_SIZE (RECORD_SUM_SIZE + 8 + 8)

static void
count_key(struct record_key *key)
{
	key->len = sizeof(COUNT_KEY) - 1;
	memcpy(key->bytes, COUNT_KEY, key->len);
}

static bool
count_parse(struct slice record, struct engine_count *out)
{
	struct reader reader = {.rest = slice_from(record, RECORD_SUM_SIZE)};
	struct record_key key;

	count_key(&key);
	if (record.len != COUNT_SIZE || !record_is_whole(&key, record))
		return false;
	out->messages = take_64(&reader);
	out->bytes = take_64(&reader);
	return true;
}

static bool
count_store(struct engine *engine, MDB_txn *txn,
	    const struct engine_count *count, struct fault *fault)
{
	uint8_t record[COUNT_SIZE], *at = record + RECORD_SUM_SIZE;
	MDB_val name, value = {sizeof(record), record};
	struct record_key key;
	int status;

	at = put_64(at, count->messages);
	put_64(at, count->bytes);
	count_key(&key);
	record_seal(&key, record, sizeof(record));
	name = val_of_key(&key);
	status = mdb_put(txn, engine->about, &name, &value, 0);
	return status == 0 || engine_fault(fault, status, "count");
}

/* --- one value --- */

/* What stands in a value of the table of messages: of a record also what its
 * body takes in a file. */
static bool
value_size(const MDB_val *name, const MDB_val *value, uint64_t *bytes_out)
{
	struct message_id id;
	uint32_t number;
	uint64_t file = 0;

	if (!record_key_message_read(slice_of_val(name), &id, &number))
		return false;
	if (number == 0)
		file = record_message_file_size(&id, slice_of_val(value));
	*bytes_out = value->mv_size + file;
	return number == 0;
}

void
engine_count_gone(struct engine *engine, const MDB_val *name,
		  const MDB_val *value)
{
	struct engine_count *count = &engine->counting;
	uint64_t bytes = 0;

	/* What was damaged may have been counted otherwise. */
	if (value_size(name, value, &bytes) && count->messages > 0)
		count->messages--;
	count->bytes -= bytes < count->bytes ? bytes : count->bytes;
}

void
engine_count_put(struct engine *engine, const struct message *message)
{
	const struct body *body = &message->body;

	engine->counting.messages++;
	engine->counting.bytes += record_message_size(message) + body->size;
	if (!body->is_file)
		engine->counting.bytes += body->chunks_count * RECORD_SUM_SIZE;
}

/* --- transactions --- */

void
engine_count_begin(struct engine *engine)
{
	engine->counting = engine->counted;
}

bool
engine_count_write(struct engine *engine, struct fault *fault)
{
	const struct engine_count *now = &engine->counting;
	const struct engine_count *before = &engine->counted;

	return (now->messages == before->messages &&
		now->bytes == before->bytes) ||
	       count_store(engine, engine->txn, now, fault);
}

void
engine_count_committed(struct engine *engine)
{
	engine->counted = engine->counting;
	engine->messages_count = engine->counted.messages;
	engine->message_bytes = engine->counted.bytes;
}

/* --- opening --- */

static bool
count_all(struct engine *engine, MDB_txn *txn, struct engine_count *out,
	  struct fault *fault)
{
	MDB_cursor *cursor = NULL;
	MDB_val name, value;
	int status = mdb_cursor_open(txn, engine->messages, &cursor);

	if (status != 0)
		return engine_fault(fault, status, "count");
	*out = (struct engine_count){0};
	while ((status = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) ==
	       0) {
		uint64_t bytes = 0;

		out->messages += value_size(&name, &value, &bytes);
		out->bytes += bytes;
	}
	mdb_cursor_close(cursor);
	return status == MDB_NOTFOUND || engine_fault(fault, status, "count");
}

bool
engine_count_anew(struct engine *engine, struct fault *fault)
{
	ASSERT(engine->txn != NULL);
	return count_all(engine, engine->txn, &engine->counting, fault);
}

/* All is counted once for a store of an older version. */
bool
engine_count_open(struct engine *engine, MDB_txn *txn, struct fault *fault)
{
	struct fault absent;
	struct record_key key;
	struct slice record;

	count_key(&key);
	if (!engine_get(txn, engine->about, &key, &record, &absent)) {
		if (absent.kind != FAULT_ABSENT) {
			if (fault != NULL)
				*fault = absent;
			return false;
		}
		record = SLICE_NONE;
	}
	if (!count_parse(record, &engine->counting) &&
	    (!count_all(engine, txn, &engine->counting, fault) ||
	     !count_store(engine, txn, &engine->counting, fault)))
		return false;
	engine_count_committed(engine);
	return true;
}
