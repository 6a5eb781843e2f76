#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/queue/schedule_private.h"

/* What the probes of others mean for a delivery that was not tried. */

#define AT_MS (CLOCK_SET_MS + 1000 * DAY) /* of the last probe */

static uint64_t hourly[] = {HOUR};
/* By the end of its list: two attempts, 66 minutes apart. */
#define SPAN_MS (66 * MINUTE)

static const struct settles_row {
	const char *name;
	uint64_t received_ms, lasted_ms, delay_warning_ms;
	unsigned probes;
	bool is_held, is_delay_told, settles;
} settles_rows[] = {
	{"too old, and nobody was there", AT_MS - 5 * HOUR, SPAN_MS, 0, 2,
	 false, false, true},
	{"a moment too young", AT_MS - 5 * HOUR + 1, SPAN_MS, 0, 2, false,
	 false, false},
	{"nobody has looked", AT_MS - 5 * HOUR, SPAN_MS, 0, 0, false, false,
	 false},
	{"looked at once", AT_MS - 5 * HOUR, SPAN_MS, 0, 1, false, false,
	 false},
	{"twice, but not for long", AT_MS - 5 * HOUR, SPAN_MS - 1, 0, 2, false,
	 false, false},
	{"held", AT_MS - 5 * HOUR, SPAN_MS, 0, 2, true, false, false},
	{"it came behind them, however many", AT_MS + 1, DAY, 0, 99, false,
	 false, false},
	{"and with a warning due at once", AT_MS + 1, DAY, 1, 99, false, false,
	 false},
	{"a warning is due", AT_MS - HOUR, 0, HOUR, 1, false, false, true},
	{"held, and no warning", AT_MS - HOUR, 0, HOUR, 1, true, false, false},
	{"it came before the clock was set: who knows", MINUTE, SPAN_MS, HOUR,
	 2, false, false, false},
	{"not yet", AT_MS - HOUR + 1, 0, HOUR, 1, false, false, false},
	{"was told", AT_MS - HOUR, 0, HOUR, 1, false, true, false},
};

Test(schedule_trouble, settles)
{
	for (size_t i = 0; i < COUNT(settles_rows); i++) {
		const struct settles_row *row = &settles_rows[i];
		const struct delivery_options options = {
			.retry_ms = hourly,
			.retry_count = 1,
			.expire_ms = 5 * HOUR,
			.delay_warning_ms = row->delay_warning_ms};
		struct recipient recipient = {.address = SLICE("b@x.example")};
		struct message message = {
			.received_ms = row->received_ms,
			.reverse_path = SLICE("a@example.org"),
			.recipients = &recipient,
			.recipients_count = 1};
		struct delivery_recipient state = {.outcome = OUTCOME_NONE};
		const struct delivery delivery = {
			.message = &message,
			.recipients = &state,
			.recipients_count = 1,
			.is_held = row->is_held,
			.is_delay_told = row->is_delay_told};
		const struct destination_trouble trouble = {
			.probes = row->probes,
			.lasted_ms = row->lasted_ms,
			.at_ms = AT_MS};

		cr_expect_eq(trouble_settles(&trouble, &delivery, &options),
			     row->settles, "%s", row->name);
	}
}

/* A probe is what was deferred since the last one; whatever else is heard of
 * the destination says that somebody is there. */
Test(schedule_trouble, counts)
{
	struct destination_trouble trouble = {0};
	struct recipient_result deferred = {.outcome = OUTCOME_DEFERRED},
				delivered = {.outcome = OUTCOME_DELIVERED};

	cr_expect_not(trouble_count(&trouble));
	for (unsigned i = 1; i <= 3; i++) {
		trouble_note(&trouble, &deferred);
		trouble_note(&trouble, &deferred);
		cr_expect(trouble_count(&trouble));
		cr_expect_not(trouble_count(&trouble));
		cr_expect_eq(trouble.probes, i);
	}
	trouble_note(&trouble, &deferred);
	trouble_note(&trouble, &delivered);
	cr_expect_not(trouble_count(&trouble));
	cr_expect_eq(trouble.probes, 0);
	arena_done(&trouble.arena);
}
