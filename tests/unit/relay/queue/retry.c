#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/queue/retry.h"
#include "tests/unit/relay/queue/queue.h"

#define NOW_MS (CLOCK_SET_MS + 1000 * DAY)

static uint64_t usual_retry[] = {5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR};
static uint64_t lazy_retry[] = {HOUR};
static uint64_t quick_retry[] = {SECOND};

static const struct delivery_options usual = {
	.retry_ms = usual_retry, .retry_count = 4, .expire_ms = 5 * DAY};
static const struct delivery_options lazy = {
	.retry_ms = lazy_retry, .retry_count = 1, .expire_ms = 5 * DAY};
static const struct delivery_options quick = {
	.retry_ms = quick_retry, .retry_count = 1, .expire_ms = 4 * SECOND};
/* Given up before its schedule has an attempt. */
static const struct delivery_options brief = {
	.retry_ms = lazy_retry, .retry_count = 1, .expire_ms = MINUTE};

struct one {
	struct message message;
	struct delivery_recipient state;
	struct delivery delivery;
};

static struct delivery *
one(struct one *one, uint64_t received_ms, unsigned attempts,
    const char *reply)
{
	*one = (struct one){
		.message = {.received_ms = received_ms},
		.state = {.attempts = attempts,
			  .outcome = OUTCOME_DEFERRED,
			  .reply = SLICE(reply)}};
	one->delivery = (struct delivery){.message = &one->message,
					  .recipients = &one->state,
					  .recipients_count = 1};
	return &one->delivery;
}

/* --- the next attempt --- */

#define GREY "450 4.2.0 <bob@example.net>: Recipient address rejected: Greylisted"

static const struct due_row {
	const char *name;
	const struct delivery_options *options;
	uint64_t age_ms;
	unsigned attempts;
	const char *reply;
	uint64_t delay_ms; /* at least; and a tenth more at most */
	bool is_exact;
} due_rows[] = {
	{"the first", &usual, 0, 1, "4.4.1 cannot connect", 5 * MINUTE, false},
	{"the second", &usual, 5 * MINUTE, 2, "421 busy", 15 * MINUTE, false},
	{"the last", &usual, HOUR, 4, "421 busy", HOUR, false},
	{"which repeats", &usual, DAY, 40, "421 busy", HOUR, false},
	{"greylisted", &lazy, 0, 1, GREY, 5 * MINUTE, false},
	{"and again", &lazy, 29 * MINUTE, 6, GREY, 5 * MINUTE, false},
	{"and no more", &lazy, 30 * MINUTE, 7, GREY, HOUR, false},
	{"greylisted, but tried sooner", &quick, 0, 1, GREY, SECOND, false},
	{"not past the end", &usual, 5 * DAY - MINUTE, 99, "421 busy", MINUTE,
	 true},
	{"past it when that is over", &usual, 5 * DAY + MINUTE, 3, "421 busy",
	 30 * MINUTE, false},
};

Test(retry, due)
{
	struct one made;

	for (size_t i = 0; i < COUNT(due_rows); i++) {
		const struct due_row *row = &due_rows[i];
		struct delivery *delivery = one(
			&made, NOW_MS - row->age_ms, row->attempts, row->reply);
		uint64_t delay_ms =
			retry_due_ms(delivery, row->options, NOW_MS) - NOW_MS;

		cr_expect_geq(delay_ms, row->delay_ms, "%s: %llu", row->name,
			      (unsigned long long)delay_ms);
		cr_expect_leq(delay_ms,
			      row->delay_ms +
				      (row->is_exact ? 0 : row->delay_ms / 10),
			      "%s: %llu", row->name,
			      (unsigned long long)delay_ms);
		cr_expect_leq(delay_ms, retry_wait_max_ms(row->options));
	}
	one(&made, NOW_MS, 1, "250 ok");
	made.state.outcome = OUTCOME_DELIVERED;
	cr_expect_eq(retry_due_ms(&made.delivery, &usual, NOW_MS), 0);
}

/* Messages that failed together do not come back together. */
Test(retry, jitter_spreads)
{
	unsigned tenths[10] = {0};
	struct one made;

	for (unsigned i = 0; i < 1000; i++) {
		struct delivery *delivery = one(&made, NOW_MS, 1, "421 busy");
		uint64_t more_ms;

		made.message.id = message_id_new();
		more_ms = retry_due_ms(delivery, &usual, NOW_MS) - NOW_MS -
			  5 * MINUTE;
		tenths[more_ms * 10 / (30 * SECOND + 1)]++;
	}
	for (unsigned i = 0; i < 10; i++)
		cr_expect(tenths[i] > 50 && tenths[i] < 150, "%u: %u", i,
			  tenths[i]);
}

/* --- greylisting --- */

