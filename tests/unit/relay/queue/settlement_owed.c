#include "tests/unit/relay/queue/schedule_stand.h"

/* Reports that are put off: what is stored of them, and who is told again. */

static void
begin_owed(struct recipient_result (*wanted)(const struct delivery *delivery,
					     size_t recipient),
	   unsigned failures)
{
	begin_schedule();
	/* Nothing but what is asked for comes within the test. */
	schedule->report_retry_ms = SETTLE_REPORT_RETRY_MAX_MS;
	decide = wanted;
	signatures_wanted = 1;
	signing_failures = failures;
	run_loops();
}

/* The report that is stored for the first recipient. */
static struct delivery *
stored_report(void)
{
	struct list deliveries, *item;

	list_init(&deliveries);
	cr_assert(due_wait(store, &main_loop, "x.example/report-00000000",
			   UINT64_MAX, 10, &deliveries, NULL, NULL));
	cr_assert_eq(list_count(&deliveries), 1);
	item = list_take_first(&deliveries);
	return CONTAINER(item, struct delivery, link);
}

static bool
is_put_off(void)
{
	return gone_count == 1;
}

/* Waits for as long as the stored one is still the one that was asked for. */
static struct delivery *
stored_after_asking(void)
{
	uint64_t until_ms = clock_now_ms() + MINUTE;
	struct delivery *delivery = stored_report();

	while (delivery->is_owed_attempt && clock_now_ms() < until_ms) {
		delivery_free(delivery);
		delivery = stored_report();
	}
	cr_expect_not(delivery->is_owed_attempt);
	return delivery;
}

/* It goes unsigned no sooner, and is due when it was. */
Test(settlement_owed, a_try_that_somebody_asks_for_counts_for_nothing,
     .init = begin, .fini = stop_all)
{
	uint64_t begun_ms = clock_wall_ms(), tried_ms;
	struct delivery *delivery;
	struct message_id id;

	options.delivery.expire_ms = DAY;
	begin_owed(refused, 2);
	id = put("from@example.org", "a@x.example", true);
	cr_assert(wait_for(is_put_off));
	delivery = stored_report();
	tried_ms = delivery->last_attempt_ms;
	cr_expect_geq(tried_ms, begun_ms);
	cr_expect_leq(tried_ms, clock_wall_ms());
	cr_expect_eq(delivery->report_tries, 1);
	cr_expect_geq(delivery->due_ms, tried_ms + SETTLE_REPORT_RETRY_MAX_MS);
	delivery_free(delivery);
	cr_assert_eq(alter(ALTER_RETRY, id, "x.example/report-00000000",
			   clock_wall_ms()),
		     ALTERED);
	delivery = stored_after_asking();
	cr_expect_eq(fake_log_count("settle ", "no signer"), 2);
	cr_expect_eq(delivery->report_tries, 1);
	cr_expect_eq(delivery->last_attempt_ms, tried_ms);
	cr_expect_eq(delivery->due_ms, tried_ms + SETTLE_REPORT_RETRY_MAX_MS);
	delivery_free(delivery);
}

/* The first arrives with the fourth attempt; the other is refused in the second,
 * and then nobody signs. */
static struct recipient_result
late_and_bad(const struct delivery *delivery, size_t recipient)
{
	const struct delivery_recipient *state =
		&delivery->recipients[recipient];

	if (delivery->message->is_report ||
	    (state->number == 0 && state->attempts == 3))
		return result(OUTCOME_DELIVERED, "250 ok");
	if (state->number == 0 || state->attempts == 0)
		return result(OUTCOME_DEFERRED, "450 4.2.0 later");
	signing_failures = 1;
	return result(OUTCOME_FAILED, "550 5.1.1 no such user");
}

static bool
late_has_arrived(void)
{
	return fake_log_count("delivered ", "to=a@x.example") == 1;
}

static unsigned
warnings(void)
{
	return fake_log_count("delivered ", "to=from@example.org");
}

/* The warning has been before the report that is put off. */
Test(settlement_owed, no_delay_is_told_again_for_a_failure_that_is_put_off,
     .init = begin, .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example b@x.example", 500);

	message->received_ms -= MINUTE;
	options.delivery.delay_warning_ms = 1;
	begin_owed(late_and_bad, 0);
	put_message(message, true);
	cr_assert(wait_for(late_has_arrived));
	cr_expect_eq(fake_log_count("settle ", "no signer"), 1);
	cr_expect_eq(warnings(), 1);
}

/* Nothing of what is only late is left behind with the reports. */
Test(settlement_owed, a_warning_that_nobody_signs_is_not_owed, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct list deliveries;

	list_init(&deliveries);
	message->received_ms -= MINUTE;
	options.delivery.delay_warning_ms = 1;
	begin_owed(third_time, 1);
	put_message(message, true);
	cr_assert(wait_for(late_has_arrived));
	cr_expect_eq(fake_log_count("settle ", "no signer"), 1);
	cr_assert(due_wait(store, &main_loop, "x.example/report-00000000",
			   UINT64_MAX, 10, &deliveries, NULL, NULL));
	cr_expect(list_is_empty(&deliveries));
	deliveries_free(&deliveries);
}
