/* A store whose map is full, on a disk that has room. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "relay/queue/store_engine_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

#define MAP_SIZE (4 * MIB)
#define MESSAGES_MAX 1000

static char path[64];
static struct loop loop;
static struct store *store;
static uv_async_t keep;
static struct list deliveries;

static void
start(void)
{
	engine_map_size = MAP_SIZE;
	list_init(&deliveries);
	threaded_begin(path, &store, &loop, &keep);
}

static void
end(void)
{
	deliveries_free(&deliveries);
	threaded_end(path, store, &loop, &keep);
	fake_log_clear();
}

static bool
put(size_t size, struct fault *fault)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", "a@x.example", size);

	return put_wait(store, &loop, message, &deliveries, fault);
}

/* Until one is refused; how many there are. */
static size_t
fill(size_t size)
{
	struct fault fault = {0};
	size_t count = 0;

	while (count < MESSAGES_MAX && put(size, &fault))
		count++;
	cr_assert_lt(count, MESSAGES_MAX);
	cr_expect_eq(fault.kind, FAULT_LIMIT, "%s", fault.text);
	return count;
}

static struct delivery *
take_first(void)
{
	struct list *item = list_take_first(&deliveries);

	cr_assert_neq(item, NULL);
	return CONTAINER(item, struct delivery, link);
}

static void
settle_first(enum outcome outcome, uint64_t due_ms, struct message *report,
	     struct fault *fault)
{
	CLEAN(delivery_free_clean) struct delivery *delivery = take_first();

	delivery->recipients[0].outcome = outcome;
	delivery->recipients[0].reply = SLICE("450 4.2.0 come back later");
	cr_expect(settle_wait(store, &loop, delivery, due_ms, report, fault),
		  "%s", fault->text);
}

static const struct size_row {
	const char *name;
	size_t size;
} size_rows[] = {
	{"a chunk each", BODY_CHUNK},
	{"in chunks", 100 * KIB},
	{"the largest in the store", BODY_INLINE_MAX},
};

/* What has been accepted can be deferred, and ends, and makes room. */
static void
fill_and_empty(const struct size_row *row)
{
	struct fault fault = {0};
	size_t count;

	start();
	count = fill(row->size);
	cr_expect_gt(count, MAP_SIZE / 2 / (row->size + 8 * KIB), "%s: %zu",
		     row->name, count);
	cr_expect_eq(store_lacks(store, row->size), STORE_LACKS_MAP, "%s",
		     row->name);
	for (size_t i = 0; i < count / 4; i++)
		settle_first(OUTCOME_DEFERRED, 1000, NULL, &fault);
	for (size_t i = 0; i < count / 2; i++)
		settle_first(OUTCOME_DELIVERED, 0, NULL, &fault);
	uv_sleep(2 * STORE_SPACE_CHECK_MS);
	cr_expect(put(row->size, &fault), "%s: %s", row->name, fault.text);
	end();
}

Test(full_map, what_is_stored_comes_to_its_end, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(size_rows); i++)
		fill_and_empty(&size_rows[i]);
}

/* Where there is less room for addresses than the map would take. */
Test(full_map, a_smaller_one_is_taken_where_need_be)
{
	struct fault fault = {0};

	engine_map_size = (size_t)1 << (sizeof(size_t) > 4 ? 49 : 31);
	list_init(&deliveries);
	threaded_begin(path, &store, &loop, &keep);
	cr_expect(put(BODY_CHUNK, &fault), "%s", fault.text);
	cr_expect_eq(store_lacks(store, 0), STORE_LACKS_NOTHING);
	end();
}

/* All at once, as when a host that was out of reach is back. */
Test(full_map, much_ends_at_once, .init = start, .fini = end, .timeout = 120)
{
	struct fault fault = {0};

	(void)fill(100 * KIB);
	LIST_EACH (item, &deliveries)
		CONTAINER(item, struct delivery, link)->recipients[0].outcome =
			OUTCOME_DELIVERED;
	cr_expect(settle_all_wait(store, &loop, &deliveries, &fault), "%s",
		  fault.text);
	cr_expect_eq(store_lacks(store, 100 * KIB), STORE_LACKS_NOTHING);
}

/* They are put off before they take from outcomes what is kept for these. */
Test(full_map, reports_leave_room_for_outcomes, .init = start, .fini = end,
     .timeout = 120)
{
	struct fault fault = {0}, last = {0};
	size_t refused = 0;

	(void)fill(100 * KIB);
	for (unsigned i = 0; i < 200 && refused == 0; i++) {
		CLEAN(message_unref_clean) struct message *report =
			message_make("", "from@example.org", 200 * KIB);
		CLEAN(delivery_free_clean) struct delivery *delivery =
			take_first();

		/* The original stays: so many have more than one recipient. */
		delivery->recipients[0].outcome = OUTCOME_DEFERRED;
		refused += !settle_wait(store, &loop, delivery, 1000, report,
					&last);
	}
	cr_expect_eq(refused, 1);
	cr_expect_eq(last.kind, FAULT_LIMIT, "%s", last.text);
	for (unsigned i = 0; i < 20; i++)
		settle_first(OUTCOME_DELIVERED, 0, NULL, &fault);
}

/* A salvage needs no more room than there was, of which outcomes took what is kept
 * for them. */
Test(full_map, all_of_it_is_salvaged, .timeout = 120)
{
	struct store_counters before, after;
	struct fault fault = {0};
	char mark[96];
	FILE *file;

	start();
	(void)fill(100 * KIB);
	for (bool has_room = true; has_room;) {
		CLEAN(message_unref_clean) struct message *report =
			message_make("", "from@example.org", 100 * KIB);
		CLEAN(delivery_free_clean) struct delivery *delivery =
			take_first();

		delivery->recipients[0].outcome = OUTCOME_DEFERRED;
		has_room = settle_wait(store, &loop, delivery, 1000, report,
				       &fault);
	}
	store_count(store, &before);
	store_close(store);
	snprintf(mark, sizeof(mark), "%s/queue.suspect", path);
	file = fopen(mark, "w");
	cr_assert_not_null(file);
	fputs("a test", file);
	fclose(file);
	cr_assert(store_open(path, 0, &store, &fault), "%s", fault.text);
	store_count(store, &after);
	cr_expect_eq(after.messages, before.messages);
	cr_expect_eq(fake_log_count("store-damaged ", "lost=0 "), 1);
	end();
}
