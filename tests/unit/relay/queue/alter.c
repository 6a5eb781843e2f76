#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "relay/queue/store_verify.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/* What the store makes of an administrator's decisions. */

#define NOW_MS ((uint64_t)2000000000000)
#define LATER_MS (NOW_MS + HOUR)

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;

static void
start(void)
{
	stand_begin(path, &store, &loop, &keep);
}

static void
end(void)
{
	stand_end(path, store, &loop, &keep);
	fake_log_clear();
}

static bool is_done;
static struct fault last_fault;

static void
run_until_done(void)
{
	while (!is_done)
		uv_run(&loop.uv, UV_RUN_ONCE);
}

static void
alter_done(struct store_alter *alter, const struct fault *fault)
{
	(void)alter;
	is_done = true;
	last_fault = fault != NULL ? *fault : (struct fault){0};
}

static struct store_alter_row
alter(enum alteration alteration, const struct message_id *id,
      const char *destination)
{
	struct store_alter_row row = {.id = *id,
				      .destination = SLICE(destination)};
	struct store_alter alter = {.alteration = alteration,
				    .now_ms = NOW_MS,
				    .rows = &row,
				    .count = 1,
				    .loop = &loop,
				    .done = alter_done};

	is_done = false;
	store_alter(store, &alter);
	run_until_done();
	cr_expect_eq(last_fault.kind, FAULT_NONE, "%s", last_fault.text);
	cr_expect_gt(alter.version, 0);
	return row;
}

static void
put_done(struct store_put *put, const struct fault *fault)
{
	is_done = true;
	cr_assert_null(fault);
	deliveries_free(&put->deliveries);
}

static void
put(struct message *message)
{
	struct store_put put = {.message = message,
				.loop = &loop,
				.done = put_done};

	is_done = false;
	store_put(store, &put);
	run_until_done();
}

static struct store_read_page page;

static void
page_done(struct store_read_page *read, const struct fault *fault)
{
	(void)read;
	is_done = true;
	last_fault = fault != NULL ? *fault : (struct fault){0};
}

static size_t damages_seen;

/* The caller frees its deliveries. */
static size_t
page_read(void)
{
	struct list *item;

	page.loop = &loop;
	page.done = page_done;
	page.max = page.max == 0 ? STORE_PAGE_MAX : page.max;
	is_done = false;
	store_read_page(store, &page);
	run_until_done();
	damages_seen = list_count(&page.damages);
	while ((item = list_take_first(&page.damages)) != NULL)
		free(CONTAINER(item, struct store_damage, link));
	return list_count(&page.deliveries);
}

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

Test(alter, each_alteration_of_each_state, .init = start, .fini = end)
{
	for (size_t i = 0; i < COUNT(alter_rows); i++)
		alter_one(&alter_rows[i]);
}

Test(alter, a_message_goes_with_its_last_delivery, .init = start, .fini = end)
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

Test(alter, a_selection_in_pages, .init = start, .fini = end)
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

/* As what cannot be read is: the store thread has nothing to do meanwhile. */
static void
set_aside(const struct message_id *id, uint64_t due_ms)
{
	cr_assert(engine_begin(store->engine, NULL));
	cr_assert(engine_set_aside(store->engine, SLICE("d7.example"), due_ms,
				   id, SLICE("spoilt"), NULL));
	cr_assert(engine_commit(store->engine, NULL));
}

/* What is for one domain is found without a look at what is for others, however
 * much that is: due, held, set aside, and under a route of its own. */
Test(alter, a_domain_is_no_walk_through_the_queue, .init = start, .fini = end)
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

/* Spoils a record; the store thread has nothing to do meanwhile. */
static void
spoil(MDB_dbi table, struct record_key key)
{
	MDB_val name = val_of_key(&key), value = {6, (void *)"spoilt"};
	MDB_txn *txn;

	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_put(txn, table, &name, &value, 0), 0);
	cr_assert_eq(mdb_txn_commit(txn), 0);
}

/* As the next start will. */
static void
expect_sound(void)
{
	struct fault fault = {0};
	char name[96];

	snprintf(name, sizeof(name), "%s/queue/data.mdb", path);
	cr_expect(store_verify(name, 0, &fault), "%s", fault.text);
}

