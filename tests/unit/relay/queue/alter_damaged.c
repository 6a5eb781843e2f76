#include "tests/unit/relay/queue/alter_stand.h"

#include <criterion/criterion.h>

#include <stdio.h>

#include "relay/queue/store_verify.h"

/* What the store makes of decisions about what is damaged, or set aside. */

TestSuite(alter_damaged, .init = alter_stand_init, .fini = alter_stand_done);

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

Test(alter_damaged, what_is_damaged_can_be_deleted)
{
	damaged_one(true, false);
	damaged_one(false, false);
	damaged_one(false, true);
}

/* The entry that goes with it is its own: another's would be tried no more. */
Test(alter_damaged, what_is_damaged_goes_alone)
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
Test(alter_damaged, what_is_damaged_and_held_goes_alone)
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
Test(alter_damaged, what_has_gone_or_is_damaged_is_not_moved)
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
Test(alter_damaged, what_was_set_aside_can_be_deleted)
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
Test(alter_damaged, what_was_set_aside_is_deleted_without_a_search)
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
Test(alter_damaged, a_broken_structure_is_no_damaged_record)
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
Test(alter_damaged, what_was_set_aside_and_can_be_read_is_due_again)
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
