#include "tests/unit/relay/queue/alter_stand.h"

#include <criterion/criterion.h>

#include <stdio.h>

/* What the store makes of an administrator's decisions. */

TestSuite(alter, .init = alter_stand_init, .fini = alter_stand_done);

#define LATER_MS (NOW_MS + HOUR)

static void
settle_done(struct store_settle *settle, const struct fault *fault)
{
	(void)settle;
	is_done = true;
	cr_assert_null(fault);
}

/* As after one attempt. */
static void
defer(const struct message_id *id, uint64_t due_ms)
{
	struct store_settle settle = {.due_ms = due_ms,
				      .loop = &loop,
				      .done = settle_done};

	page = (struct store_read_page){.is_one = true, .after = *id};
	cr_assert_eq(page_read(), 1);
	settle.delivery =
		CONTAINER(page.deliveries.next, struct delivery, link);
	settle.delivery->recipients[0].outcome = OUTCOME_DEFERRED;
	settle.delivery->recipients[0].attempts = 1;
	settle.delivery->last_attempt_ms = NOW_MS;
	is_done = false;
	store_settle(store, &settle);
	run_until_done();
	deliveries_free(&page.deliveries);
}

enum before { NEW, AHEAD, DEFERRED, DUE, HELD, HELD_NEW };

static const struct alter_row {
	const char *name;
	enum before before;
	enum alteration alteration;
	enum altered altered;
	uint64_t due_ms; /* 1: as it was received */
	bool is_held, is_owed;
	uint64_t due, held; /* counts */
} alter_rows[] = {
	{"retry a new one", NEW, ALTER_RETRY, ALTERED_ALREADY, 1, false, false,
	 1, 0},
	{"retry a new one of a clock that was ahead", AHEAD, ALTER_RETRY,
	 ALTERED, NOW_MS, false, false, 1, 0},
	{"retry a deferred one", DEFERRED, ALTER_RETRY, ALTERED, NOW_MS, false,
	 true, 1, 0},
	{"retry one that is due again", DUE, ALTER_RETRY, ALTERED, NOW_MS,
	 false, true, 1, 0},
	{"retry a held one", HELD, ALTER_RETRY, ALTERED_UNFIT, 0, true, false,
	 0, 1},
	{"hold a new one", NEW, ALTER_HOLD, ALTERED, 0, true, false, 0, 1},
	{"hold a deferred one", DEFERRED, ALTER_HOLD, ALTERED, 0, true, false,
	 0, 1},
	{"hold a held one", HELD, ALTER_HOLD, ALTERED_ALREADY, 0, true, false,
	 0, 1},
	{"release a new one", NEW, ALTER_RELEASE, ALTERED_UNFIT, 1, false,
	 false, 1, 0},
	{"release a held one", HELD, ALTER_RELEASE, ALTERED, NOW_MS, false,
	 true, 1, 0},
	/* It was due at once, before NOW_MS. */
	{"release one that was never tried", HELD_NEW, ALTER_RELEASE, ALTERED,
	 1, false, true, 1, 0},
	{"delete a new one", NEW, ALTER_DELETE, ALTERED, 0, false, false, 0,
	 0},
	{"delete a deferred one", DEFERRED, ALTER_DELETE, ALTERED, 0, false,
	 false, 0, 0},
	{"delete a held one", HELD, ALTER_DELETE, ALTERED, 0, false, false, 0,
	 0},
};

static void
expect_stored(const struct alter_row *row, const struct message_id *id)
{
	struct delivery *delivery;

	page = (struct store_read_page){.is_one = true, .after = *id};
	if (page_read() == 0) {
		cr_expect_eq(row->alteration, ALTER_DELETE, "%s", row->name);
		cr_expect_eq(last_fault.kind, FAULT_ABSENT, "%s", row->name);
		return;
	}
	cr_expect_neq(row->alteration, ALTER_DELETE, "%s", row->name);
	delivery = CONTAINER(page.deliveries.next, struct delivery, link);
	cr_expect_eq(delivery->is_held, row->is_held, "%s", row->name);
	cr_expect_eq(delivery->is_owed_attempt, row->is_owed, "%s", row->name);
	deliveries_free(&page.deliveries);
}