static void
damaged_one(bool is_message, bool is_held)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", 10);
	struct message_id id = message->id;
	struct record_key key;
	struct store_counters counters;

	put(message);
	if (is_held)
		cr_assert_eq(alter(ALTER_HOLD, &id, "x.example").altered,
			     ALTERED);
	if (is_message)
		record_key_message(&key, &id, 0);
	else
		record_key_delivery(&key, &id, SLICE("x.example"));
	spoil(is_message ? store->engine->messages : store->engine->deliveries,
	      key);
	page = (struct store_read_page){.is_one = true, .after = id};
	cr_expect_eq(page_read(), 0);
	cr_expect_eq(damages_seen, 1);
	/* Whose it is, is unknown. */
	page = (struct store_read_page){.selection = {.has_sender = true}};
	cr_expect_eq(page_read(), 0);
	if (is_message)
		cr_expect_eq(damages_seen, 0);
	if (!is_message)
		cr_expect_eq(alter(ALTER_HOLD, &id, "x.example").altered,
			     ALTERED_DAMAGED);
	cr_expect_eq(alter(ALTER_DELETE, &id, "x.example").altered, ALTERED);
	store_count(store, &counters);
	cr_expect_eq(counters.deliveries, 0);
	cr_expect_eq(counters.due, 0);
	cr_expect_eq(counters.held, 0);
	expect_sound();
	page = (struct store_read_page){0};
	cr_expect_eq(page_read(), 0);
	cr_expect_eq(damages_seen, 0);
}

Test(alter, what_is_damaged_can_be_deleted, .init = start, .fini = end)
{
	damaged_one(true, false);
	damaged_one(false, false);
	damaged_one(false, true);
}

/* The entry that goes with it is its own: another's would be tried no more. */
Test(alter, what_is_damaged_goes_alone, .init = start, .fini = end)
{
	static const char *const to[] = {"b@w.example", "b@x.example",
					 "b@x.example", "b@x.example",
					 "b@y.example"};
	struct store_counters counters;
	struct message_id damaged = {{0}};
	struct record_key key;

	for (size_t i = 0; i < COUNT(to); i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("a@example.org", to[i], 10);

		message->received_ms = 1000 + i;
		if (i == 2)
			damaged = message->id;
		put(message);
	}
	record_key_delivery(&key, &damaged, SLICE("x.example"));
	spoil(store->engine->deliveries, key);
	cr_expect_eq(alter(ALTER_DELETE, &damaged, "x.example").altered,
		     ALTERED);
	store_count(store, &counters);
	cr_expect_eq(counters.deliveries, COUNT(to) - 1);
	cr_expect_eq(counters.due, COUNT(to) - 1);
	expect_sound();
}

/* Nor is it looked for where the message's other one is. */
Test(alter, what_is_damaged_and_held_goes_alone, .init = start, .fini = end)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"a@example.org", "b@x.example b@y.example", 10);
	struct store_counters counters;
	struct record_key key;

	put(message);
	cr_expect_eq(alter(ALTER_HOLD, &message->id, "x.example").altered,
		     ALTERED);
	record_key_delivery(&key, &message->id, SLICE("x.example"));
	spoil(store->engine->deliveries, key);
	cr_expect_eq(alter(ALTER_DELETE, &message->id, "x.example").altered,
		     ALTERED);
	store_count(store, &counters);
	cr_expect_eq(counters.deliveries, 1);
	cr_expect_eq(counters.due, 1);
	cr_expect_eq(counters.held, 0);
	expect_sound();
}

static void
move_done(struct store_move *move, const struct fault *fault)
{
	(void)move;
	is_done = true;
	last_fault = fault != NULL ? *fault : (struct fault){0};
}

/* To z.example, from where its record says, or said, that it is. */
static enum fault_kind
move(struct message *message)
{
	struct delivery delivery = {
		.message = message,
		.destination = message->recipients[0].destination,
		.due_ms = message->received_ms};
	struct store_move moving = {.delivery = &delivery,
				    .destination = SLICE("z.example"),
				    .loop = &loop,
				    .done = move_done};

	is_done = false;
	store_move(store, &moving);
	run_until_done();
	deliveries_free(&moving.deliveries);
	return last_fault.kind;
}

