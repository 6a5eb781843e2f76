#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "relay/queue/spool.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * What is durable, and what becomes of the process when it is not: fsync and
 * fdatasync of this file stand in for the C library's, for the engine too.
 */

static char path[64];
static struct loop loop;
static struct store *store;

/* --- syncs that can fail --- */

enum { SYNC_FILE = 1, SYNC_DIRECTORY = 2 };
static int failing, failing_errno;
static unsigned slow_ms;
static atomic_bool is_hanging; /* while it is, none ends */
static ino_t synced[64];
static size_t synced_count;

static int
sync_one(int descriptor, long call)
{
	struct stat status;
	int kind;

	cr_assert_eq(fstat(descriptor, &status), 0);
	kind = S_ISDIR(status.st_mode) ? SYNC_DIRECTORY : SYNC_FILE;
	if (synced_count < COUNT(synced))
		synced[synced_count++] = status.st_ino;
	usleep(slow_ms * 1000);
	while (atomic_load(&is_hanging))
		usleep(1000);
	if (failing == kind) {
		errno = failing_errno;
		return -1;
	}
	return (int)syscall(call, descriptor);
}

int
fsync(int descriptor)
{
	return sync_one(descriptor, SYS_fsync);
}

int
fdatasync(int descriptor)
{
	return sync_one(descriptor, SYS_fdatasync);
}

/* --- start and end --- */

static uv_timer_t keep;

static void
begin(void)
{
	stand_begin(path, &store, &loop, &keep);
}

static void
end(void)
{
	stand_end(path, store, &loop, &keep);
	fake_log_clear();
}

static bool
was_synced(const char *name)
{
	char file[128];
	struct stat status;

	snprintf(file, sizeof(file), "%s%s", path, name);
	cr_assert_eq(stat(file, &status), 0, "%s", file);
	for (size_t i = 0; i < synced_count; i++)
		if (synced[i] == status.st_ino)
			return true;
	return false;
}

/* A file that is synced is not there after a crash unless its name is. */
Test(sync, the_names_of_the_stores_files_are_durable, .init = begin,
     .fini = end)
{
	static const char *const names[] = {"", "/queue", "/spool"};

	for (size_t i = 0; i < COUNT(names); i++)
		cr_expect(was_synced(names[i]), "state_dir%s", names[i]);
}

/* --- putting one message --- */

static bool is_over, has_failed;

static void
on_put(struct store_put *put, const struct fault *fault)
{
	has_failed = fault != NULL;
	is_over = true;
	deliveries_free(&put->deliveries);
}

static void
on_spool(void *owner, enum spool_event event)
{
	(void)owner;
	if (event == SPOOL_DRAINED)
		return;
	has_failed = event == SPOOL_FAILED;
	is_over = true;
}

static void
wait_over(void)
{
	while (!is_over)
		uv_run(&loop.uv, UV_RUN_ONCE);
	is_over = false;
}

static void
put_in_store(void)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct store_put put = {
		.message = message, .loop = &loop, .done = on_put};

	store_put(store, &put);
	wait_over();
}

static void
put_in_spool(void)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 0);
	struct spool *spool =
		spool_new(store, &loop, message, on_spool, NULL);
	char *bytes = memory_new(BODY_INLINE_MAX + 1);

	/* Whether more may follow does not matter: nothing does. */
	(void)spool_write(spool, slice_of(bytes, BODY_INLINE_MAX + 1));
	free(bytes);
	spool_finish(spool);
	wait_over();
	if (has_failed)
		spool_cancel(&spool);
}

/* The process ends (EX_TEMPFAIL) before anybody is told anything. */

static void
never_over(void (*put)(void), int kind, int number)
{
	failing = kind;
	failing_errno = number;
	put();
	cr_assert(false, "a sync failed, and the process went on");
}

Test(sync, a_commit_that_cannot_be_synced_is_fatal, .init = begin,
     .exit_code = EX_TEMPFAIL)
{
	never_over(put_in_store, SYNC_FILE, EIO);
}

Test(sync, a_body_that_cannot_be_synced_is_fatal, .init = begin,
     .exit_code = EX_TEMPFAIL)
{
	never_over(put_in_spool, SYNC_FILE, EIO);
}

