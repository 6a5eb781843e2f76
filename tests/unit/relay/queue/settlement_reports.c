#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/queue/settlement_private.h"
#include "tests/unit/relay/queue/settlement_stand.h"

/* Reports: made, signed, put off where they cannot be. */

static const struct signed_row {
	const char *name;
	unsigned signing_failures, proof_failures;
	const char *trouble; /* told of once; NULL: none */
} signed_rows[] = {
	{"signed at once", 0, 0, NULL},
	{"nobody signs at first", 1, 0, "no signer"},
	{"what is signed does not verify at first", 0, 1, "it does not verify"},
};

static void
signed_test(const struct signed_row *row)
{
	begin();
	begin_schedule();
	proof_failures = row->proof_failures;
	begin_reports(refused, row->signing_failures);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_delivered(1), "%s", row->name);
	cr_expect_eq(fake_log_count("bounced ", "status=5.1.1"), 1, "%s",
		     row->name);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1,
		     "%s", row->name);
	cr_expect_eq(fake_log_count("settle ", NULL), row->trouble != NULL,
		     "%s", row->name);
	cr_expect_eq(fake_log_count("settle ", row->trouble),
		     row->trouble != NULL, "%s", row->name);
	stop_all();
	cr_expect_eq(fields_fed, 8, "%s: %u fields", row->name, fields_fed);
	cr_expect_gt(body_fed, 500, "%s", row->name);
}

Test(settlement_reports, a_failure_is_reported_and_signed)
{
	for (size_t i = 0; i < COUNT(signed_rows); i++)
		signed_test(&signed_rows[i]);
}

static struct recipient_result
good_and_bad(const struct delivery *delivery, size_t recipient)
{
	if (delivery->message->is_report || recipient == 0)
		return result(OUTCOME_DELIVERED, "250 ok");
	return result(OUTCOME_FAILED, "550 5.1.1 no such user");
}

/* Of what the relay would find there after a crash now. */
static unsigned
stored_recipients(const char *destination,
		  struct delivery_recipient *first_out)
{
	struct list deliveries, *item;
	unsigned count = 0;

