#include "relay/queue/store_engine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "relay/queue/record.h"
#include "relay/queue/space.h"
#include "relay/queue/store_engine_count.h"
#include "relay/queue/store_suspect.h"

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
	if (!engine_check_layout(engine, txn, fault) ||
	    !engine_count_open(engine, txn, fault)) {
		mdb_txn_abort(txn);
		return false;
	}
	status = mdb_txn_commit(txn);
	if (status != 0)
		return engine_fault(fault, status, "tables");
	return true;
}

/* The engine found itself at its wit's end, and will abort. */
static void
engine_on_assert(MDB_env *env, const char *message)
{
	(void)env;
	suspect_mark(message);
}

size_t engine_map_size = STORE_MAP_SIZE;

/* The map is address space, not memory; where that is scarce (a limit on it),
 * a smaller one will do. */
static bool
engine_open_env(struct engine *engine, const char *directory,
		unsigned flags, struct fault *fault)
{
	int status = ENOMEM;

	for (unsigned i = 0; status == ENOMEM && i <= STORE_MAP_HALVINGS; i++) {
		if (engine->env != NULL)
			mdb_env_close(engine->env);
		engine->env = NULL;
		status = mdb_env_create(&engine->env);
		if (status == 0)
			status = mdb_env_set_assert(engine->env,
						    engine_on_assert);
		if (status == 0)
			status = mdb_env_set_maxdbs(engine->env, 8);
		if (status == 0)
			status = mdb_env_set_mapsize(engine->env,
						     engine_map_size >> i);
		if (status == 0)
			status = mdb_env_open(engine->env, directory,
					      MDB_NOTLS | flags, 0600);
	}
	if (status != 0)
		return engine_fault(fault, status, "cannot be opened");
	return true;
}

static void engine_measure(struct engine *engine, MDB_txn *txn);
static void engine_reserve_disk(struct engine *engine);

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
	engine->indexes = engine_indexes_new();
	if (!engine_open_env(engine, directory, 0, fault) ||
	    !engine_open_tables(engine, fault))
		return fault_within(fault, "%s", directory);
	engine->is_by_destination = true;
	/* The engine does this by itself only for whoever opens it first. */
	engine_forget_dead_readers(engine);
	mdb_env_stat(engine->env, &stat);
	engine->page_size = stat.ms_psize;
	if (mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn) == 0) {
		engine_measure(engine, txn);
		mdb_txn_abort(txn);
	}
	engine_reserve_disk(engine);
	*engine_out = TAKE(engine);
	return true;
}

/* A failure costs space, nothing else. */
unsigned
engine_forget_dead_readers(struct engine *engine)
{
	int dead = 0;

	return mdb_reader_check(engine->env, &dead) == 0 && dead > 0
		       ? (unsigned)dead
		       : 0;
}

/* A store that is just being made has no tables yet: it is empty. One of an
 * older version has those that pages are read from; others it may not have. */
static bool
engine_find_tables(struct engine *engine, struct fault *fault)
{
	MDB_txn *txn = NULL;
	int status = mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn);

	if (status != 0)
		return engine_fault(fault, status, "transaction");
