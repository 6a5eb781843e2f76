#include <unistd.h>

#include "tests/unit/relay/queue/schedule_stand.h"

/* What becomes of results: when again, who is told. */

Test(settlement, tries_again_after_each_delay, .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = third_time;
	put("from@example.org", "a@x.example b@x.example", true);
	cr_expect(wait_attempts(3));
	cr_expect_geq(attempts[1].at_ms - attempts[0].at_ms, retry_ms[0] - 1);
	cr_expect_geq(attempts[2].at_ms - attempts[1].at_ms, retry_ms[1] - 1);
	cr_expect(wait_gone(1));
	cr_expect_eq(fake_log_count("deferred ", " next="), 4);
	cr_expect_eq(fake_log_count("delivered ", "to=b@x.example"), 1);
	cr_expect_eq(attempts_count, 3);
}

/* As it is stored, once it has been tried so often. */
static void
expect_tried(unsigned times, uint64_t since_ms)
{
	uint64_t until_ms = clock_now_ms() + MINUTE;
	struct list deliveries;
	unsigned seen = 0;

	list_init(&deliveries);
	while (seen < times && clock_now_ms() < until_ms) {
		const struct delivery *delivery;

		cr_assert(due_wait(store, &main_loop, "x.example", UINT64_MAX,
				   10, &deliveries, NULL, NULL));
		cr_assert_eq(list_count(&deliveries), 1);
		delivery = CONTAINER(deliveries.next, struct delivery, link);
		seen = delivery->recipients[0].attempts;
		if (seen == times) {
			cr_expect_geq(delivery->last_attempt_ms, since_ms);
			cr_expect_leq(delivery->last_attempt_ms,
				      clock_wall_ms());
			cr_expect_not(delivery->is_owed_attempt);
		}
		deliveries_free(&deliveries);
	}
	cr_expect_eq(seen, times);
}

Test(settlement, stores_when_it_was_tried, .init = begin, .fini = stop_all)
{
	uint64_t now_ms = clock_wall_ms();
	struct message_id id;

	begin_schedule();
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	decide = never;
	run_loops();
	id = put("from@example.org", "a@x.example", true);
	expect_tried(1, now_ms);
	/* Who asks for an attempt is owed that one only. */
	now_ms = clock_wall_ms();
	cr_expect_eq(alter(ALTER_RETRY, id, "x.example", now_ms), ALTERED);
	expect_tried(2, now_ms);
}

Test(settlement, expires_and_reports, .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = never;
	options.delivery.expire_ms = 300;
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("bounced ", "status=4.4.7"), 1);
	cr_expect_eq(fake_log_count("bounced ", "reply=450 4.2.0 later"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect(attempts[attempts_count - 1].is_report);
	cr_expect_geq(attempts_count, 4);
}

/* The list of delays is not through after so short a time: it has its attempts
 * all the same, and no more than that. */
Test(settlement, a_clock_set_forward_costs_no_attempts, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);

	begin_schedule();
	run_loops();
	decide = never;
	message->received_ms -= 100 * DAY;
	put_message(message, true);
	cr_expect(wait_gone(2));
	/* The first, one for each delay of the list, and the report's. */
	cr_expect_eq(attempts_count, 4, "%u", attempts_count);
	cr_expect_eq(fake_log_count("deferred ", NULL), 2,
		     "the last attempt is the end of it");
	cr_expect_eq(fake_log_count("bounced ", "status=4.4.7"), 1);
}

/* Stored with a last attempt that was a minute before it expired; that was ten
 * minutes ago, and the schedule begins now. */
static void
begin_with_expired(const char *to)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", to, 500);

	run_main();
	message->received_ms -= 20 * MINUTE;
	put_deferred(message, 30, message->received_ms + 9 * MINUTE,
		     message->received_ms + 10 * MINUTE, NULL);
	begin_schedule();
	run_loops();
}

/* It was tried before it was over, but not since: once more. */
Test(settlement, what_expired_meanwhile_is_tried_once_more, .init = begin,
     .fini = stop_all)
{
	begin_with_expired("a@x.example");
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 1);
	cr_expect_eq(fake_log_count("delivered ", "to=a@x.example"), 1);
}