/* One that cannot be moved is no end of the store. */
Test(alter, what_has_gone_or_is_damaged_is_not_moved, .init = start,
     .fini = end)
{
	CLEAN(message_unref_clean) struct message *deleted = message_make(
		"a@example.org", "b@x.example", 10);
	CLEAN(message_unref_clean) struct message *damaged = message_make(
		"a@example.org", "b@y.example", 10);
	struct store_counters counters;
	struct record_key key;

	put(deleted);
	put(damaged);
	cr_expect_eq(alter(ALTER_DELETE, &deleted->id, "x.example").altered,
		     ALTERED);
	cr_expect_eq(move(deleted), FAULT_ABSENT, "%s", last_fault.text);
	record_key_delivery(&key, &damaged->id, SLICE("y.example"));
	spoil(store->engine->deliveries, key);
	cr_expect_eq(move(damaged), FAULT_SYSTEM, "%s", last_fault.text);
	put(deleted);
	cr_expect_eq(move(deleted), FAULT_NONE, "%s", last_fault.text);
	store_count(store, &counters);
	cr_expect_eq(counters.deliveries, 2);
}

static void
expect_nothing_aside(void)
{
	MDB_stat stat;
	MDB_txn *txn;

	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, MDB_RDONLY, &txn),
		     0);
	cr_assert_eq(mdb_stat(txn, store->engine->damaged, &stat), 0);
	mdb_txn_abort(txn);
	cr_expect_eq(stat.ms_entries, 0);
}

/* It is not among what is due, but there is a record of why. */
Test(alter, what_was_set_aside_can_be_deleted, .init = start, .fini = end)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@d7.example", 10);

	put(message);
	set_aside(&message->id, message->received_ms);
	cr_expect_eq(alter(ALTER_DELETE, &message->id, "d7.example").altered,
		     ALTERED);
	expect_nothing_aside();
}

static unsigned steps;

int __real_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data,
			  MDB_cursor_op op);
int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data,
			  MDB_cursor_op op);

int
__wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data,
		      MDB_cursor_op op)
{
	steps++;
	return __real_mdb_cursor_get(cursor, key, data, op);
}

/* However much else its destination has. */
Test(alter, what_was_set_aside_is_deleted_without_a_search, .init = start,
     .fini = end)
{
	CLEAN(message_unref_clean) struct message *message = NULL;
	struct record_key key;

	for (unsigned i = 0; i < 100; i++) {
		message_unref_clean(&message);
		message = message_make("a@example.org", "b@d7.example", 10);
		put(message);
	}
	record_key_delivery(&key, &message->id, SLICE("d7.example"));
	spoil(store->engine->deliveries, key);
	set_aside(&message->id, message->received_ms);
	steps = 0;
	cr_expect_eq(alter(ALTER_DELETE, &message->id, "d7.example").altered,
		     ALTERED);
	cr_expect_lt(steps, 20, "%u steps", steps);
	expect_sound();
}

static unsigned broken; /* pages of this table */
static bool is_spent;

int __real_mdb_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *data);
int __wrap_mdb_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *data);

int
__wrap_mdb_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *data)
{
	/* The transaction that has met with it is good for nothing more. */
	if (is_spent)
		return MDB_BAD_TXN;
	is_spent = broken != 0 && table == broken;
	return is_spent ? MDB_PAGE_NOTFOUND
			: __real_mdb_get(txn, table, key, data);
}

static void
expect_broken(MDB_dbi table)
{
	struct fault fault = {0};
	size_t count;

	broken = table;
	cr_expect_not(engine_take_back_readable(store->engine, &count, &fault));
	cr_expect(engine_is_damaged(&fault), "%u: %s", table, fault.text);
	broken = 0;
	is_spent = false;
}

/* Or all behind it would stay set aside, and nobody mend it. */
Test(alter, a_broken_structure_is_no_damaged_record, .init = start, .fini = end)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@d7.example", 10);
	struct fault fault = {0};
	size_t count;

	put(message);
	set_aside(&message->id, message->received_ms);
	expect_broken(store->engine->messages);
	expect_broken(store->engine->deliveries);
	cr_expect(engine_take_back_readable(store->engine, &count, &fault));
	cr_expect_eq(count, 1);
	expect_sound();
}

/* What was wrong with it has passed: it is tried, and not only said to be due. */
Test(alter, what_was_set_aside_and_can_be_read_is_due_again, .init = start,
     .fini = end)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@d7.example", 10);
	struct store_counters counters;

	put(message);
	set_aside(&message->id, message->received_ms);
	cr_expect_eq(alter(ALTER_RETRY, &message->id, "d7.example").altered,
		     ALTERED);
	store_count(store, &counters);
	cr_expect_eq(counters.due, 1);
	expect_nothing_aside();
	expect_sound();
}

/* Read before the first start of this version has made what it lacks. */
Test(alter, a_store_from_before_there_were_held_ones_is_read, .init = start,
     .fini = end)
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
