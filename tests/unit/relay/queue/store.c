#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/queue/spool.h"
#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/store_stand.h"

static void
reopen(void)
{
	store_close(store);
	store = store_of(path);
}

static const struct put_row {
	const char *name, *recipients;
	size_t body_size, destinations;
	const char *destination;
	size_t there;
} put_rows[] = {
	{"one recipient", "a@x.example", 100, 1, "x.example", 1},
	{"no body", "a@x.example", 0, 1, "x.example", 1},
	{"two at one destination", "a@x.example b@x.example", 4096, 1,
	 "x.example", 2},
	{"two destinations, mixed",
	 "a@x.example b@y.example c@x.example d@y.example e@x.example", 5000,
	 2, "x.example", 3},
	{"one chunk exactly", "a@x.example", BODY_CHUNK, 1, "x.example", 1},
	{"a byte more", "a@x.example", BODY_CHUNK + 1, 1, "x.example", 1},
	{"the largest in the store", "a@x.example", BODY_INLINE_MAX, 1,
	 "x.example", 1},
};

static void
expect_body(struct message *message, size_t size, const char *name)
{
	CLEAN(text_done) struct text body = {0};
	struct fault fault = {0};
	size_t wrong = 0;

	cr_expect(body_wait(store, &loop, message, &body, &fault), "%s: %s",
		  name, fault.text);
	cr_expect_eq(body.len, size, "%s: body has %zu bytes", name, body.len);
	for (size_t i = 0; i < body.len; i++)
		wrong += body.bytes[i] != message_byte(i);
	cr_expect_eq(wrong, 0, "%s: %zu bytes differ", name, wrong);
}

static void
put_read_settle(const struct put_row *row)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", row->recipients,
			     row->body_size);
	struct list deliveries, read;
	struct fault fault = {0};
	struct delivery *delivery;

	list_init(&deliveries);
	list_init(&read);
	cr_assert(put_wait(store, &loop, message, &deliveries, &fault),
		  "%s: %s", row->name, fault.text);
	cr_expect_eq(list_count(&deliveries), row->destinations, "%s",
		     row->name);
	reopen();
	cr_assert(due_wait(store, &loop, row->destination, UINT64_MAX, 10,
			   &read, NULL, &fault));
	cr_expect_eq(list_count(&read), 1, "%s", row->name);
	delivery = first(&read);
	cr_expect(message_id_eq(&delivery->message->id, &message->id));
	cr_expect_eq(delivery->recipients_count, row->there, "%s", row->name);
	cr_expect(slice_eq(delivery->message->reverse_path,
			   message->reverse_path));
	cr_expect(slice_eq(delivery->message->prefix, message->prefix));
	expect_body(delivery->message, row->body_size, row->name);

	deliveries_free(&read);
	LIST_EACH (item, &deliveries) {
		delivery = CONTAINER(item, struct delivery, link);
		for (size_t i = 0; i < delivery->recipients_count; i++)
			delivery->recipients[i].outcome = OUTCOME_DELIVERED;
		cr_expect(settle_wait(store, &loop, delivery, 0, NULL,
				      &fault));
	}
	deliveries_free(&deliveries);
	cr_assert(due_wait(store, &loop, row->destination, UINT64_MAX, 10,
			   &read, NULL, &fault));
	cr_expect(list_is_empty(&read), "%s: something is left", row->name);
	deliveries_free(&read);
}

Test(store, put_read_settle, .init = begin, .fini = finish)
{
	for (size_t i = 0; i < COUNT(put_rows); i++)
		put_read_settle(&put_rows[i]);
}

static const struct kind_row {
	int status;
	enum fault_kind kind;
} kind_rows[] = {
	{MDB_MAP_FULL, FAULT_LIMIT},   {MDB_TXN_FULL, FAULT_LIMIT},
	{ENOSPC, FAULT_LIMIT},	       {EDQUOT, FAULT_LIMIT},
	{EFBIG, FAULT_LIMIT},
	{EACCES, FAULT_DENIED},	       {EPERM, FAULT_DENIED},
	{EROFS, FAULT_DENIED},	       {EIO, FAULT_SYSTEM},
	{MDB_READERS_FULL, FAULT_SYSTEM},
};

/* Of a LIMIT a client hears, and all goes on. */
Test(store, tells_a_full_disk_from_a_broken_one)
{
	for (size_t i = 0; i < COUNT(kind_rows); i++) {
		struct fault fault = {0};

		engine_fault_fill(&fault, kind_rows[i].status, "write");
		cr_expect_eq(fault.kind, kind_rows[i].kind, "%s", fault.text);
	}
}