/* One recipient in each part of an attempt; with others left. */
static struct recipient_result
first_only(const struct delivery *delivery, size_t recipient)
{
	(void)delivery;
	return recipient == 0 ? result(OUTCOME_DELIVERED, "250 ok")
			      : result(OUTCOME_NONE, "");
}

Test(settlement, the_rest_of_an_attempt_is_due_at_once, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = first_only;
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	put("from@example.org", "a@x.example b@x.example c@x.example", true);
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 3);
	cr_expect_eq(fake_log_count("delivered ", "to=a@x.example"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=b@x.example"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=c@x.example"), 1);
	cr_expect_eq(fake_log_count("deferred ", ""), 0);
}

/* One recipient is deferred; the lease goes on until the others are done. */
static void
note_next(struct schedule_destination *destination, struct delivery *delivery)
{
	struct recipient_result results[4] = {{.outcome = OUTCOME_NONE}};
	bool is_last = delivery->recipients_count == 2;

	cr_assert_leq(delivery->recipients_count, COUNT(results));
	results[1] = delivery->recipients_count == 3
			     ? result(OUTCOME_FAILED, "550 5.1.1 nobody")
			     : result(OUTCOME_DELIVERED, "250 ok");
	if (!is_last) {
		schedule_note(destination, delivery, results, note_next);
		return;
	}
	results[0] = result(OUTCOME_DEFERRED, "450 4.2.0 later");
	schedule_settle(destination, delivery, results);
}

static bool
is_told_and_deferred(void)
{
	return fake_log_count("delivered ", "to=from@example.org") > 0 &&
	       fake_log_count("deferred ", "to=a@x.example") > 0;
}

/* What is final is stored, told and left out, one after the other; then what was
 * deferred waits as long as ever. */
Test(settlement, a_lease_goes_on_with_what_is_not_noted, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	is_holding = true;
	decide = always_delivered;
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	put("from@example.org",
	    "a@x.example b@x.example c@x.example d@x.example", true);
	cr_assert(wait_for(is_held));
	held_go_on(note_next);
	cr_expect(wait_for(is_told_and_deferred));
	cr_expect_eq(attempts_count, 2, "its own, and the report's");
	cr_expect_eq(fake_log_count("delivered ", "to=b@x.example"), 1);
	cr_expect_eq(fake_log_count("bounced ", "to=c@x.example"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=d@x.example"), 1);
	cr_expect_eq(fake_log_count("deferred ", ""), 1);
}

/* Its last attempt is not over with a part of it. */
Test(settlement, the_rest_of_a_last_attempt_is_tried, .init = begin,
     .fini = stop_all)
{
	decide = first_only;
	options.delivery.delay_warning_ms = 1;
	begin_with_expired("a@x.example b@x.example");
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 2);
	cr_expect_eq(fake_log_count("bounced ", ""), 0);
	cr_expect_eq(fake_log_count("delivered ", "to=b@x.example"), 1);
}

static unsigned wanted_expired;

static bool
expired(void)
{
	return fake_log_count("bounced ", "status=4.4.7") >= wanted_expired;
}

/* A destination of reports is empty again and again: wait_gone() tells little
 * where several messages are over. */
static bool
wait_expired(unsigned count)
{
	wanted_expired = count;
	return wait_for(expired);
}

static unsigned probes, rest_ms = 20;

/* What a delivery does that finds nobody there: a few are deferred, and the
 * destination is left alone for a while. */
static struct recipient_result
nobody_there(const struct delivery *delivery, size_t recipient)
{
	(void)recipient;
	if (delivery->message->is_report)
		return result(OUTCOME_DELIVERED, "250 ok");
	pause_after_ms = rest_ms;
	probes++;
	return result(OUTCOME_DEFERRED, "cannot connect");
}

/* Few of those for a dead destination are ever tried: what becomes of these is
 * the others' fate, too, once they are over. */
Test(settlement, nobody_waits_for_ever_behind_a_probe, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = nobody_there;
	options.delivery.expire_ms = 400;
	for (unsigned i = 0; i < 20; i++)
		put("from@example.org", "a@x.example", false);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_expired(21));
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("bounced ", "cannot connect"),
		     21);
	cr_expect_lt(probes, 40, "%u probes", probes);
}