#define TABLE_FIND(name)                                                       \
	if (status == 0)                                                       \
		status = mdb_dbi_open(txn, #name, 0, &engine->name);
	TABLES_OF_PAGES(TABLE_FIND)
#undef TABLE_FIND
	if (status != 0) {
		mdb_txn_abort(txn);
		if (status == MDB_NOTFOUND)
			return fault_set(fault, FAULT_ABSENT, "no tables");
		return engine_fault(fault, status, "tables");
	}
	if (!engine_check_layout(engine, txn, fault)) {
		mdb_txn_abort(txn);
		return false;
	}
	engine->is_by_destination = true;
#define TABLE_LOOK_FOR(name)                                                   \
	engine->is_by_destination &=                                           \
		mdb_dbi_open(txn, #name, 0, &engine->name) == 0;
	TABLES_BY_DESTINATION(TABLE_LOOK_FOR)
#undef TABLE_LOOK_FOR
	/* Only so do the tables stay open. */
	status = mdb_txn_commit(txn);
	return status == 0 || engine_fault(fault, status, "tables");
}

bool
engine_open_reading(const char *directory, struct engine **engine_out,
		    struct fault *fault)
{
	CLEAN(engine_close_clean)
	struct engine *engine = memory_new(sizeof(*engine));
	struct stat data;
	CLEAN(text_done) struct text path = {0};

	text_addf(&path, "%s/data.mdb", directory);
	if (stat(text_string(&path), &data) != 0)
		return fault_errno(fault, "%s", text_string(&path));
	if (!engine_open_env(engine, directory, MDB_RDONLY, fault) ||
	    !engine_find_tables(engine, fault))
		return fault_within(fault, "%s", directory);
	*engine_out = TAKE(engine);
	return true;
}

void
engine_close(struct engine *engine)
{
	ASSERT(engine->txn == NULL);
	if (engine->env != NULL)
		mdb_env_close(engine->env);
	engine_indexes_free(engine->indexes);
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

static uint64_t
table_entries(MDB_txn *txn, MDB_dbi table)
{
	MDB_stat stat;

	return mdb_stat(txn, table, &stat) == 0 ? stat.ms_entries : 0;
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
	engine->used_bytes = (uint64_t)used * engine->page_size;
	engine->room_bytes = info.me_mapsize -
			     (uint64_t)total * engine->page_size +
			     engine->reusable_bytes / 2;
	engine->kept_bytes = info.me_mapsize / STORE_MAP_KEPT_SHARE;
	if (engine->kept_bytes > STORE_MAP_KEPT_MAX)
		engine->kept_bytes = STORE_MAP_KEPT_MAX;
	engine->deliveries_count = table_entries(txn, engine->deliveries);
	engine->due_count = table_entries(txn, engine->due);
	engine->held_count = table_entries(txn, engine->held);
}

/* Taking the last of a disk would leave others none. */
static bool
disk_has_reserve(int file)
{
	struct statvfs disk;

	return fstatvfs(file, &disk) == 0 &&
	       disk.f_bavail > 2 * STORE_RESERVE_BYTES / disk.f_frsize;
}

/* The file's size stays. Where there is no room, or the file system cannot do
 * it, there is no reserve for a while; half of one is asked for again. */
static void
engine_reserve_disk(struct engine *engine)
{
	MDB_envinfo info;
	uint64_t end;
	int file;

	mdb_env_info(engine->env, &info);
	end = (uint64_t)(info.me_last_pgno + 1) * engine->page_size;
	if (engine->reserved_bytes >= end + STORE_RESERVE_BYTES / 2 ||
	    clock_now_ms() < engine->reserve_at_ms ||
	    mdb_env_get_fd(engine->env, &file) != 0)
		return;
	if (disk_has_reserve(file) &&
	    fallocate(file, FALLOC_FL_KEEP_SIZE, (off_t)end,
		      STORE_RESERVE_BYTES) == 0)
		engine->reserved_bytes = end + STORE_RESERVE_BYTES;
	else
		engine->reserve_at_ms = clock_now_ms() + STORE_RESERVE_AGAIN_MS;
}

void
engine_count(const struct engine *engine, uint64_t *deliveries_out,
	     uint64_t *due_out, uint64_t *held_out)
{
	*deliveries_out = engine->deliveries_count;
	*due_out = engine->due_count;
	*held_out = engine->held_count;
}

void
engine_count_messages(const struct engine *engine, uint64_t *messages_out,
		      uint64_t *bytes_out)
{
	*messages_out = engine->messages_count;
	*bytes_out = engine->message_bytes;
}

uint64_t
engine_used_bytes(const struct engine *engine)
{
	return engine->used_bytes;
}

uint64_t
engine_reusable_bytes(const struct engine *engine)
{
	return engine->reusable_bytes;
}

bool
engine_has_room(const struct engine *engine, uint64_t bytes)
{
	return engine->room_bytes >= bytes + engine->kept_bytes;
}

bool
engine_has_room_for_reports(const struct engine *engine)
{
	return engine->room_bytes >= engine->kept_bytes / 2;
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