Test(sync, a_name_that_cannot_be_synced_is_fatal, .init = begin,
     .exit_code = EX_TEMPFAIL)
{
	never_over(put_in_spool, SYNC_DIRECTORY, EIO);
}

Test(sync, a_full_disk_is_not, .init = begin, .fini = end)
{
	failing = SYNC_FILE;
	failing_errno = ENOSPC;
	put_in_store();
	cr_expect(has_failed);
	put_in_spool();
	cr_expect(has_failed);
	failing = 0;
	put_in_store();
	cr_expect_not(has_failed);
	put_in_spool();
	cr_expect_not(has_failed);
}

/* A client that went while a slow disk was at its message. */
Test(sync, a_stop_waits_for_a_file_under_way, .init = begin, .fini = end)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 0);
	struct spool *spool =
		spool_new(store, &loop, message, on_spool, NULL);
	char *bytes = memory_new(BODY_INLINE_MAX + 1);

	slow_ms = 200;
	(void)spool_write(spool, slice_of(bytes, BODY_INLINE_MAX + 1));
	free(bytes);
	spool_finish(spool);
	spool_cancel(&spool);
	uv_timer_stop(&keep);
	loop_stop(&loop);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	cr_expect_eq(spool_room_memory(store_spool_room(store)), 0,
		     "the loop ended before the file did");
}

Test(sync, a_flush_waits_for_what_is_queued_and_no_longer_than_it_may,
     .init = begin, .fini = end)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct store_put put = {
		.message = message, .loop = &loop, .done = on_put};
	struct store_counters counters;

	cr_expect(store_flush(store, 0), "nothing is queued");
	atomic_store(&is_hanging, true);
	store_put(store, &put);
	cr_expect_not(store_flush(store, 10));
	atomic_store(&is_hanging, false);
	cr_expect(store_flush(store, MINUTE));
	store_count(store, &counters);
	cr_expect_eq(counters.puts, 1);
	wait_over();
	cr_expect_not(has_failed);
}

Test(sync, who_comes_too_late_is_told_so, .init = begin, .fini = end)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct store_put early = {
		.message = message, .loop = &loop, .done = on_put};
	struct store_put late = early;
	struct store_counters counters;

	slow_ms = 200;
	store_put(store, &early);
	store_take_no_more(store);
	store_put(store, &late);
	wait_over();
	cr_expect(has_failed);
	cr_expect(store_flush(store, 10 * SECOND));
	wait_over();
	cr_expect_not(has_failed);
	store_count(store, &counters);
	cr_expect_eq(counters.puts, 1);
	cr_expect_eq(counters.refused, 1);
	cr_expect_eq(counters.waiting, 0);
}

#define HEAVY 200

static unsigned heavy_done;

static void
on_heavy(struct store_put *put, const struct fault *fault)
{
	on_put(put, fault);
	heavy_done++;
}

/* All wait while the first one is being synced. */
Test(sync, a_group_is_bounded_in_bytes, .init = begin, .fini = end)
{
	static struct store_put puts[HEAVY];
	CLEAN(message_unref_clean) struct message *model = message_make(
		"from@example.org", "a@x.example", BODY_INLINE_MAX);
	struct store_counters counters;

	atomic_store(&is_hanging, true);
	for (unsigned i = 0; i < HEAVY; i++) {
		struct message *message = message_make("", "a@x.example", 0);

		message->body = model->body;
		puts[i] = (struct store_put){.message = message,
					     .loop = &loop,
					     .done = on_heavy};
		store_put(store, &puts[i]);
		message_unref(message);
	}
	atomic_store(&is_hanging, false);
	while (heavy_done < HEAVY)
		uv_run(&loop.uv, UV_RUN_ONCE);
	store_count(store, &counters);
	cr_expect_geq(counters.commits,
		      HEAVY * BODY_INLINE_MAX / (STORE_GROUP_BYTES +
						 BODY_INLINE_MAX),
		      "%lu groups", (unsigned long)counters.commits);
	cr_expect_leq(counters.commits, HEAVY / 4);
}
