#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/queue/notify.h"
#include "tests/unit/relay/queue/queue.h"

#define FAILED OUTCOME_FAILED
#define DEFERRED OUTCOME_DEFERRED
#define DELIVERED OUTCOME_DELIVERED
#define ALL (NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY)

static const struct notify_row {
	const char *name;
	enum outcome outcome;
	unsigned notify;
	uint64_t age_ms;
	bool dsn_passed_on, is_delay_told;
	enum notice notice;
} notify_rows[] = {
	{"a failure", FAILED, 0, 0, false, false, NOTICE_FAILED},
	{"a failure, asked for", FAILED, NOTIFY_FAILURE, 0, false, false,
	 NOTICE_FAILED},
	{"a failure, not asked for", FAILED, NOTIFY_SUCCESS | NOTIFY_DELAY, 0,
	 false, false, NOTICE_NONE},
	{"a failure, never", FAILED, NOTIFY_NEVER, 0, false, false,
	 NOTICE_NONE},
	{"a young deferral", DEFERRED, 0, 4 * HOUR - 1, false, false,
	 NOTICE_NONE},
	{"a delay", DEFERRED, 0, 4 * HOUR, false, false, NOTICE_DELAYED},
	{"a delay that was told", DEFERRED, 0, 4 * HOUR, false, true,
	 NOTICE_NONE},
	{"a delay, asked for", DEFERRED, ALL, 4 * HOUR, false, false,
	 NOTICE_DELAYED},
	{"a delay, not asked for", DEFERRED, NOTIFY_FAILURE, 4 * HOUR, false,
	 false, NOTICE_NONE},
	{"a delay, never", DEFERRED, NOTIFY_NEVER, 4 * HOUR, false, false,
	 NOTICE_NONE},
	{"success", DELIVERED, 0, 0, false, false, NOTICE_NONE},
	{"success, asked for", DELIVERED, ALL, 0, false, false,
	 NOTICE_RELAYED},
	{"success, asked of the next hop", DELIVERED, ALL, 0, true, false,
	 NOTICE_NONE},
	{"success, not asked for", DELIVERED, NOTIFY_FAILURE | NOTIFY_DELAY, 0,
	 false, false, NOTICE_NONE},
};

static struct delivery *
delivery_make(const char *from, const struct notify_row *row)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));

	delivery->message = message_make(from, "b@x.example a@x.example", 0);
	delivery->message->recipients[1].notify = row->notify;
	delivery->is_delay_told = row->is_delay_told;
	delivery->recipients_count = 1;
	delivery->recipients = arena_array(&delivery->arena, 1,
					   sizeof(*delivery->recipients));
	/* Whose index in the message is another. */
	delivery->recipients[0].index = 1;
	delivery->recipients[0].outcome = row->outcome;
	return delivery;
}

static void
decide(struct notices *notices, struct delivery *delivery,
       const struct notify_row *row, const struct delivery_options *options)
{
	struct recipient_result result = {.outcome = row->outcome,
					  .dsn_passed_on = row->dsn_passed_on};

	notify_decide(notices, &delivery->arena, delivery, &result, options, row->age_ms);
}

Test(notify, the_sender)
{
	struct delivery_options options = {.delay_warning_ms = 4 * HOUR};

	for (size_t i = 0; i < COUNT(notify_rows); i++) {
		const struct notify_row *row = &notify_rows[i];
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make("from@example.org", row);
		struct notices notices;

		decide(&notices, delivery, row, &options);
		cr_expect_eq(notices.sender[0], row->notice, "%s", row->name);
		cr_expect_eq(notices.sender_is_told,
			     row->notice != NOTICE_NONE, "%s", row->name);
		cr_expect_eq(notices.has_failure, row->notice == NOTICE_FAILED);
		cr_expect_eq(notices.has_delay, row->notice == NOTICE_DELAYED);
		cr_expect_not(notices.copy_is_sent);
		cr_expect(notify_delay_is_due(delivery, &options,
					      row->age_ms) ==
				  (row->notice == NOTICE_DELAYED),
			  "%s", row->name);
	}
}

