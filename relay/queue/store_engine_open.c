#include "relay/queue/store_engine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "relay/queue/store_engine_count.h"
#include "relay/queue/store_suspect.h"

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
	if (status == ENOMEM)
		return engine_fault(fault, status,
				    "cannot be opened in the address space "
				    "that there is (ulimit -v, LimitAS=)");
	if (status != 0)
		return engine_fault(fault, status, "cannot be opened");
	return true;
}

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