	list_init(&deliveries);
	cr_assert(due_wait(store, &main_loop, destination, UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	while ((item = list_take_first(&deliveries)) != NULL) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		count += (unsigned)delivery->recipients_count;
		if (first_out != NULL)
			*first_out = delivery->recipients[0];
		delivery_free(delivery);
	}
	return count;
}

/* A settlement that is under way has its lease still. */
static bool
report_now(struct message_id id, const char *reports)
{
	uint64_t until_ms = clock_now_ms() + MINUTE;
	enum altered what;

	do
		what = alter(ALTER_RETRY, id, reports, clock_wall_ms());
	while (what == ALTERED_ALREADY && clock_now_ms() < until_ms);
	return what == ALTERED;
}

static bool
failed_twice(void)
{
	return fake_log_count("settle ", "no signer") == 2;
}

/* Nobody gets it twice because of a report for somebody else, nor is anything
 * said to have failed twice. */
Test(settlement_reports, what_was_delivered_does_not_wait_for_the_signer,
     .init = begin, .fini = stop_all)
{
	struct delivery_recipient left = {0};
	struct message_id id;

	begin_schedule();
	schedule->report_retry_ms = SETTLE_REPORT_RETRY_MAX_MS;
	options.delivery.expire_ms = DAY;
	begin_reports(good_and_bad, 2);
	id = put("from@example.org", "good@x.example bad@x.example", true);
	/* Nothing is left there. */
	cr_assert(wait_gone(1));
	cr_expect_eq(stored_recipients("x.example", NULL), 0);
	cr_expect_eq(stored_recipients(REPORTS(1), &left), 1);
	cr_expect_eq(left.number, 1);
	cr_expect_eq(left.outcome, OUTCOME_FAILED);
	cr_expect(left.is_report_owed);
	/* Once in vain; who asks before that asks for the same. */
	cr_assert(report_now(id, REPORTS(1)));
	cr_assert(wait_for(failed_twice));
	cr_assert(report_now(id, REPORTS(1)));
	cr_assert(wait_for(is_told));
	cr_expect(wait_gone(3));
	cr_expect_eq(stored_recipients(REPORTS(1), NULL), 0);
	/* The message's, and the report's. */
	cr_expect_eq(attempts_count, 2, "%u", attempts_count);
	cr_expect_eq(fake_log_count("bounced ", NULL), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=good@x.example"), 1);
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect_eq(fake_log_count("settle ", "no signer"), 2);
}

static bool
hangs(void)
{
	return unanswered_count > 0;
}

/* A stop does not wait for a signer that hangs, and forgets nothing. */
Test(settlement_reports, a_stop_stores_what_waits_for_the_signer, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	is_signer_deaf = true;
	begin_reports(good_and_bad, 0);
	put("from@example.org", "good@x.example bad@x.example", true);
	cr_assert(wait_for(hangs));
	cr_expect_eq(stored_recipients("x.example", NULL), 2);
	stop_schedule();
	cr_expect_eq(stored_recipients("x.example", NULL), 0);
	cr_expect_eq(stored_recipients(REPORTS(1), NULL), 1);
}

/* --- reports that are put off --- */

/* The warning of a delay comes with the next attempt, and then no more. */
Test(settlement_reports, a_warning_that_nobody_signs_comes_again, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	options.delivery.delay_warning_ms = 1;
	begin_reports(never, 1);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_for(is_told));
	cr_expect_eq(fake_log_count("settle ", "no signer"), 1);
	cr_expect_eq(fake_log_count("bounced ", NULL), 0);
}

/* The first is deferred in the end, all others are refused, each by itself. */
static void
note_refused(struct schedule_destination *destination,
	     struct delivery *delivery)
{
	struct recipient_result results[3] = {{.outcome = OUTCOME_NONE}};
	size_t last = delivery->recipients_count - 1;

