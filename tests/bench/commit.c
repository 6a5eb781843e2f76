/*
 * commit - what one message's commit costs by itself: the engine's, of one
 * record, one after the other, while nothing else goes on. It is what a 250
 * cannot be quicker than.
 *
 * usage: commit DIRECTORY [COMMITS [SIZE]]
 *
 * Prints the microseconds of each.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"

#define MAP_SIZE ((size_t)64 << 20)
#define KEPT 8 /* records: the older ones make room, as in a queue */

static void
check(int status, const char *what)
{
	if (status == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, mdb_strerror(status));
	exit(1);
}

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void
commit(MDB_env *env, MDB_dbi table, uint64_t number, MDB_val *record)
{
	uint64_t old = number - KEPT;
	MDB_val key = {sizeof(number), &number}, gone = {sizeof(old), &old};
	MDB_txn *txn;

	check(mdb_txn_begin(env, NULL, 0, &txn), "transaction");
	check(mdb_put(txn, table, &key, record, 0), "put");
	if (number >= KEPT)
		check(mdb_del(txn, table, &gone, NULL), "delete");
	check(mdb_txn_commit(txn), "commit");
}

int
main(int argc, char **argv)
{
	uint64_t commits = argc > 2 ? strtoull(argv[2], NULL, 10) : 500;
	size_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 4096;
	MDB_val record = {size, memory_new(size)};
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi table;

	if (argc < 2) {
		fprintf(stderr, "usage: commit DIRECTORY [COMMITS [SIZE]]\n");
		return 64;
	}
	check(mdb_env_create(&env), "environment");
	check(mdb_env_set_mapsize(env, MAP_SIZE), "map");
	check(mdb_env_open(env, argv[1], 0, 0600), argv[1]);
	check(mdb_txn_begin(env, NULL, 0, &txn), "transaction");
	check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &table), "table");
	check(mdb_txn_commit(txn), "commit");
	for (uint64_t i = 0; i < commits; i++) {
		uint64_t begun = now_us();

		commit(env, table, i, &record);
		printf("%llu\n", (unsigned long long)(now_us() - begun));
	}
	mdb_env_close(env);
	free(record.mv_data);
	return 0;
}
