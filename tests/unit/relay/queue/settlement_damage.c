#include "tests/unit/relay/queue/settlement_stand.h"

/* Messages of which the store has lost something. */

static struct recipient_result
damaged(const struct delivery *delivery, size_t recipient)
{
	struct recipient_result found =
		result(OUTCOME_FAILED, "the message was damaged");

	if (delivery->message->is_report)
		return result(OUTCOME_DELIVERED, "250 ok");
	if (recipient > 0)
		return result(OUTCOME_DELIVERED, "250 ok");
	found.status = SLICE("5.3.0");
	found.is_damage = true;
	return found;
}

/* Its sender is told at once; what is left of it stays, tried no more. */
Test(settlement_damage, a_damaged_message_fails_and_is_kept, .init = begin,
     .fini = stop_all)
{
	struct store_counters counters;

	begin_schedule();
	run_loops();
	decide = damaged;
	put("from@example.org", "a@x.example b@x.example", true);
	cr_expect(wait_gone(2));
	cr_expect_eq(attempts_count, 2, "the message's and the report's");
	cr_expect_eq(fake_log_count("bounced ", "status=5.3.0"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=b@x.example"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	store_count(store, &counters);
	cr_expect_eq(counters.deliveries, 1);
	cr_expect_eq(counters.held, 1);
	cr_expect_eq(counters.due, 0);
}

static bool
is_kept(void)
{
	struct store_counters counters;

	store_count(store, &counters);
	return counters.held == 1 && counters.deliveries == 1;
}

static const struct put_off_row {
	const char *name;
	unsigned signing_failures, failing_stores;
	bool all_fail;
} put_off_rows[] = {
	{"no signature", 1, 0, false},
	{"no room for the report", 0, 1, false},
	{"nor for what is put off", 0, 2, true},
	{"again and again", 2, 1, false},
};

/* Damaged, and the report comes later: it is kept then, and not before; who
 * releases it has it tried again where it belongs. */
static void
damage_test(const struct put_off_row *row)
{
	struct message_id id;

	begin();
	begin_schedule();
	failing_stores = row->failing_stores;
	all_fail = row->all_fail;
	begin_reports(damaged, row->signing_failures);
	id = put("from@example.org", "a@x.example b@x.example", true);
	cr_expect(wait_for(is_told), "%s", row->name);
	cr_expect(wait_for(is_kept), "%s", row->name);
	cr_expect_eq(attempts_count, 2, "%s", row->name);
	cr_expect_eq(fake_log_count("bounced ", "status=5.3.0"), 1, "%s",
		     row->name);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1,
		     "%s", row->name);
	decide = always_delivered;
	cr_expect_eq(alter(ALTER_RELEASE, id, REPORTS(0), clock_wall_ms()), ALTERED, "%s",
		     row->name);
	cr_expect(wait_delivered(3), "%s", row->name);
	cr_expect_str_eq(attempts[2].destination, "x.example", "%s",
			 row->name);
	cr_expect_eq(fake_log_count("delivered ", "to=a@x.example"), 1, "%s",
		     row->name);
	stop_all();
}

Test(settlement_damage, damage_is_kept_once_its_report_is_made)
{
	for (size_t i = 0; i < COUNT(put_off_rows); i++)
		damage_test(&put_off_rows[i]);
}

static struct recipient_result
damaged_and_others(const struct delivery *delivery, size_t recipient)
{
	const struct recipient_result others[] = {
		damaged(delivery, 0),
		result(OUTCOME_FAILED, "550 5.1.1 no such user"),
		result(OUTCOME_DEFERRED, "450 4.2.0 later"),
	};

	return delivery->message->is_report
		       ? others[0]
		       : others[delivery->recipients[recipient].number];
}

static bool
one_of_two_is_held(void)
{
	struct store_counters counters;

	store_count(store, &counters);
	return counters.held == 1 && counters.deliveries == 2;
}

/* Nobody is to be told of it; but the report of another is put off, and a third
 * is tried again. */
Test(settlement_damage, damage_that_nobody_hears_of_is_kept, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example b@x.example c@x.example", 500);

	message->recipients[0].notify = NOTIFY_NEVER;
	begin_schedule();
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	begin_reports(damaged_and_others, 1);
	put_message(message, true);
	cr_expect(wait_for(is_told));
	cr_expect(wait_for(one_of_two_is_held));
	cr_expect_eq(attempts_count, 2);
}