static void
expect_counted(uint64_t expected)
{
	uint64_t messages, bytes;

	engine_count_messages(store->engine, &messages, &bytes);
	cr_expect_eq(messages, expected);
}

/* No thread of the store's has anything to do meanwhile. */
static void
engine_put_one(const char *to, bool is_kept)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", to, 100);
	struct list none;

	list_init(&none);
	cr_assert(engine_begin(store->engine, NULL));
	cr_assert(engine_put(store->engine, message, &none, NULL));
	if (is_kept)
		cr_assert(engine_commit(store->engine, NULL));
	else
		engine_abort(store->engine);
}

Test(store, what_was_not_committed_is_not_counted, .init = begin, .fini = finish)
{
	engine_put_one("a@x.example", true);
	engine_put_one("b@x.example", false);
	expect_counted(1);
	engine_put_one("c@x.example", true);
	expect_counted(2);
}

/* A message has one delivery at a destination: whom another one is for would be
 * lost with its record. */
Test(store, no_delivery_is_moved_over_another, .init = begin, .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example b@y.example", 100);
	struct delivery *moved = NULL;
	struct fault fault = {0};
	struct list deliveries;

	list_init(&deliveries);
	cr_assert(put_wait(store, &loop, message, &deliveries, &fault));
	cr_assert(engine_begin(store->engine, &fault));
	cr_expect_not(engine_move(store->engine, first(&deliveries),
				  SLICE(slice_eq(first(&deliveries)->destination,
						 SLICE("x.example"))
						? "y.example"
						: "x.example"),
				  &moved, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY, "%s", fault.text);
	engine_abort(store->engine);
	deliveries_free(&deliveries);
}

Test(store, deferred_recipients_stay_with_their_state, .init = begin,
     .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("", "a@x.example b@x.example c@x.example", 10);
	struct list deliveries;
	struct delivery *delivery;
	uint64_t next_ms = 0;

	list_init(&deliveries);
	cr_assert(put_wait(store, &loop, message, &deliveries, NULL));
	delivery = first(&deliveries);
	delivery->recipients[0].outcome = OUTCOME_DELIVERED;
	delivery->recipients[1].outcome = OUTCOME_DEFERRED;
	delivery->recipients[1].attempts = 3;
	delivery->recipients[1].reply = SLICE("450 4.2.0 later");
	delivery->recipients[1].mx = SLICE("mx.example.net");
	delivery->recipients[2].outcome = OUTCOME_FAILED;
	cr_assert(settle_wait(store, &loop, delivery, 5000000000000, NULL,
			      NULL));
	deliveries_free(&deliveries);
	reopen();
	cr_assert(due_wait(store, &loop, "x.example", 4999999999999, 10,
			   &deliveries, &next_ms, NULL));
	cr_expect(list_is_empty(&deliveries));
	cr_expect_eq(next_ms, 5000000000000);
	cr_assert(due_wait(store, &loop, "x.example", 5000000000000, 10,
			   &deliveries, &next_ms, NULL));
	cr_assert_eq(list_count(&deliveries), 1);
	cr_expect_eq(next_ms, 0);
	delivery = first(&deliveries);
	cr_assert_eq(delivery->recipients_count, 1);
	cr_expect_eq(delivery->recipients[0].number, 1);
	cr_expect_eq(delivery->message->recipients_count, 1,
		     "who else the message is for takes no memory");
	cr_expect_eq(delivery->recipients[0].attempts, 3);
	cr_expect(slice_eq(delivery->recipients[0].reply,
			   SLICE("450 4.2.0 later")));
	cr_expect(slice_eq(delivery->recipients[0].mx,
			   SLICE("mx.example.net")));
	deliveries_free(&deliveries);
}

Test(store, a_report_comes_with_the_settlement, .init = begin, .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", "a@x.example", 10);
	CLEAN(message_unref_clean) struct message *report =
		message_make("", "from@example.org", 2000);
	struct list deliveries;

	list_init(&deliveries);
	report->is_report = true;
	cr_assert(put_wait(store, &loop, message, &deliveries, NULL));
	first(&deliveries)->recipients[0].outcome = OUTCOME_FAILED;
	cr_assert(settle_wait(store, &loop, first(&deliveries), 0, report,
			      NULL));
	deliveries_free(&deliveries);
	reopen();
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	cr_expect(list_is_empty(&deliveries));
	cr_assert(due_wait(store, &loop, "example.org", UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	cr_assert_eq(list_count(&deliveries), 1);
	cr_expect(first(&deliveries)->message->is_report);
	deliveries_free(&deliveries);
}

Test(store, pages_through_what_is_due, .init = begin, .fini = finish)
{
	struct list deliveries;
	struct store_read_due *read;
	size_t seen = 0;

	list_init(&deliveries);
	for (int i = 0; i < 25; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("", "a@x.example b@x.example.org", 10);

		cr_assert(put_wait(store, &loop, message, NULL, NULL));
	}
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	seen = list_count(&deliveries);
	cr_expect_eq(seen, 10);
	read = NULL;
	(void)read;
	deliveries_free(&deliveries);
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, 100,
			   &deliveries, NULL, NULL));
	cr_expect_eq(list_count(&deliveries), 25);
	deliveries_free(&deliveries);
}

/* The store thread has nothing to do meanwhile. */
static void
write_delivery(const struct message_id *id, const char *destination,
	       struct slice record)
{
	MDB_val name, value = {record.len, (void *)record.bytes};
	struct record_key key;
	MDB_txn *txn;

	record_key_delivery(&key, id, SLICE(destination));
	name = val_of_key(&key);
	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_put(txn, store->engine->deliveries, &name, &value, 0),
		     0);
	cr_assert_eq(mdb_txn_commit(txn), 0);
}