	cr_assert_lt(last, COUNT(results));
	cr_expect_eq(delivery->report_tries, 0);
	if (last > 0) {
		results[last] = result(OUTCOME_FAILED, "550 5.1.1 nobody");
		schedule_note(destination, delivery, results, note_refused);
		return;
	}
	results[0] = result(OUTCOME_DEFERRED, "450 4.2.0 later");
	schedule_settle(destination, delivery, results);
}

static bool
is_deferred(void)
{
	return fake_log_count("deferred ", "to=a@x.example") > 0;
}

/* Each is put off for the first time, whatever was before. */
Test(settlement_reports, those_of_one_lease_wait_each_for_itself, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	is_holding = true;
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	begin_reports(never, UINT_MAX);
	put("from@example.org", "a@x.example b@x.example c@x.example", true);
	cr_assert(wait_for(is_held));
	held_go_on(note_refused);
	cr_assert(wait_for(is_deferred));
	cr_expect_eq(stored_recipients(REPORTS(1), NULL), 1);
	cr_expect_eq(stored_recipients(REPORTS(2), NULL), 1);
}

static bool
are_told(void)
{
	return fake_log_count("delivered ", "to=from@example.org") == 2;
}

/* Somebody waits for it who has others to go on with. */
Test(settlement_reports, a_lease_that_goes_on_waits_for_no_signer,
     .init = begin, .fini = stop_all)
{
	begin_schedule();
	is_holding = is_signer_deaf = true;
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	begin_reports(never, 0);
	put("from@example.org", "a@x.example b@x.example c@x.example", true);
	cr_assert(wait_for(is_held));
	held_go_on(note_refused);
	cr_expect(wait_for(is_deferred));
	signer_hears();
	cr_expect(wait_for(are_told));
	cr_expect_eq(fake_log_count("bounced ", NULL), 2);
}

static struct recipient_result
bad_and_deferred(const struct delivery *delivery, size_t recipient)
{
	const struct delivery_recipient *state =
		&delivery->recipients[recipient];

	if (delivery->message->is_report)
		return result(OUTCOME_DELIVERED, "250 ok");
	if (state->number == 0)
		return result(OUTCOME_FAILED, "550 5.1.1 no such user");
	return third_time(delivery, recipient);
}

static bool
one_is_gone(void)
{
	return gone_count == 1;
}

/* From a second to a minute: what has become of a message is known then at the
 * latest, once the disk has room again. */
Test(settlement_reports, an_outcome_is_stored_within_a_minute, .init = begin,
     .fini = stop_all)
{
	static const uint64_t expected_s[] = {1, 2, 4, 8, 16, 32, 60, 60};

	begin_schedule();
	failing_stores = COUNT(expected_s);
	all_fail = true;
	decide = always_delivered;
	run_loops();
	put("from@example.org", "a@x.example", true);
	cr_assert(wait_for(one_is_gone));
	cr_assert_eq(waits_count, COUNT(expected_s));
	for (size_t i = 0; i < COUNT(expected_s); i++)
		cr_expect_eq(waits_ms[i], expected_s[i] * SECOND, "%zu: %llu ms",
			     i, (unsigned long long)waits_ms[i]);
}

/* What is noted, too, and then the lease goes on. */
Test(settlement_reports, what_is_noted_is_stored_once_there_is_room,
     .init = begin, .fini = stop_all)
{
	begin_schedule();
	is_holding = all_fail = true;
	failing_stores = 3;
	retry_ms[0] = retry_ms[1] = 1 * HOUR;
	begin_reports(never, 0);
	put("from@example.org", "a@x.example b@x.example c@x.example", true);
	cr_assert(wait_for(is_held));
	held_go_on(note_refused);
	cr_expect(wait_for(is_deferred));
	cr_expect(wait_for(are_told));
	cr_expect_eq(fake_log_count("settle ", "no room"), 3);
	cr_expect_eq(fake_log_count("bounced ", NULL), 2);
}

/* The destination is left alone for a long time right after. */
Test(settlement_reports, a_report_waits_for_no_pause, .init = begin, .fini = stop_all)
{
	begin_schedule();
	pause_after_ms = HOUR;
	begin_reports(good_and_bad, 1);
	put("from@example.org", "good@x.example bad@x.example", true);
	cr_expect(wait_for(is_told));
	cr_expect_eq(fake_log_count("settle ", "no signer"), 1);
}

/* Nor does it hold up who is tried again; he is, as if there were none. */
Test(settlement_reports, nobody_waits_for_a_report, .init = begin, .fini = stop_all)
{
	begin_schedule();
	schedule->report_retry_ms = SETTLE_REPORT_RETRY_MAX_MS;
	begin_reports(bad_and_deferred, 1);
	put("from@example.org", "bad@x.example good@x.example", true);
	cr_expect(wait_delivered(1));
	cr_expect_eq(fake_log_count("delivered ", "to=good@x.example"), 1);
	cr_expect_eq(fake_log_count("bounced ", NULL), 1);
	cr_expect_eq(stored_recipients(REPORTS(0), NULL), 1);
}

Test(settlement_reports, a_retry_makes_the_report_now, .init = begin,
     .fini = stop_all)
{
	struct message_id id;

	begin_schedule();
	schedule->report_retry_ms = SETTLE_REPORT_RETRY_MAX_MS;
	begin_reports(refused, 1);
	id = put("from@example.org", "a@x.example", true);
	cr_assert(wait_gone(1));
	cr_expect_eq(stored_recipients(REPORTS(0), NULL), 1);
	cr_expect_eq(alter(ALTER_RETRY, id, REPORTS(0), clock_wall_ms()), ALTERED);
	cr_expect(wait_for(is_told));
	cr_expect_eq(fake_log_count("bounced ", NULL), 1);
}

/* --- a report that nobody signs for long --- */

#define FIRST_MS 20

struct patience_row {
	const char *name;
	uint64_t tried_ms; /* ago, and in vain: it expires; 0: it is refused */
	unsigned signing_failures, failing_stores;
	uint64_t expire_ms, waited_ms;
	unsigned put_offs;
	bool goes_unsigned;
};

static const struct patience_row patience_rows[] = {
	/* 20, 40, 80 and 160 */
	{"twice as long each time", 0, 4, 0, 10 * MINUTE, 300, 4, false},
	{"however long it took to expire", 10 * HOUR, 4, 0, 10 * MINUTE, 300, 4,
	 false},
	{"for as long as `expire`", 0, 1000, 0, 300, 300, 4, true},
	{"and it is stored unsigned, once there is room", 0, 1000, 1, 300, 300,
	 5, true},
};

static atomic_bool is_signed;

static struct recipient_result
refused_but_reports(const struct delivery *delivery, size_t recipient)
{
	if (delivery->message->is_report)
		is_signed = delivery->message->prefix.len > 0;
	return refused(delivery, recipient);
}

/* In the store, as it was left by a relay that was then off for long. */
static void
put_tried(uint64_t tried_ms)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", "a@x.example", 500);
	struct list deliveries;