/* --- what waits behind others --- */

#define BACKLOG 20

static unsigned probes_until_up;

/* Nobody is there for the first few, and then somebody is. */
static struct recipient_result
there_at_last(const struct delivery *delivery, size_t recipient)
{
	if (probes < probes_until_up)
		return nobody_there(delivery, recipient);
	return result(OUTCOME_DELIVERED, "250 ok");
}

static void
put_old(uint64_t age_ms)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);

	message->received_ms -= age_ms;
	put_message(message, false);
}

/* The relay was off for longer than `expire`, and the next hop is late: a few
 * quick probes are not what the list of delays stands for. */
Test(settlement, nothing_is_given_up_for_a_few_quick_probes, .init = begin,
     .fini = stop_all)
{
	retry_ms[0] = retry_ms[1] = MINUTE;
	decide = there_at_last;
	probes_until_up = 10;
	run_main();
	for (unsigned i = 0; i < BACKLOG; i++)
		put_old(100 * DAY);
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(BACKLOG - 10));
	cr_expect_eq(probes, 10);
	cr_expect_eq(fake_log_count("bounced ", NULL), 0);
	cr_expect_eq(fake_log_count("delivered ", "to=a@x.example"),
		     BACKLOG - 10);
}

/* Of those that are no reports. */
static unsigned
messages_tried(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < attempts_count; i++) {
		bool is_first = !attempts[i].is_report;

		for (unsigned j = 0; j < i; j++)
			is_first &= !message_id_eq(&attempts[i].id,
						   &attempts[j].id);
		count += is_first;
	}
	return count;
}

/* Nor is one probe more than one, however often it makes the destination rest:
 * the first, and one for each delay. */
Test(settlement, a_probe_counts_once, .init = begin, .fini = stop_all)
{
	retry_ms[0] = retry_ms[1] = 1;
	rest_ms = 300; /* long enough for all that follows a probe */
	options.delivery.expire_ms = 10;
	decide = nobody_there;
	run_main();
	for (unsigned i = 0; i < BACKLOG; i++)
		put_old(DAY);
	begin_schedule();
	run_loops();
	cr_expect(wait_expired(BACKLOG));
	cr_expect_eq(fake_log_count("bounced ", NULL), BACKLOG);
	cr_expect_geq(messages_tried(), 3, "%u", messages_tried());
}

/* What others have met with is reason enough for a warning, and for no more. */
Test(settlement, who_waits_behind_a_probe_is_warned, .init = begin,
     .fini = stop_all)
{
	retry_ms[0] = retry_ms[1] = HOUR;
	rest_ms = HOUR;
	options.delivery.delay_warning_ms = 1;
	decide = nobody_there;
	run_main();
	for (unsigned i = 0; i < BACKLOG; i++)
		put_old(MINUTE);
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(BACKLOG));
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"),
		     BACKLOG);
	cr_expect_eq(fake_log_count("bounced ", NULL), 0);
	cr_expect_eq(messages_tried(), 1);
}

static atomic_bool is_up;

static struct recipient_result
there_when_up(const struct delivery *delivery, size_t recipient)
{
	struct recipient_result found;

	if (is_up)
		return result(OUTCOME_DELIVERED, "250 ok");
	found = nobody_there(delivery, recipient);
	if (probes >= 5)
		pause_after_ms = 2 * SECOND;
	return found;
}

/* After so many probes it is left alone, for a while yet. */
static bool
rests(void)
{
	const struct destination *destination =
		destination_find(home_of(schedule, SLICE("x.example")),
				 SLICE("x.example"));

	return probes >= 5 && !destination->sweeps &&
	       destination->read == NULL &&
	       destination->paused_until_ms > clock_now_ms() + SECOND;
}