/* Who does not want it hears of no delay, whoever waits beside him; who does, as
 * soon as is said. */
Test(notify, no_delay_for_who_does_not_ask)
{
	const struct notify_row row = {.outcome = DEFERRED,
				       .notify = NOTIFY_FAILURE};
	struct delivery_options options = {.delay_warning_ms = 3 * HOUR};
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_make("from@example.org", &row);
	struct delivery_recipient states[2] = {
		{.index = 0, .outcome = DEFERRED},
		{.index = 1, .outcome = DEFERRED}};
	struct recipient_result results[2] = {{.outcome = DEFERRED},
					      {.outcome = DEFERRED}};
	struct notices notices;

	delivery->recipients = states;
	delivery->recipients_count = 2;
	notify_decide(&notices, &delivery->arena, delivery, results, &options,
		      3 * HOUR);
	cr_expect_eq(notices.sender[0], NOTICE_DELAYED);
	cr_expect_eq(notices.sender[1], NOTICE_NONE);
	notify_decide(&notices, &delivery->arena, delivery, results, &options,
		      3 * HOUR - 1);
	cr_expect_not(notices.sender_is_told);
}

/* Whose attempt goes on at once is not told that it takes long. */
Test(notify, no_delay_within_an_attempt)
{
	const struct notify_row row = {"deferred", DEFERRED, NOTIFY_DELAY, DAY,
				       false, false, NOTICE_NONE};
	struct delivery_options options = {.delay_warning_ms = 4 * HOUR};
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_make("from@example.org", &row);
	struct recipient_result result = {.outcome = OUTCOME_NONE};
	struct notices notices;

	notify_decide(&notices, &delivery->arena, delivery, &result, &options, row.age_ms);
	cr_expect_eq(notices.sender[0], NOTICE_NONE);
	cr_expect_not(notices.sender_is_told);
}

/* A report that was put off: the next hop was not told, and has no result any
 * more. */
Test(notify, what_is_owed)
{
	struct delivery_options options = {.delay_warning_ms = 4 * HOUR};
	struct notify_row row = {.outcome = OUTCOME_DELIVERED,
				 .notify = NOTIFY_SUCCESS};
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_make("from@example.org", &row);
	struct notices notices;

	notify_decide(&notices, &delivery->arena, delivery, NULL, &options, 0);
	cr_expect_eq(notices.sender[0], NOTICE_NONE);
	delivery->recipients[0].is_report_owed = true;
	notify_decide(&notices, &delivery->arena, delivery, NULL, &options, 0);
	cr_expect_eq(notices.sender[0], NOTICE_RELAYED);
}

/* Nobody is told of what has no sender, or of what told somebody. */
Test(notify, nobody)
{
	struct delivery_options options = {.delay_warning_ms = 4 * HOUR};

	for (size_t i = 0; i < COUNT(notify_rows) * 2; i++) {
		const struct notify_row *row = &notify_rows[i / 2];
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make(i % 2 == 0 ? "" : "from@example.org",
				      row);
		struct notices notices;

		delivery->message->is_report = i % 2 == 1;
		decide(&notices, delivery, row, &options);
		cr_expect_eq(notices.sender[0], NOTICE_NONE, "%s", row->name);
		cr_expect_not(notices.sender_is_told, "%s", row->name);
		cr_expect_not(notify_delay_is_due(delivery, &options,
						  row->age_ms));
	}
}

/* "0": after four hours, who asks. */
Test(notify, delays_only_on_demand)
{
	struct delivery_options options = {0};
	const struct notify_row rows[] = {
		{"nobody asks", DEFERRED, 0, DAY, false, false, NOTICE_NONE},
		{"asked, young", DEFERRED, NOTIFY_DELAY, HOUR, false, false,
		 NOTICE_NONE},
		{"asked", DEFERRED, NOTIFY_DELAY, 4 * HOUR, false, false,
		 NOTICE_DELAYED},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make("from@example.org", &rows[i]);
		struct notices notices;

		decide(&notices, delivery, &rows[i], &options);
		cr_expect_eq(notices.sender[0], rows[i].notice, "%s",
			     rows[i].name);
	}
}