	message->received_ms =
		clock_wall_ms() - tried_ms - options.delivery.expire_ms;
	put_deferred(message, 9, clock_wall_ms() - tried_ms,
		     clock_wall_ms() - tried_ms + SECOND, &deliveries);
	/* To be read: what was just put would be tried. */
	CONTAINER(deliveries.next, struct delivery, link)->version = 0;
	schedule_add(schedule, &deliveries);
}

static void
patience_test(const struct patience_row *row)
{
	uint64_t begun_ms = clock_now_ms();

	begin();
	options.delivery.expire_ms = row->expire_ms;
	failing_stores = row->failing_stores;
	all_fail = false;
	begin_schedule();
	schedule->report_retry_ms = FIRST_MS;
	begin_reports(refused_but_reports, row->signing_failures);
	if (row->tried_ms == 0)
		put("from@example.org", "a@x.example", true);
	else
		put_tried(row->tried_ms);
	cr_expect(wait_for(is_told), "%s", row->name);
	cr_expect_geq(clock_now_ms() - begun_ms, row->waited_ms, "%s", row->name);
	/* What is over has its report, and no attempt. */
	cr_expect_eq(attempts_count, row->tried_ms == 0 ? 2 : 1, "%s",
		     row->name);
	cr_expect_eq(is_signed, !row->goes_unsigned, "%s", row->name);
	cr_expect_eq(fake_log_count("settle ", "it is made later") +
			     fake_log_count("settle ", "no room"),
		     row->put_offs, "%s", row->name);
	cr_expect_eq(fake_log_count("settle ", "goes out unsigned"),
		     row->goes_unsigned ? 1 + row->failing_stores : 0, "%s",
		     row->name);
	stop_all();
}

Test(settlement_reports, a_report_waits_for_the_signer_but_not_for_ever)
{
	for (size_t i = 0; i < COUNT(patience_rows); i++)
		patience_test(&patience_rows[i]);
}

/* As by cron, and more often than the report would be tried by itself. */
Test(settlement_reports, who_asks_all_the_time_puts_no_report_off,
     .init = begin, .fini = stop_all)
{
	uint64_t until_ms = clock_now_ms() + MINUTE;
	struct message_id id;

	options.delivery.expire_ms = 20 * FIRST_MS;
	begin_schedule();
	schedule->report_retry_ms = 10 * FIRST_MS;
	begin_reports(refused_but_reports, UINT_MAX);
	id = put("from@example.org", "a@x.example", true);
	cr_assert(wait_gone(1));
	while (!is_told() && clock_now_ms() < until_ms)
		(void)alter(ALTER_RETRY, id, REPORTS(0), clock_wall_ms());
	cr_expect(is_told());
	cr_expect_not(is_signed);
	cr_expect_eq(fake_log_count("settle ", "goes out unsigned"), 1);
}

