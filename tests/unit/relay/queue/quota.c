#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/queue/quota.h"
#include "relay/queue/spool.h"
#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/store_stand.h"

#define HELD 100

static const struct quota_row {
	const char *name;
	uint64_t max, more;
	bool fits;
} quota_rows[] = {
	{"no limit", 0, UINT64_MAX / 2, true},
	{"room", 200, 99, true},
	{"exactly", 200, 100, true},
	{"one too many", 200, 101, false},
	{"it was lowered", 50, 1, false},
	{"more than there is", 200, UINT64_MAX, false},
};

Test(quota, reserves_up_to_the_bound)
{
	for (size_t i = 0; i < COUNT(quota_rows); i++) {
		const struct quota_row *row = &quota_rows[i];
		struct quota quota = {.incoming = HELD,
				      .incoming_max = row->max};

		cr_expect_eq(quota_may_reserve(&quota, row->more), row->fits,
			     "%s", row->name);
		cr_expect_eq(quota_reserve(&quota, row->more), row->fits, "%s",
			     row->name);
		if (row->fits)
			quota_release(&quota, row->more);
		cr_expect_eq(quota.incoming, HELD, "%s", row->name);
	}
}

Test(quota, nothing_announced_is_something)
{
	struct quota quota = {.incoming = HELD, .incoming_max = HELD};

	cr_expect_not(quota_may_reserve(&quota, 0));
	cr_expect(quota_reserve(&quota, 0));
}

static const struct fair_row {
	const char *name;
	uint64_t max, used, has, own, more;
	bool is_fair;
} fair_rows[] = {
	{"no limit", 0, 1000, 900, 0, 1000, true},
	{"the first message", 1000, 0, 0, 0, 1000, true},
	{"the first message, beside others", 1000, 900, 0, 0, 100, true},
	{"the first message grows", 1000, 900, 800, 800, 100, true},
	{"three quarters of it", 1000, 600, 600, 0, 150, true},
	{"more than that", 1000, 600, 600, 0, 152, false},
	{"the second grows beyond that", 1000, 750, 750, 150, 2, false},
	{"three sevenths beside another", 1000, 828, 400, 0, 28, true},
	{"more than that", 1000, 828, 400, 0, 32, false},
	{"a newcomer's second", 1000, 900, 10, 0, 10, true},
	{"no room at all is said as such", 1000, 900, 500, 0, 101, true},
	{"it was lowered", 500, 900, 500, 0, 1, true},
	{"more than there is", 1000, 900, 500, 0, UINT64_MAX, true},
};

Test(quota, is_fair_to_all)
{
	for (size_t i = 0; i < COUNT(fair_rows); i++) {
		const struct fair_row *row = &fair_rows[i];
		struct quota quota = {.incoming = row->used,
				      .incoming_max = row->max,
				      .held = row->used,
				      .held_max = row->max};
		struct quota_part part = {.incoming = row->has,
					  .held = row->has};

		cr_expect_eq(quota_is_fair(&quota, &part, row->own, row->more),
			     row->is_fair, "%s", row->name);
		cr_expect_eq(quota_is_fair_to_hold(&quota, &part, row->own,
						   row->more),
			     row->is_fair, "%s", row->name);
	}
}

Test(quota, counts_what_is_on_its_way)
{
	struct quota quota = {.messages_max = 3, .bytes_max = 1000};

	cr_expect(quota_has_place(&quota, 1, 100, 900));
	cr_expect_not(quota_has_place(&quota, 1, 100, 901));
	quota_enter(&quota, 500);
	cr_expect(quota_has_place(&quota, 1, 100, 400));
	cr_expect_not(quota_has_place(&quota, 1, 100, 401));
	quota_enter(&quota, 0);
	cr_expect_not(quota_has_place(&quota, 1, 100, 1), "messages");
	quota_leave(&quota, 500);
	cr_expect(quota_has_place(&quota, 1, 100, 900));
}

/* --- in the store --- */

static bool
put(size_t body_size, struct list *deliveries)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", body_size);
	struct fault fault = {0};

	return put_wait(store, &loop, message, deliveries, &fault);
}