static const struct grey_row {
	const char *reply;
	bool is_greylisting;
} grey_rows[] = {
	{GREY, true},
	{"451 4.7.1 Greylisting in action, please come back in 00:05:00", true},
	{"451 4.7.1 Try again later", true},
	{"451 Temporary failure, please try again later.", true},
	{"450 4.3.2 You have been Graylisted", true},
	{"450 4.3.2 Greylisted", true},
	{"450 4.2.0 come back", true},
	{"450 4.7.0 come back", true},
	{"450 4.1.8 sender domain not found", false},
	{"451 4.3.0 queue file write error", false},
	{"452 4.2.2 mailbox full", false},
	{"421 4.7.0 too many connections", false},
	{"550 5.7.1 greylisted for ever", false},
	{"4.4.1 cannot connect", false},
	{"450", false},
	{"", false},
};

Test(retry, greylisting)
{
	for (size_t i = 0; i < COUNT(grey_rows); i++)
		cr_expect_eq(retry_is_greylisting(SLICE(grey_rows[i].reply)),
			     grey_rows[i].is_greylisting, "%s",
			     grey_rows[i].reply);
}

/* The schedule that nobody has changed gets past a server that wants 300 s at
 * the second attempt, and past one that wants 25 minutes within half an hour. */
Test(retry, greylisting_is_over_soon)
{
	uint64_t now_ms = NOW_MS, passed_ms = 0;
	struct one made;
	unsigned attempts = 1;

	while (passed_ms < 25 * MINUTE) {
		struct delivery *delivery = one(&made, NOW_MS, attempts, GREY);

		now_ms = retry_due_ms(delivery, &usual, now_ms);
		passed_ms = now_ms - NOW_MS;
		cr_expect(attempts > 1 || passed_ms >= 300 * SECOND);
		attempts++;
	}
	cr_expect_leq(passed_ms, 31 * MINUTE, "%llu",
		      (unsigned long long)passed_ms);
	cr_expect_leq(attempts, 7);
}

/* --- the end --- */

static const struct over_row {
	const char *name;
	const struct delivery_options *options;
	int64_t age_ms;
	unsigned attempts;
	bool is_held, is_over;
} over_rows[] = {
	{"young", &usual, (int64_t)HOUR, 5, false, false},
	{"a moment too early", &usual, (int64_t)(5 * DAY) - 1, 99, false,
	 false},
	{"in time", &usual, (int64_t)(5 * DAY), 99, false, true},
	{"held", &usual, (int64_t)(5 * DAY), 99, true, false},
	{"the clock was set forward after one attempt", &usual,
	 (int64_t)(400 * DAY), 1, false, false},
	{"and after four", &usual, (int64_t)(400 * DAY), 4, false, false},
	{"but tried as often as the schedule would", &usual,
	 (int64_t)(400 * DAY), 5, false, true},
	{"a short list", &quick, (int64_t)(4 * SECOND), 2, false, true},
	{"no time for a second attempt", &brief, (int64_t)MINUTE, 1, false,
	 true},
	{"the clock was set back, tried little", &usual, -1, 60, false, false},
	{"the clock was set back, tried for five days", &usual, -1, 124, false,
	 true},
	{"it had not been set, tried little", &usual,
	 (int64_t)(NOW_MS - MINUTE), 60, false, false},
	{"it had not been set, tried for five days", &usual,
	 (int64_t)(NOW_MS - MINUTE), 124, false, true},
};

Test(retry, over)
{
	struct one made;

	for (size_t i = 0; i < COUNT(over_rows); i++) {
		const struct over_row *row = &over_rows[i];
		struct delivery *delivery =
			one(&made, NOW_MS - (uint64_t)row->age_ms,
			    row->attempts, "421 busy");

		delivery->is_held = row->is_held;
		cr_expect_eq(retry_is_over(delivery, row->options,
					   row->attempts, NOW_MS),
			     row->is_over, "%s", row->name);
	}
}

/* Five probes of the usual schedule take at least two hours and one minute: 5,
 * 15, 30 and 60 minutes, and a tenth. */
static const struct unseen_row {
	const char *name;
	const struct delivery_options *options;
	uint64_t age_ms, lasted_ms;
	unsigned probes;
	bool is_over;
} unseen_rows[] = {
	{"young", &usual, DAY, 9 * HOUR, 100, false},
	{"the relay was off, and some quick probes failed", &usual, 400 * DAY,
	 7 * MINUTE, 5, false},
	{"a moment too early", &usual, 400 * DAY, 121 * MINUTE - 1, 30, false},
	{"for as long as its attempts would have taken", &usual, 400 * DAY,
	 121 * MINUTE, 30, true},
	{"the relay stood still", &usual, 400 * DAY, DAY, 2, false},
	{"no time for a second attempt", &brief, MINUTE, 0, 1, true},
};