/* What has become too old since the last probe waits for the next. */
Test(settlement, a_probe_is_waited_for, .init = begin, .fini = stop_all)
{
	retry_ms[0] = retry_ms[1] = 10;
	decide = there_when_up;
	run_main();
	for (unsigned i = 0; i < BACKLOG; i++)
		put_old(MINUTE);
	begin_schedule();
	run_loops();
	cr_assert(wait_for(rests));
	is_up = true;
	options.delivery.expire_ms = 100;
	cr_expect(wait_delivered(BACKLOG));
	cr_expect_eq(fake_log_count("bounced ", NULL), 0);
}

/* The same where only a warning is due: the sender hears of it once. */
Test(settlement, a_delay_is_told_once, .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = never;
	options.delivery.delay_warning_ms = 100;
	options.delivery.expire_ms = 600;
	put("from@example.org", "a@x.example b@x.example", true);
	cr_expect(wait_gone(3));
	/* A warning, and the failure. */
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 2);
	cr_expect_eq(fake_log_count("bounced ", NULL), 2);
}

Test(settlement, nobody_is_told_for_the_null_sender, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = refused;
	put("", "a@x.example", true);
	cr_expect(wait_gone(1));
	cr_expect_eq(fake_log_count("bounced ", NULL), 1);
	cr_expect_eq(attempts_count, 1);
}

/* A clock that was wrong when they were stored, and is right now. */
Test(settlement, what_is_due_beyond_reason_is_due_now, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);

	run_main();
	message->received_ms += 4000 * DAY;
	put_deferred(message, 1, 0, message->received_ms, NULL);
	put("from@example.org", "a@x.example", false);
	decide = never;
	options.delivery.expire_ms = 400;
	begin_schedule();
	run_loops();
	/* Both expire, and so do not stay for ever. */
	cr_expect(wait_expired(2));
	cr_expect_eq(fake_log_count("bounced ", NULL), 2);
}

/* Within reason it waits, however long the delays are. */
Test(settlement, what_is_due_in_hours_is_not_due_now, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);

	run_main();
	retry_ms[1] = 4 * HOUR;
	put_deferred(message, 1, clock_wall_ms(), clock_wall_ms() + 4 * HOUR,
		     NULL);
	put("from@example.org", "b@x.example", false);
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(1));
	/* What comes behind it has its turn once it is known when the next is. */
	put("from@example.org", "c@x.example", true);
	cr_expect(wait_delivered(2));
	cr_expect_eq(fake_log_count("delivered ", "to=a@x.example"), 0);
}

/* --- statuses --- */

static const struct status_row {
	enum outcome outcome;
	const char *reply, *event, *status;
} status_rows[] = {
	{OUTCOME_DELIVERED, "250 ok", "delivered ", "status=2.0.0"},
	{OUTCOME_DELIVERED, "250 2.1.5 ok", "delivered ", "status=2.1.5"},
	{OUTCOME_DEFERRED, "450 later", "deferred ", "status=4.0.0"},
	{OUTCOME_FAILED, "550 no", "bounced ", "status=5.0.0"},
};

/* One recipient for each. */
static struct recipient_result
by_row(const struct delivery *delivery, size_t recipient)
{
	size_t row = delivery->recipients[recipient].number;

	return result(status_rows[row].outcome, status_rows[row].reply);
}

static bool
has_each_outcome(void)
{
	bool all = true;

	for (size_t i = 0; i < COUNT(status_rows); i++)
		all &= fake_log_count(status_rows[i].event, NULL) > 0;
	return all;
}

/* A reply without a status has its class's. */
Test(settlement, each_outcome_has_a_status, .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = by_row;
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	put("", "a@x.example b@x.example c@x.example d@x.example", true);
	cr_assert(wait_for(has_each_outcome));
	for (size_t i = 0; i < COUNT(status_rows); i++)
		cr_expect_eq(fake_log_count(status_rows[i].event,
					    status_rows[i].status),
			     1, "%s", status_rows[i].reply);
}
