#include "relay/queue/store_engine.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "relay/queue/record.h"

#define TABLES(X)                                                              \
	X(messages)                                                            \
	X(deliveries)                                                          \
	X(due)                                                                 \
	X(damaged)                                                             \
	X(about)

/* In `about`: which layout this store has. */
#define LAYOUT_KEY "layout"
#define LAYOUT "1"

struct engine {
	MDB_env *env;
	MDB_txn *txn; /* the writer's, while one is open */
#define TABLE_FIELD(name) MDB_dbi name;
	TABLES(TABLE_FIELD)
#undef TABLE_FIELD
	size_t page_size;
	_Atomic uint64_t reusable_bytes;
};

static bool
status_is_damage(int status)
{
	return status == MDB_CORRUPTED || status == MDB_PAGE_NOTFOUND ||
	       status == MDB_INVALID;
}

static bool
engine_fault(struct fault *fault, int status, const char *what)
{
	enum fault_kind kind = FAULT_SYSTEM;

	/* TXN_FULL: too much for one transaction, on any disk. */
	if (status == MDB_MAP_FULL || status == MDB_TXN_FULL ||
	    status == ENOSPC || status == EDQUOT)
		kind = FAULT_LIMIT;
	else if (status_is_damage(status))
		return fault_set(fault, FAULT_INPUT,
				 "%s: " ENGINE_DAMAGED " (%s)", what,
				 mdb_strerror(status));
	else if (status == EACCES || status == EPERM || status == EROFS)
		kind = FAULT_DENIED;
	fault_set(fault, kind, "%s: %s", what, mdb_strerror(status));
	if (fault != NULL && status > 0)
		fault->system = status;
	return false;
}

static MDB_val
val_of_key(struct record_key *key)
{
	return (MDB_val){key->len, key->bytes};
}

static struct slice
slice_of_val(const MDB_val *val)
{
	return slice_of(val->mv_data, val->mv_size);
}

/* --- opening --- */

static bool
engine_check_layout(struct engine *engine, MDB_txn *txn, struct fault *fault)
{
	MDB_val key = {sizeof(LAYOUT_KEY) - 1, (void *)LAYOUT_KEY};
	MDB_val value = {sizeof(LAYOUT) - 1, (void *)LAYOUT};
	MDB_val found;
	int status = mdb_get(txn, engine->about, &key, &found);

	if (status == MDB_NOTFOUND)
		status = mdb_put(txn, engine->about, &key, &value, 0);
	else if (status == 0 && !slice_eq(slice_of_val(&found), SLICE(LAYOUT)))
		return fault_set(fault, FAULT_INPUT,
				 "layout %.*s is not one that this version "
				 "reads",
				 SLICE_ARG(slice_of_val(&found)));
	if (status != 0)
		return engine_fault(fault, status, "layout");
	return true;
}

static bool
engine_open_tables(struct engine *engine, struct fault *fault)
{
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(engine->env, NULL, 0, &txn);

	if (status != 0)
		return engine_fault(fault, status, "transaction");
#define TABLE_OPEN(name)                                                       \
	if (status == 0)                                                       \
		status = mdb_dbi_open(txn, #name, MDB_CREATE, &engine->name);
	TABLES(TABLE_OPEN)
#undef TABLE_OPEN
	if (status != 0) {
		mdb_txn_abort(txn);
		return engine_fault(fault, status, "tables");
	}
	if (!engine_check_layout(engine, txn, fault)) {
		mdb_txn_abort(txn);
		return false;
	}
	status = mdb_txn_commit(txn);
	if (status != 0)
		return engine_fault(fault, status, "tables");
	return true;
}

/* The map is address space, not memory; where that is scarce (a limit on it),
 * a smaller one will do. */
static bool
engine_open_env(struct engine *engine, const char *directory,
		struct fault *fault)
{
	int status = ENOMEM;

	for (size_t size = STORE_MAP_SIZE;
	     status == ENOMEM && size >= STORE_MAP_SIZE_MIN; size /= 2) {
		if (engine->env != NULL)
			mdb_env_close(engine->env);
		engine->env = NULL;
		status = mdb_env_create(&engine->env);
		if (status == 0)
			status = mdb_env_set_maxdbs(engine->env, 8);
		if (status == 0)
			status = mdb_env_set_mapsize(engine->env, size);
		if (status == 0)
			status = mdb_env_open(engine->env, directory,
					      MDB_NOTLS, 0600);
	}
	if (status != 0)
		return engine_fault(fault, status, "cannot be opened");
	return true;
}

static void engine_measure(struct engine *engine, MDB_txn *txn);

bool
engine_open(const char *directory, struct engine **engine_out,
	    struct fault *fault)
{
	CLEAN(engine_close_clean) struct engine *engine = NULL;
	MDB_stat stat;
	MDB_txn *txn = NULL;

	if (mkdir(directory, 0700) != 0 && errno != EEXIST)
		return fault_errno(fault, "%s", directory);
	engine = memory_new(sizeof(*engine));
	if (!engine_open_env(engine, directory, fault) ||
	    !engine_open_tables(engine, fault))
		return fault_within(fault, "%s", directory);
	/* The engine does this by itself only for whoever opens it first. A
	 * failure costs space, nothing else. */
	(void)mdb_reader_check(engine->env, NULL);
	mdb_env_stat(engine->env, &stat);
	engine->page_size = stat.ms_psize;
	if (mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn) == 0) {
		engine_measure(engine, txn);
		mdb_txn_abort(txn);
	}
	*engine_out = TAKE(engine);
	return true;
}