static void
alter_one(const struct alter_row *row)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", 3 * BODY_CHUNK);
	struct message_id id = message->id;
	struct store_counters counters;
	struct store_alter_row altered;
	uint64_t received_ms = message->received_ms;

	if (row->before == AHEAD)
		message->received_ms = LATER_MS;
	put(message);
	if (row->before == DEFERRED || row->before == HELD)
		defer(&id, LATER_MS);
	if (row->before == DUE)
		defer(&id, NOW_MS);
	if (row->before == HELD || row->before == HELD_NEW)
		alter(ALTER_HOLD, &id, "x.example");
	altered = alter(row->alteration, &id, "x.example");
	cr_expect_eq(altered.altered, row->altered, "%s: %d", row->name,
		     altered.altered);
	cr_expect_eq(altered.due_ms,
		     row->due_ms == 1 ? received_ms : row->due_ms, "%s",
		     row->name);
	store_count(store, &counters);
	cr_expect_eq(counters.due, row->due, "%s: due", row->name);
	cr_expect_eq(counters.held, row->held, "%s: held", row->name);
	expect_stored(row, &id);
	alter(ALTER_DELETE, &id, "x.example");
	store_count(store, &counters);
	cr_expect_eq(counters.deliveries, 0, "%s", row->name);
	cr_expect_eq(alter(row->alteration, &id, "x.example").altered,
		     ALTERED_GONE, "%s", row->name);
}

Test(alter, each_alteration_of_each_state)
{
	for (size_t i = 0; i < COUNT(alter_rows); i++)
		alter_one(&alter_rows[i]);
}

Test(alter, a_message_goes_with_its_last_delivery)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example c@y.example", 10);
	struct message_id id = message->id;

	put(message);
	alter(ALTER_DELETE, &id, "x.example");
	page = (struct store_read_page){.is_one = true, .after = id};
	cr_expect_eq(page_read(), 1);
	deliveries_free(&page.deliveries);
	cr_expect_not(alter(ALTER_DELETE, &id, "y.example").has_dead_file);
	page = (struct store_read_page){.is_one = true, .after = id};
	cr_expect_eq(page_read(), 0);
}

static const struct page_row {
	const char *name;
	struct selection selection;
	size_t found;
} page_rows[] = {
	{"all", {0}, 9},
	{"a domain", {.has_domain = true, .domain = SLICE_LITERAL("x.example")},
	 6},
	{"another", {.has_domain = true, .domain = SLICE_LITERAL("y.example")},
	 3},
	{"a part of a domain",
	 {.has_domain = true, .domain = SLICE_LITERAL("example")}, 0},
	{"a sender",
	 {.has_sender = true, .sender = SLICE_LITERAL("A@example.org")}, 6},
	{"the null path", {.has_sender = true, .sender = SLICE_LITERAL("")},
	 3},
	{"both",
	 {true, true, SLICE_LITERAL("y.example"),
	  SLICE_LITERAL("a@example.org")}, 3},
	{"nothing of both",
	 {true, true, SLICE_LITERAL("y.example"), SLICE_LITERAL("")}, 0},
};

static void
read_in_pages(const struct page_row *row, size_t max)
{
	size_t found = 0, pages = 0;

	page = (struct store_read_page){.selection = row->selection,
					.max = max};
	do {
		found += page_read();
		deliveries_free(&page.deliveries);
		pages++;
	} while (page.has_more && pages < 100);
	cr_expect_eq(found, row->found, "%s by %zu: %zu", row->name, max,
		     found);
}

