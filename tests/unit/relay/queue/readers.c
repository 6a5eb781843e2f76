#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/* A reader in a process of its own that is killed while it reads. */

#define WAIT_MS MINUTE

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;

/* Forked before the store and its threads are there; reads once told to, says
 * so, and goes on for ever. */
static pid_t
reader_fork(int go[2], int reads[2])
{
	pid_t child;
	char byte;

	cr_assert_eq(pipe(go), 0);
	cr_assert_eq(pipe(reads), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		struct engine *engine;
		MDB_txn *txn;
		struct fault fault;

		if (read(go[0], &byte, 1) == 1 &&
		    engine_open_reading("queue", &engine, &fault) &&
		    mdb_txn_begin(engine->env, NULL, MDB_RDONLY, &txn) == 0 &&
		    write(reads[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	return child;
}

struct search {
	char pid[16];
	bool is_found;
};

static int
on_reader(const char *line, void *context)
{
	struct search *search = context;

	search->is_found |= strstr(line, search->pid) != NULL;
	return 0;
}

static bool
is_reading(pid_t child)
{
	struct search search = {.is_found = false};

	snprintf(search.pid, sizeof(search.pid), "%ld", (long)child);
	cr_assert_geq(mdb_reader_list(store->engine->env, on_reader, &search),
		      0);
	return search.is_found;
}

static void
put_one(void)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("", "a@x.example", 10);
	struct list none;

	list_init(&none);
	cr_assert(put_wait(store, &loop, message, &none, NULL));
	deliveries_free(&none);
}

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

static void
keep_closed(uv_handle_t *handle)
{
	(void)handle;
}

static void
keep_end(struct post *post)
{
	free(post);
	uv_close((uv_handle_t *)&keep, keep_closed);
}

Test(readers, one_that_died_pins_nothing)
{
	int go[2], reads[2];
	uint64_t until_ms;
	pid_t child;
	char byte;
	struct fault fault = {0};

	directory_make(path);
	cr_assert_eq(chdir(path), 0);
	child = reader_fork(go, reads);
	cr_assert(store_open(".", 0, &store, &fault), "%s", fault.text);
	cr_assert(loop_init(&loop, 0, NULL));
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 1000, 1000);
	cr_assert(loop_start(&loop, NULL));
	put_one(); /* the first look is now */

	cr_assert_eq(write(go[1], "x", 1), 1);
	cr_assert_eq(read(reads[0], &byte, 1), 1);
	cr_expect(is_reading(child));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_expect(is_reading(child), "the engine does not see that by itself");

	atomic_store(&store->readers_check_ms, 10);
	put_one(); /* to have the store look at the new time */
	until_ms = clock_now_ms() + WAIT_MS;
	while (is_reading(child) && clock_now_ms() < until_ms)
		usleep(2000);
	cr_expect_not(is_reading(child));

	loop_post(&loop, memory_new(sizeof(struct post)), keep_end);
	loop_stop(&loop);
	loop_join(&loop);
	store_close(store);
	loop_done(&loop);
	cr_assert_eq(chdir("/"), 0);
	directory_remove(path);
	fake_log_clear();
}