static bool
no_room_seen(void)
{
	return fake_log_count("settle ", "no room") > 0;
}

Test(settlement_reports, a_report_for_which_there_is_no_room_comes_later,
     .init = begin, .fini = stop_all)
{
	begin_schedule();
	run_loops();
	decide = good_and_bad;
	failing_stores = 2;
	all_fail = true; /* what is put off as well */
	put("from@example.org", "good@x.example bad@x.example", true);
	cr_expect(wait_for(no_room_seen));
	cr_expect(wait_for(is_told));
	cr_expect_eq(fake_log_count("settle ", "no room"), 2);
	cr_expect_eq(fake_log_count("bounced ", NULL), 1);
	cr_expect_eq(attempts_count, 2);
}

#define FAILURES 600 /* more than a loop's share of those at once, on each */

static bool
all_wait(void)
{
	return attempts_count == FAILURES &&
	       unanswered_count >= SETTLE_REPORTS_MAX;
}

static bool
all_told(void)
{
	return fake_log_count("delivered ", "to=from@example.org") == FAILURES;
}

/* However many fail at once, a few reports are in memory at a time. */
Test(settlement_reports, reports_are_made_a_few_at_a_time, .init = begin,
     .fini = stop_all)
{
	CLEAN(text_done) struct text recipients = {0}, body = {0};
	CLEAN(message_unref_clean) struct message *message = NULL;

	for (unsigned i = 0; i < FAILURES; i++)
		text_addf(&recipients, "a@x%u.example ", i);
	message = message_make("from@example.org", text_string(&recipients),
			       500);
	begin_schedule();
	is_signer_deaf = true;
	begin_reports(refused, 0);
	put_message(message, true);
	cr_expect(wait_for(all_wait));
	/* Behind whatever else is read for reports. */
	cr_expect(body_wait(store, &main_loop, message, &body, NULL));
	cr_expect_leq(unanswered_count, SETTLE_REPORTS_MAX);
	signer_hears();
	cr_expect(wait_for(all_told));
	cr_expect_eq(fake_log_count("bounced ", NULL), FAILURES);
}

static bool
copied(void)
{
	return fake_log_count("delivered ", "to=postmaster@example.com") >= 1;
}

/* Both in one settlement, and both signed. */
Test(settlement_reports, the_postmaster_gets_a_copy, .init = begin, .fini = stop_all)
{
	begin_schedule();
	begin_reports(refused, 0);
	options.delivery.bounce_copy = SLICE("postmaster@example.com");
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_for(copied));
	cr_expect(wait_gone(3));
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect_eq(attempts_count, 3);
}

/* Whom nobody is told of: he hears of it, and not less where it has to wait. */
Test(settlement_reports, the_postmaster_hears_of_what_has_no_sender,
     .init = begin, .fini = stop_all)
{
	begin_schedule();
	begin_reports(refused, 1);
	options.delivery.bounce_copy = SLICE("postmaster@example.com");
	put("", "a@x.example", true);
	cr_expect(wait_for(copied));
	cr_expect(wait_gone(3));
	cr_expect_eq(fake_log_count("settle ", "no signer"), 1);
	cr_expect_eq(attempts_count, 2);
}

/* Its place on the disk is bad: it will not be better next time. */
Test(settlement_reports, a_header_that_cannot_be_read_delays_no_report, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 0);
	char id[MESSAGE_ID_TEXT + 1], name[160];

	message->body.size = message->body.header_len = 3000;
	message->body.is_file = true;
	message_id_write(&message->id, id);
	snprintf(name, sizeof(name), "%s/spool/%s", path, id);
	cr_assert_eq(mkdir(name, 0700), 0);
	begin_schedule();
	run_loops();
	decide = refused;
	put_message(message, true);
	cr_expect(wait_gone(2));
	cr_expect_eq(fake_log_count("delivered ", "to=from@example.org"), 1);
	cr_expect_eq(fake_log_count("settle ", "Is a directory"), 1);
}