Test(alter, a_selection_in_pages)
{
	struct message_id first_after;

	for (size_t i = 0; i < 3; i++) {
		CLEAN(message_unref_clean) struct message *two = message_make(
			"a@example.org", "b@x.example c@y.example", 10);
		CLEAN(message_unref_clean) struct message *null =
			message_make("", "d@x.example e@x.example", 10);

		put(two);
		put(null);
	}
	for (size_t i = 0; i < COUNT(page_rows); i++)
		for (size_t max = 1; max < 12; max += 5)
			read_in_pages(&page_rows[i], max);

	/* What comes behind the last of the first page is not in it. */
	page = (struct store_read_page){.max = 2};
	cr_expect_eq(page_read(), 2);
	deliveries_free(&page.deliveries);
	first_after = page.after;
	for (size_t i = 0; i < 3; i++) {
		CLEAN(message_unref_clean) struct message *late =
			message_make("late@example.org", "b@x.example", 10);

		put(late);
	}
	page.max = 100;
	cr_expect_eq(page_read(), 7);
	cr_expect_not(page.has_more);
	cr_expect_not(message_id_eq(&page.after, &first_after));
	deliveries_free(&page.deliveries);
}

static size_t
looks_of(const char *directory, struct engine_page *read, size_t *found_out)
{
	struct engine *engine = NULL;
	size_t looks = 0;

	*found_out = 0;
	cr_assert(engine_open_reading(directory, &engine, NULL));
	do {
		cr_assert(engine_read_page(engine, read, NULL, NULL, NULL));
		looks += read->looks;
		*found_out += list_count(&read->deliveries);
		deliveries_free(&read->deliveries);
	} while (read->has_more);
	engine_close(engine);
	return looks;
}

static void
put_routed(void)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", 10);

	message_add_recipient(message, SLICE("c@d7.example"),
			      SLICE("d7.example/0123456789ab"));
	put(message);
}

/* What is for one domain is found without a look at what is for others, however
 * much that is: due, held, set aside, and under a route of its own. */
Test(alter, a_domain_is_no_walk_through_the_queue)
{
	struct engine_page read = {
		.max = 4,
		.selection = {.has_domain = true,
			      .domain = SLICE_LITERAL("d7.example")}};
	char text[64], directory[80];
	size_t found;

	for (unsigned i = 0; i < 400; i++) {
		CLEAN(message_unref_clean) struct message *message = NULL;

		snprintf(text, sizeof(text), "b@d%u.example", i % 40);
		message = message_make("a@example.org", text, 10);
		put(message);
		if (i == 47)
			alter(ALTER_HOLD, &message->id, "d7.example");
		if (i == 87)
			set_aside(&message->id, message->received_ms);
	}
	put_routed();
	snprintf(directory, sizeof(directory), "%s/queue", path);
	/* Seen again with each page of four, and read once. */
	cr_expect_leq(looks_of(directory, &read, &found), 3 * 11 + 11);
	cr_expect_eq(found, 11);
	read = (struct engine_page){.max = 4};
	cr_expect_geq(looks_of(directory, &read, &found), 402);
	cr_expect_eq(found, 402);
}

/* Read before the first start of this version has made what it lacks. */
Test(alter, a_store_from_before_there_were_held_ones_is_read)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", 10);
	struct engine_page read = {.max = 10};
	struct engine *engine = NULL;
	struct fault fault = {0};
	char name[80];
	MDB_txn *txn;

	put(message);
	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_drop(txn, store->engine->held, 1), 0);
	cr_assert_eq(mdb_txn_commit(txn), 0);
	snprintf(name, sizeof(name), "%s/queue", path);
	cr_assert(engine_open_reading(name, &engine, &fault), "%s",
		  fault.text);
	cr_expect(engine_read_page(engine, &read, NULL, NULL, &fault), "%s",
		  fault.text);
	cr_expect_eq(list_count(&read.deliveries), 1);
	deliveries_free(&read.deliveries);
	engine_close(engine);
}