static void
spoil(const struct message_id *id, const char *destination)
{
	write_delivery(id, destination, SLICE("spoilt"));
}

static void
count_damaged(void *owner, struct slice destination, uint64_t due_ms,
	      const struct message_id *id, const struct fault *fault)
{
	(void)destination;
	(void)due_ms;
	(void)id;
	cr_expect_eq(fault->kind, FAULT_INPUT);
	++*(size_t *)owner;
}

/* However much is damaged, a read finds no more at once than it was asked for,
 * and the next one goes on behind it. */
Test(store, what_is_damaged_counts_as_read, .init = begin, .fini = finish)
{
	struct engine_due due = {.destination = SLICE("x.example"),
				 .until_ms = UINT64_MAX,
				 .max = 3};
	size_t damaged = 0, reads = 0, whole = 0;

	for (size_t i = 0; i < 10; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("", "a@x.example", 10);

		message->received_ms = 1000 + i;
		cr_assert(put_wait(store, &loop, message, NULL, NULL));
		if (i != 8)
			spoil(&message->id, "x.example");
	}
	do {
		list_init(&due.deliveries);
		due.has_more = false;
		due.next_due_ms = 0;
		cr_assert(engine_read_due(store->engine, &due, count_damaged,
					  &damaged, NULL));
		whole += list_count(&due.deliveries);
		reads++;
		cr_expect_leq(damaged + whole, 3 * reads);
		deliveries_free(&due.deliveries);
	} while (due.has_more && reads < 20);
	cr_expect_eq(damaged, 9);
	cr_expect_eq(whole, 1);
	cr_expect_eq(reads, 4);
	cr_expect_eq(due.next_due_ms, 0);
}

static size_t
table_size(MDB_dbi table)
{
	MDB_stat stat;
	MDB_txn *txn;

	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, MDB_RDONLY, &txn),
		     0);
	cr_assert_eq(mdb_stat(txn, table, &stat), 0);
	mdb_txn_abort(txn);
	return stat.ms_entries;
}

/* Read as damaged, and deleted before it is set aside: that would be for ever. */
Test(store, nothing_is_set_aside_that_has_gone, .init = begin, .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("", "a@x.example", 10);
	struct fault fault = {.kind = FAULT_INPUT, .text = "damaged"};

	message->received_ms = 1000;
	cr_assert(put_wait(store, &loop, message, NULL, NULL));
	spoil(&message->id, "x.example");
	store_set_aside(store, SLICE("x.example"), 1000, &message->id, &fault);
	cr_assert(store_flush(store, 60 * SECOND));
	cr_expect_eq(table_size(store->engine->damaged), 1);
	store_set_aside(store, SLICE("y.example"), 1000, &message->id, &fault);
	cr_assert(store_flush(store, 60 * SECOND));
	cr_expect_eq(table_size(store->engine->damaged), 1);
	cr_expect_eq(table_size(store->engine->due), 0);
}

static void
delivery_record(const struct message_id *id, struct text *out)
{
	struct record_key key;
	struct slice record;
	MDB_txn *txn;

	record_key_delivery(&key, id, SLICE("x.example"));
	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, MDB_RDONLY, &txn),
		     0);
	cr_assert(engine_get(txn, store->engine->deliveries, &key, &record,
			     NULL));
	text_add(out, record);
	mdb_txn_abort(txn);
}

static size_t
due_count(void)
{
	struct list deliveries;
	size_t count;

	list_init(&deliveries);
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	count = list_count(&deliveries);
	deliveries_free(&deliveries);
	cr_assert(store_flush(store, 60 * SECOND));
	return count;
}

