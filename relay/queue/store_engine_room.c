#include "relay/queue/store_engine_private.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/clock.h"

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

void
engine_measure(struct engine *engine, MDB_txn *txn)
{
	MDB_envinfo info;
	size_t used = 2, total;

	mdb_env_info(engine->env, &info);
	total = info.me_last_pgno + 1;
	/* The engine's own: the list of free pages, and of tables. */
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

void
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