Test(notify, what_nobody_asked_for_can_be_withdrawn)
{
	struct delivery_options options = {.delay_warning_ms = 4 * HOUR};
	const struct notify_row rows[] = {
		{"not asked", DEFERRED, 0, DAY, false, false, NOTICE_NONE},
		{"asked", DEFERRED, NOTIFY_DELAY, DAY, false, false,
		 NOTICE_DELAYED},
		{"a failure", FAILED, 0, DAY, false, false, NOTICE_FAILED},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make("from@example.org", &rows[i]);
		struct notices notices;

		decide(&notices, delivery, &rows[i], &options);
		cr_expect(notices.sender_is_told);
		notify_withdraw(&notices, delivery);
		cr_expect_eq(notices.sender[0], rows[i].notice, "%s",
			     rows[i].name);
		cr_expect_eq(notices.sender_is_told,
			     rows[i].notice != NOTICE_NONE, "%s",
			     rows[i].name);
	}
}

static const struct copy_row {
	const char *name, *from, *copy_to;
	bool is_report;
	unsigned notify;
	enum outcome outcome;
	bool is_sent;
} copy_rows[] = {
	{"not wanted", "from@example.org", "", false, 0, FAILED, false},
	{"wanted", "from@example.org", "postmaster@example.com", false, 0,
	 FAILED, true},
	{"of what the sender does not want to know", "from@example.org",
	 "postmaster@example.com", false, NOTIFY_NEVER, FAILED, true},
	{"of what has no sender", "", "postmaster@example.com", false, 0,
	 FAILED, true},
	{"of a report", "", "postmaster@example.com", true, 0, FAILED, true},
	{"of a copy", "", "A@x.example", true, NOTIFY_NEVER, FAILED, false},
	{"not of a delay", "from@example.org", "postmaster@example.com", false,
	 0, DEFERRED, false},
	{"not of success", "from@example.org", "postmaster@example.com", false,
	 ALL, DELIVERED, false},
};

Test(notify, the_copy)
{
	for (size_t i = 0; i < COUNT(copy_rows); i++) {
		const struct copy_row *row = &copy_rows[i];
		struct delivery_options options = {
			.bounce_copy = SLICE(row->copy_to),
			.delay_warning_ms = HOUR};
		struct notify_row like = {.outcome = row->outcome,
					  .notify = row->notify,
					  .age_ms = DAY};
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make(row->from, &like);
		struct notices notices;

		delivery->message->is_report = row->is_report;
		decide(&notices, delivery, &like, &options);
		cr_expect_eq(notices.copy_is_sent, row->is_sent, "%s",
			     row->name);
		cr_expect_eq(notices.copy[0],
			     row->is_sent ? NOTICE_FAILED : NOTICE_NONE, "%s",
			     row->name);
	}
}

static const struct header_row {
	const char *header;
	bool is_automatic;
} header_rows[] = {
	{"Subject: x\r\n\r\nPrecedence: bulk\r\n", false},
	{"Auto-Submitted: auto-generated (rotated)\r\n", true},
	{"AUTO-SUBMITTED:\r\n auto-replied; owner=\"x\"\r\n", true},
	{"Auto-Submitted: no\r\n", false},
	{"Auto-Submitted: No (really)\r\n", false},
	{"Subject: x\r\nPrecedence: Bulk\r\n", true},
	{"Precedence: list\r\n", true},
	{"Precedence: junk\r\n", true},
	{"Precedence: first-class\r\n", false},
	{"List-Id: <x.example>\r\n", true},
	{"list-unsubscribe: <https://x.example>\r\n", true},
	{"Listen: x\r\n", false},
	{"x\r\n", false},
	{"", false},
};

Test(notify, automatic)
{
	for (size_t i = 0; i < COUNT(header_rows); i++)
		cr_expect_eq(notify_is_automatic(SLICE(header_rows[i].header)),
			     header_rows[i].is_automatic, "%s",
			     header_rows[i].header);
}
