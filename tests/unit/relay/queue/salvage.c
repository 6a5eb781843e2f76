#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/* A salvage that is asked for by a mark, of a store that is sound. */

#define MESSAGES 40
#define BODY 2000

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;

/* --- a store --- */

static void
file_name(char name[160], const char *base)
{
	snprintf(name, 160, "%s/%s", path, base);
}

static void
file_write(const char *base, const char *text)
{
	char name[160];
	FILE *file;

	file_name(name, base);
	file = fopen(name, "w");
	cr_assert_not_null(file, "%s", name);
	fputs(text, file);
	fclose(file);
}

/* What the relay leaves when something seems to be wrong with it. */
static void
mark(const char *reason)
{
	file_write("queue.suspect", reason);
}

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

static bool
open_again(struct fault *fault)
{
	*fault = (struct fault){0};
	return store_open(path, 0, &store, fault);
}

static struct store_counters
counts(void)
{
	struct store_counters counters;

	store_count(store, &counters);
	return counters;
}

/* With some messages, and closed. */
static struct store_counters
begin(void)
{
	struct fault fault = {0};
	struct store_counters before;

	directory_make(path);
	cr_assert(open_again(&fault), "%s", fault.text);
	ASSERT(loop_init(&loop, 0, NULL));
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 1000, 1000);
	ASSERT(loop_start(&loop, NULL));
	for (unsigned i = 0; i < MESSAGES; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("from@example.org",
				     "a@x.example b@y.example", BODY);

		cr_assert(put_wait(store, &loop, message, NULL, &fault));
	}
	before = counts();
	cr_assert_eq(before.messages, MESSAGES);
	store_close(store);
	fake_log_clear();
	return before;
}

static void
close_keep(struct post *post)
{
	(void)post;
	uv_close((uv_handle_t *)&keep, NULL);
}

static void
end(void)
{
	static struct post closing;

	loop_post(&loop, &closing, close_keep);
	loop_stop(&loop);
	loop_join(&loop);
	loop_done(&loop);
	directory_remove(path);
	fake_log_clear();
}

/* --- tests --- */

Test(salvage, knows_how_much_there_is)
{
	struct store_counters before = begin(), after;
	struct fault fault;

	mark("a test");
	for (unsigned start = 0; start < 2; start++) {
		cr_assert(open_again(&fault), "%s", fault.text);
		after = counts();
		cr_expect_eq(after.messages, MESSAGES);
		cr_expect_eq(after.message_bytes, before.message_bytes);
		cr_expect_eq(after.deliveries, 2 * MESSAGES);
		store_close(store);
	}
	cr_expect_eq(fake_log_count("store-damaged ", "messages=40 "), 1);
	end();
}
