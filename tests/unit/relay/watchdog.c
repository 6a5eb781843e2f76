#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/handover.h"
#include "relay/limits.h"
#include "relay/notify.h"
#include "relay/watchdog.h"
#include "tests/fake/clock.h"
#include "tests/fake/log.h"

/* The manager and the worker as fakes: signs and questions are counted. */

#define ALLOWED_MS (8 * SECOND)
#define EVERY_MS (ALLOWED_MS / 4)
#define WORKER 7

static unsigned signs;
static uint64_t asked, allowed_ms = ALLOWED_MS;
static bool is_deaf;

uint64_t
notify_watchdog_ms(void)
{
	return allowed_ms;
}

void
notify_send(const char *state)
{
	cr_expect_str_eq(state, "WATCHDOG=1");
	signs++;
}

bool
handover_send(int control, enum handover_kind kind, uint64_t serial,
	      struct slice text, struct fault *fault)
{
	(void)text;
	cr_expect_eq(control, WORKER);
	cr_expect_eq(kind, HANDOVER_ASK);
	if (is_deaf)
		return fault_set(fault, FAULT_BUSY, "no room");
	asked = serial;
	return true;
}

static struct watchdog watchdog;

/* Whether a sign was given. */
static bool
turn_after(uint64_t ms, int worker)
{
	unsigned before = signs;

	fake_clock_pass(ms);
	if (!watchdog_is_due(&watchdog))
		return false;
	cr_expect(watchdog_turn(&watchdog, worker), "the manager decides");
	return signs > before;
}

Test(watchdog, gives_signs_while_there_are_answers)
{
	watchdog_begin(&watchdog);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect(turn_after(i == 0 ? 0 : EVERY_MS / 2, WORKER));
		cr_expect_not(turn_after(EVERY_MS / 2, WORKER), "too early");
		watchdog_answered(&watchdog, asked);
		cr_expect_not(turn_after(0, WORKER), "nobody waits");
	}
}

/* Late, but there: the next sign may come too late for the manager, so there is
 * one at once. */
Test(watchdog, gives_one_promptly_for_an_answer_that_is_late)
{
	watchdog_begin(&watchdog);
	cr_expect(turn_after(0, WORKER));
	cr_expect_not(turn_after(EVERY_MS, WORKER), "an answer is owed");
	cr_expect_eq(fake_log_count("watchdog ", "hangs, or is slow"), 1);
	watchdog_answered(&watchdog, asked);
	cr_expect(turn_after(1, WORKER));
	watchdog_answered(&watchdog, asked);
	cr_expect_not(turn_after(1, WORKER), "in time, this one");
	cr_expect(turn_after(EVERY_MS, WORKER));
	fake_log_clear();
}

Test(watchdog, hears_no_answer_to_what_was_asked_before)
{
	watchdog_begin(&watchdog);
	cr_expect(turn_after(0, WORKER));
	cr_expect_not(turn_after(EVERY_MS, WORKER));
	watchdog_answered(&watchdog, asked - 1);
	cr_expect_not(turn_after(EVERY_MS, WORKER));
	watchdog_forget(&watchdog);
	cr_expect(turn_after(EVERY_MS, WORKER), "another worker owes none");
	cr_expect(turn_after(EVERY_MS, -1), "and one that is not there");
	fake_log_clear();
}

Test(watchdog, gives_signs_while_something_takes_long_whatever_is_owed)
{
	watchdog_begin(&watchdog);
	cr_expect(turn_after(0, WORKER));
	for (unsigned i = 1; i < 8; i++) {
		fake_clock_pass(EVERY_MS / 2);
		watchdog_pass(&watchdog);
		cr_expect_eq(signs, 1 + i / 2);
	}
	cr_expect_not(turn_after(EVERY_MS / 2, WORKER), "it is owed still");
	fake_log_clear();
}

/* For as long as it cannot, and no longer. */
Test(watchdog, misses_the_answer_to_what_cannot_be_sent)
{
	watchdog_begin(&watchdog);
	is_deaf = true;
	cr_expect_not(turn_after(0, WORKER));
	cr_expect_not(turn_after(EVERY_MS, WORKER));
	is_deaf = false;
	cr_expect(turn_after(EVERY_MS, WORKER), "it is asked again");
	watchdog_answered(&watchdog, asked);
	cr_expect(turn_after(EVERY_MS, WORKER));
	fake_log_clear();
}

/* Without a manager. True: the worker goes on, as far as is known. */
static bool
goes_on_after(uint64_t ms)
{
	fake_clock_pass(ms);
	return !watchdog_is_due(&watchdog) ||
	       watchdog_turn(&watchdog, WORKER);
}

Test(watchdog, has_a_worker_that_hangs_replaced_where_nobody_else_will)
{
	allowed_ms = 0;
	watchdog_begin(&watchdog);
	cr_expect(goes_on_after(0));
	for (uint64_t ms = SECOND; ms < WORKER_HANGS_MS; ms += SECOND)
		cr_expect(goes_on_after(SECOND), "%llu ms",
			  (unsigned long long)ms);
	cr_expect_not(goes_on_after(SECOND));
	watchdog_pass(&watchdog);
	watchdog_forget(&watchdog);
	cr_expect(goes_on_after(WORKER_HANGS_MS), "there is another");
	cr_expect_eq(signs, 0);
	fake_log_clear();
}

/* However long that was, and however often: it answers in between. */
Test(watchdog, takes_a_machine_that_stood_still_for_one_answer)
{
	allowed_ms = 0;
	watchdog_begin(&watchdog);
	cr_expect(goes_on_after(0));
	for (unsigned i = 0; i < 8; i++) {
		cr_expect(goes_on_after(24 * HOUR));
		cr_expect(goes_on_after(1), "no other question follows at once");
		watchdog_answered(&watchdog, asked);
		cr_expect(goes_on_after(WORKER_HANGS_MS));
	}
	fake_log_clear();
}