Test(retry, over_unseen)
{
	struct one made;

	for (size_t i = 0; i < COUNT(unseen_rows); i++) {
		const struct unseen_row *row = &unseen_rows[i];
		struct delivery *delivery =
			one(&made, NOW_MS - row->age_ms, 0, "");

		cr_expect_eq(retry_is_over_unseen(delivery, row->options,
						  row->probes, row->lasted_ms,
						  NOW_MS),
			     row->is_over, "%s", row->name);
	}
}

/* --- reports --- */

/* With these options' `expire`, from a minute on: 1, 2, 4, 8, 16, 30, 30 … */
static const struct report_row {
	const char *name;
	const struct delivery_options *options;
	unsigned tries, counts_on;
	uint64_t wait_ms;
	bool is_over;
} report_rows[] = {
	{"the first time", &usual, 1, 1, 1 * MINUTE, false},
	{"twice as long", &usual, 2, 2, 2 * MINUTE, false},
	{"and so on", &usual, 5, 5, 16 * MINUTE, false},
	{"up to half an hour", &usual, 6, 6, 30 * MINUTE, false},
	{"which repeats", &usual, 100, 6, 30 * MINUTE, false},
	{"a moment before five days", &usual, 243, 6, 30 * MINUTE, false},
	{"five days", &usual, 244, 6, 30 * MINUTE, true},
	{"more than anybody counts", &usual, UINT_MAX, 6, 30 * MINUTE, true},
	{"a brief life", &brief, 1, 1, 1 * MINUTE, true},
};

Test(retry, of_reports)
{
	cr_expect_not(retry_report_is_over(&brief, MINUTE, 0));
	for (size_t i = 0; i < COUNT(report_rows); i++) {
		const struct report_row *row = &report_rows[i];

		cr_expect_eq(retry_report_ms(MINUTE, row->tries), row->wait_ms,
			     "%s", row->name);
		cr_expect_eq(retry_report_is_over(row->options, MINUTE,
						  row->tries),
			     row->is_over, "%s", row->name);
		cr_expect_eq(retry_report_signed(MINUTE, row->tries),
			     row->counts_on, "%s", row->name);
	}
}

/* With a wait of half an hour, counted from what was tried at NOW_MS. */
static const struct asked_row {
	const char *name;
	uint64_t asked_ms, failed_ms, due_ms; /* since then; due 0: it counts */
} asked_rows[] = {
	{"at the beginning", 0, 1, 30 * MINUTE},
	{"early", 5 * MINUTE, 6 * MINUTE, 30 * MINUTE},
	{"again", 29 * MINUTE, 30 * MINUTE - 1, 30 * MINUTE},
	{"until the other is due", 29 * MINUTE, 30 * MINUTE, 0},
	{"beyond the other", 29 * MINUTE, 31 * MINUTE, 0},
	{"when the other is due", 30 * MINUTE, 31 * MINUTE, 60 * MINUTE},
	{"much later", 7 * DAY + MINUTE, 7 * DAY + 2 * MINUTE,
	 7 * DAY + 30 * MINUTE},
	{"and the clock is set back then", 7 * DAY, DAY, DAY + 30 * MINUTE},
};

Test(retry, of_reports_that_somebody_asks_for)
{
	uint64_t wait_ms = 30 * MINUTE;

	for (size_t i = 0; i < COUNT(asked_rows); i++) {
		const struct asked_row *row = &asked_rows[i];

		cr_expect_eq(retry_report_asked_ms(NOW_MS, wait_ms,
						   NOW_MS + row->asked_ms,
						   NOW_MS + row->failed_ms),
			     row->due_ms > 0 ? NOW_MS + row->due_ms : 0, "%s",
			     row->name);
	}
	/* A clock that was set back before. */
	cr_expect_eq(retry_report_asked_ms(NOW_MS, wait_ms, 1, 2), 2 + wait_ms);
}

/* --- at once --- */

static const struct meant_row {
	const char *name;
	uint64_t last_ms;
	bool is_meant;
} meant_rows[] = {
	{"never tried", 0, true},
	{"tried before", NOW_MS - 2 * MINUTE, true},
	{"tried since it began", NOW_MS - MINUTE, false},
	{"tried just now", NOW_MS, false},
	{"tried tomorrow: the clock was set back", NOW_MS + DAY, true},
};

Test(retry, at_once)
{
	struct one made;

	for (size_t i = 0; i < COUNT(meant_rows); i++) {
		const struct meant_row *row = &meant_rows[i];
		struct delivery *delivery = one(&made, NOW_MS, 1, "421 busy");

		delivery->last_attempt_ms = row->last_ms;
		cr_expect_eq(retry_is_meant(delivery, NOW_MS - MINUTE, NOW_MS),
			     row->is_meant, "%s", row->name);
	}
}