Test(quota, the_queue_takes_no_more_than_it_may, .init = begin, .fini = finish)
{
	struct store_limits limits = {.memory_bytes = MIB, .messages = 2};
	CLEAN(message_unref_clean) struct message *report =
		message_make("", "a@example.org", 10);
	struct store_counters counters;
	struct quota_part part = {0};
	struct list deliveries;
	struct fault fault;
	struct delivery *first;

	report->is_report = true;
	list_init(&deliveries);
	store_set_limits(store, &limits);
	cr_assert(put(10, &deliveries));
	cr_assert(put(10, NULL));
	cr_expect_eq(store_lacks(store, 0), STORE_LACKS_PLACE);
	cr_expect_not(put(10, NULL));
	cr_expect_eq(fake_log_count("no-room", NULL), 1, "once a minute");

	/* A report of ours takes its original's place, and more. */
	first = CONTAINER(deliveries.next, struct delivery, link);
	first->recipients[0].outcome = OUTCOME_DEFERRED;
	cr_expect(settle_wait(store, &loop, first, 0, report, &fault));
	store_count(store, &counters);
	cr_expect_eq(counters.messages, 3);

	limits.messages = 0;
	limits.bytes = counters.message_bytes + 500;
	store_set_limits(store, &limits);
	cr_expect_eq(store_lacks(store, 500), STORE_LACKS_NOTHING);
	cr_expect_eq(store_lacks(store, 501), STORE_LACKS_PLACE);
	cr_expect_eq(store_lacks_for_new(store, &part, 0), STORE_LACKS_NOTHING);
	limits.incoming_bytes = 100;
	store_set_limits(store, &limits);
	cr_assert_eq(store_reserve(store, &part, 0, 100), STORE_LACKS_NOTHING);
	cr_expect_eq(store_lacks_for_new(store, &part, 0), STORE_LACKS_INTAKE);
	/* What is in already goes on. */
	cr_expect_eq(store_lacks(store, 500), STORE_LACKS_NOTHING);
	store_release(store, &part, 100);
	deliveries_free(&deliveries);
}

Test(quota, no_client_takes_all, .init = begin, .fini = finish)
{
	struct store_limits limits = {.incoming_bytes = 1000,
				      .held_bytes = 1000};
	struct quota_part one = {0}, other = {0};

	store_set_limits(store, &limits);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(store_lacks_for_new(store, &one, 250),
			     STORE_LACKS_NOTHING);
		cr_expect_eq(store_reserve(store, &one, 0, 250),
			     STORE_LACKS_NOTHING);
		cr_expect_eq(store_lacks_memory(store, &one, 0, 250),
			     STORE_LACKS_NOTHING);
		cr_expect_eq(store_hold(store, &one, 0, 250),
			     STORE_LACKS_NOTHING);
	}
	cr_expect_eq(store_lacks_for_new(store, &one, 250),
		     STORE_LACKS_INTAKE_PART);
	cr_expect_eq(store_reserve(store, &one, 0, 250),
		     STORE_LACKS_INTAKE_PART);
	cr_expect_eq(store_lacks_memory(store, &one, 0, 250),
		     STORE_LACKS_MEMORY_PART);
	cr_expect_eq(store_hold(store, &one, 0, 250), STORE_LACKS_MEMORY_PART);
	cr_expect_eq(fake_log_count("no-room", NULL), 2);
	/* What was not given is not counted. */
	cr_expect_eq(one.incoming, 750);
	cr_expect_eq(one.held, 750);

	cr_expect_eq(store_reserve(store, &other, 0, 250),
		     STORE_LACKS_NOTHING);
	cr_expect_eq(store_hold(store, &other, 0, 250), STORE_LACKS_NOTHING);
	cr_expect_eq(store_lacks_for_new(store, &one, 250), STORE_LACKS_INTAKE);
	cr_expect_eq(store_hold(store, &one, 0, 250), STORE_LACKS_MEMORY);
	store_release(store, &one, 750);
	store_let_go(store, &one, 750);
	store_release(store, &other, 250);
	store_let_go(store, &other, 250);
}

static const struct count_row {
	const char *name;
	bool is_dropped; /* as in a store of an older version; else damaged */
} count_rows[] = {
	{"not there", true},
	{"damaged", false},
};

Test(quota, what_cannot_be_read_is_counted_anew, .init = begin, .fini = finish)
{
	struct store_counters before, after;

	for (size_t i = 0; i < 3; i++)
		cr_assert(put(i * BODY_CHUNK, NULL));
	store_count(store, &before);
	cr_assert_eq(before.messages, 3);
	cr_assert_gt(before.message_bytes, 3 * BODY_CHUNK);
	for (size_t i = 0; i < COUNT(count_rows); i++) {
		const struct count_row *row = &count_rows[i];
		MDB_val name = {sizeof(COUNT_KEY) - 1, (void *)COUNT_KEY}, value;
		MDB_dbi about = store->engine->about;
		MDB_txn *txn;

		cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, 0, &txn),
			     0);
		cr_assert_eq(mdb_get(txn, about, &name, &value), 0);
		if (row->is_dropped) {
			cr_assert_eq(mdb_del(txn, about, &name, NULL), 0);
		} else {
			char copy[64] = "";

			cr_assert_lt(value.mv_size, sizeof(copy));
			memcpy(copy, value.mv_data, value.mv_size);
			copy[value.mv_size - 1] ^= 1;
			value.mv_data = copy;
			cr_assert_eq(mdb_put(txn, about, &name, &value, 0), 0);
		}
		cr_assert_eq(mdb_txn_commit(txn), 0);
		store_close(store);
		store = store_of(path);
		store_count(store, &after);
		cr_expect_eq(after.messages, before.messages, "%s", row->name);
		cr_expect_eq(after.message_bytes, before.message_bytes, "%s",
			     row->name);
	}
}