void
engine_close(struct engine *engine)
{
	ASSERT(engine->txn == NULL);
	if (engine->env != NULL)
		mdb_env_close(engine->env);
	free(engine);
}

/* --- the writer --- */

static size_t
table_pages(MDB_txn *txn, MDB_dbi table)
{
	MDB_stat stat;

	if (mdb_stat(txn, table, &stat) != 0)
		return 0;
	return stat.ms_branch_pages + stat.ms_leaf_pages +
	       stat.ms_overflow_pages;
}

/* Pages of the file that no table uses. The engine's own two tables (the list
 * of free pages, and of tables) are 0 and 1. */
static void
engine_measure(struct engine *engine, MDB_txn *txn)
{
	MDB_envinfo info;
	size_t used = 2, total;

	mdb_env_info(engine->env, &info);
	total = info.me_last_pgno + 1;
	for (MDB_dbi table = 0; table < 2; table++)
		used += table_pages(txn, table);
#define TABLE_PAGES(name) used += table_pages(txn, engine->name);
	TABLES(TABLE_PAGES)
#undef TABLE_PAGES
	engine->reusable_bytes =
		total > used ? (uint64_t)(total - used) * engine->page_size
			     : 0;
}

uint64_t
engine_reusable_bytes(const struct engine *engine)
{
	return engine->reusable_bytes;
}

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
	return true;
}

bool
engine_commit(struct engine *engine, struct fault *fault)
{
	int status;

	ASSERT(engine->txn != NULL);
	engine_measure(engine, engine->txn);
	status = mdb_txn_commit(engine->txn);
	engine->txn = NULL;
	if (status != 0)
		return engine_fault(fault, status, "commit");
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

static bool
engine_put_due(struct engine *engine, const struct delivery *delivery,
	       uint64_t due_ms, struct fault *fault)
{
	struct record_key key;
	MDB_val name, nothing = {0, NULL};
	int status;

	record_key_due(&key, delivery->destination, due_ms,
		       &delivery->message->id);
	name = val_of_key(&key);
	status = mdb_put(engine->txn, engine->due, &name, &nothing, 0);
	if (status != 0)
		return engine_fault(fault, status, "write");
	return true;
}

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
	/* What is held is never due. */
	return delivery->is_held ||
	       engine_put_due(engine, delivery, due_ms, fault);
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
	LIST_EACH (item, deliveries) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		delivery->version = mdb_txn_id(engine->txn);
		if (!engine_put_delivery(engine, delivery, delivery->due_ms,
					 fault))
			return false;
	}
	return true;
}

/* Deletes what may not be there. */
static bool
engine_delete(struct engine *engine, MDB_dbi table, struct record_key *key,
	      struct fault *fault)
{
	MDB_val name = val_of_key(key);
	int status = mdb_del(engine->txn, table, &name, NULL);

	if (status != 0 && status != MDB_NOTFOUND)
		return engine_fault(fault, status, "delete");
	return true;
}