/* A disk that gave something else for a while costs no message. */
Test(store, what_can_be_read_again_is_due_again, .init = begin, .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("", "a@x.example", 10);
	CLEAN(text_done) struct text record = {0};

	cr_assert(put_wait(store, &loop, message, NULL, NULL));
	delivery_record(&message->id, &record);
	spoil(&message->id, "x.example");
	cr_expect_eq(due_count(), 0);
	reopen();
	cr_expect_eq(due_count(), 0);
	cr_expect_eq(table_size(store->engine->damaged), 1);
	write_delivery(&message->id, "x.example", text_slice(&record));
	reopen();
	cr_expect_eq(table_size(store->engine->damaged), 0);
	cr_expect_eq(due_count(), 1);
}

struct seen {
	unsigned count;
	char names[256];
};

static void
see(void *owner, struct slice destination, uint64_t due_ms)
{
	struct seen *seen = owner;

	cr_expect_gt(due_ms, 0);
	seen->count++;
	strncat(seen->names, destination.bytes, destination.len);
	strcat(seen->names, " ");
}

Test(store, lists_each_destination_once, .init = begin, .fini = finish)
{
	struct seen seen = {0};

	for (int i = 0; i < 5; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("", "a@x.example b@x.example.org "
					 "c@xx.example d@[192.0.2.1]", 10);

		cr_assert(put_wait(store, &loop, message, NULL, NULL));
	}
	reopen();
	cr_assert(store_each_destination(store, see, &seen, NULL));
	cr_expect_eq(seen.count, 4);
	cr_expect_str_eq(seen.names,
			 "[192.0.2.1] x.example x.example.org xx.example ");
}

Test(store, a_second_relay_is_refused, .init = begin, .fini = finish)
{
	struct store *second;
	struct fault fault = {0};
	char pid[32];

	cr_assert_not(store_open(path, 0, &second, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
	snprintf(pid, sizeof(pid), "process %ld", (long)getppid());
	cr_expect_neq(strstr(fault.text, pid), NULL, "%s", fault.text);
}

Test(store, refuses_below_the_low_water_mark, .init = begin, .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("", "a@x.example", 10);
	CLEAN(message_unref_clean) struct message *second =
		message_make("", "a@x.example", 10);
	struct list deliveries;
	struct fault fault = {0};

	list_init(&deliveries);
	cr_assert(put_wait(store, &loop, message, &deliveries, &fault));
	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 1 << 20,
			.min_free_bytes = UINT64_MAX / 4});
	cr_expect_eq(store_lacks(store, 0), STORE_LACKS_DISK);
	cr_expect_not(put_wait(store, &loop, second, NULL, &fault));
	cr_expect_eq(fault.kind, FAULT_LIMIT);
	/* outcomes go on */
	first(&deliveries)->recipients[0].outcome = OUTCOME_DELIVERED;
	cr_expect(settle_wait(store, &loop, first(&deliveries), 0, NULL,
			      &fault));
	deliveries_free(&deliveries);
	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 1 << 20,
			.min_free_bytes = 0});
	cr_expect_eq(store_lacks(store, 0), STORE_LACKS_NOTHING);
	cr_expect(put_wait(store, &loop, second, NULL, &fault));
}

/* Of one that has been settled while somebody who needs it no more was still
 * reading it. */
Test(store, what_is_gone_is_not_damaged, .init = begin, .fini = finish)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", "a@x.example", 5000);
	CLEAN(message_unref_clean) struct message *stored = NULL;
	struct store_counters counters;
	struct list deliveries;
	struct delivery *delivery;

	list_init(&deliveries);
	cr_assert(put_wait(store, &loop, message, NULL, NULL));
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	delivery = first(&deliveries);
	stored = message_ref(delivery->message);
	expect_body(stored, 5000, "while it is there");
	delivery->recipients[0].outcome = OUTCOME_DELIVERED;
	cr_assert(settle_wait(store, &loop, delivery, 0, NULL, NULL));
	deliveries_free(&deliveries);
	for (unsigned is_file = 0; is_file < 2; is_file++) {
		CLEAN(text_done) struct text body = {0};
		struct fault fault = {0};

		stored->body.is_file = is_file == 1;
		cr_expect_not(body_wait(store, &loop, stored, &body, &fault));
		cr_expect_eq(fault.kind, FAULT_ABSENT, "%s", fault.text);
	}
	store_count(store, &counters);
	cr_expect_eq(counters.damaged, 0);
	cr_expect_eq(fake_log_count("damaged ", NULL), 0);
}