/* The delivery's entry among what is due, wherever it stands now. */
static bool
engine_delete_due(struct engine *engine, const struct delivery *delivery,
		  struct record_key *delivery_key, struct fault *fault)
{
	MDB_val name = val_of_key(delivery_key), value;
	uint64_t due_ms = delivery->due_ms, stored_ms;
	struct record_key key;
	bool is_held;
	int status;

	status = mdb_get(engine->txn, engine->deliveries, &name, &value);
	if (status != 0 && status != MDB_NOTFOUND)
		return engine_fault(fault, status, "read");
	if (status == 0 &&
	    record_delivery_due(&delivery->message->id, delivery->destination,
				slice_of_val(&value), &stored_ms, &is_held))
		due_ms = stored_ms;
	record_key_due(&key, delivery->destination, due_ms,
		       &delivery->message->id);
	return engine_delete(engine, engine->due, &key, fault);
}

/* Whether a key of this table begins with the id. */
static bool
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
engine_settle(struct engine *engine, const struct delivery *delivery,
	      uint64_t due_ms, bool *message_gone_out, struct fault *fault)
{
	struct record_key key;
	MDB_cursor *cursor = NULL;
	bool others;

	ASSERT(engine->txn != NULL);
	*message_gone_out = false;
	record_key_delivery(&key, &delivery->message->id,
			    delivery->destination);
	if (!engine_delete_due(engine, delivery, &key, fault))
		return false;
	if (record_delivery_left(delivery) > 0)
		return engine_put_delivery(engine, delivery, due_ms, fault);
	if (!engine_delete(engine, engine->deliveries, &key, fault) ||
	    !engine_find_id(engine->txn, engine->deliveries,
			    &delivery->message->id, &cursor, &others, fault))
		return false;
	mdb_cursor_close(cursor);
	if (others)
		return true;
	if (!engine_delete_message(engine, &delivery->message->id, fault))
		return false;
	*message_gone_out = true;
	return true;
}

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
	record_key_delivery(&key, id, destination);
	name = val_of_key(&key);
	status = mdb_put(engine->txn, engine->damaged, &name, &value, 0);
	if (status != 0)
		return engine_fault(fault, status, "write");
	return true;
}

/* --- reads --- */

/* ABSENT: not there. The value is valid as long as the transaction. */
static bool
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
engine_read_delivery(struct engine *engine, MDB_txn *txn,
		     struct slice destination, const struct message_id *id,
		     struct delivery **delivery_out, struct fault *fault)
{
	CLEAN(delivery_free_clean) struct delivery *delivery =
		memory_new(sizeof(*delivery));
	struct record_key key;
	struct slice record;

	list_init(&delivery->link);
	record_key_message(&key, id, 0);
	if (!engine_get(txn, engine->messages, &key, &record, fault))
		return fault_within(fault, "message");
	if (!record_message_read(id, record, &delivery->message, fault))
		return false;
	record_key_delivery(&key, id, destination);
	if (!engine_get(txn, engine->deliveries, &key, &record, fault))
		return fault_within(fault, "delivery");
	if (!record_delivery_read(destination, record, delivery, fault))
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
					 &due_ms, &id) ||
		    !slice_eq(destination, due->destination))
			return MDB_NOTFOUND;
		if (due_ms > due->until_ms || count == due->max) {
			due->next_due_ms = due_ms;
			due->has_more = due_ms <= due->until_ms;
			return MDB_NOTFOUND;
		}
		if (!engine_read_delivery(engine, txn, destination, &id,
					  &delivery, &fault)) {
			if (fault.kind != FAULT_INPUT &&
			    fault.kind != FAULT_ABSENT)
				return EIO;
			damaged(owner, destination, due_ms, &id, &fault);
			continue;
		}
		delivery->due_ms = due_ms;
		list_add_last(&due->deliveries, &delivery->link);
		count++;
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
		if (!engine_read_delivery(engine, txn, destination, &id,
					  &delivery, &fault))
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
	char next[DOMAIN_MAX + 1];
	MDB_val name, value;
	int status = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);

	while (status == 0) {
		struct slice destination;
		uint64_t due_ms;
		struct message_id id;

		if (!record_key_due_read(slice_of_val(&name), &destination,
					 &due_ms, &id)) {
			status = mdb_cursor_get(cursor, &name, &value,
						MDB_NEXT);
			continue;
		}
		each(owner, destination, due_ms);
		memcpy(next, destination.bytes, destination.len);
		next[destination.len] = 1;
		name = (MDB_val){destination.len + 1, next};
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
