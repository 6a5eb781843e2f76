#include <criterion/criterion.h>

#include "relay/limits.h"
#include "relay/vigil.h"
#include "tests/fake/clock.h"

/* A signer as a fake: it does what it is told, and looks are counted. */

static unsigned looks, in_a_row;
static bool hangs;

unsigned
signer_look(struct signer_process *process)
{
	(void)process;
	looks++;
	in_a_row = hangs ? in_a_row + 1 : 0;
	return in_a_row;
}

static struct vigil vigil;
static struct signer_process process;

static bool
is_hung_after(uint64_t ms)
{
	fake_clock_pass(ms);
	return vigil_finds_hung(&vigil, &process);
}

Test(vigil, looks_as_often_as_is_said)
{
	for (unsigned i = 0; i < 10; i++) {
		cr_expect_not(is_hung_after(i == 0 ? 0 : SIGNER_LOOK_MS - 1));
		cr_expect_not(is_hung_after(i == 0 ? 0 : 1));
		cr_expect_eq(looks, i + 1);
	}
}

Test(vigil, finds_who_hangs_while_calls_still_wait)
{
	uint64_t ms = 0;

	cr_expect_not(is_hung_after(0));
	hangs = true;
	while (!is_hung_after(100) && ms < SIGNER_CALL_TIMEOUT_MS)
		ms += 100;
	cr_expect_lt(ms, SIGNER_CALL_TIMEOUT_MS - 5 * SECOND);
	cr_expect_geq(ms, 10 * SECOND, "who is merely busy has time");
}

/* Suspended for a night, or its clock moved on: one look is late. */
Test(vigil, takes_a_machine_that_stood_still_for_one_look)
{
	cr_expect_not(is_hung_after(0));
	hangs = true;
	for (unsigned i = 1; i < SIGNER_LOOKS_MAX; i++) {
		cr_expect_not(is_hung_after(24 * HOUR));
		cr_expect_not(is_hung_after(1), "nor does another follow at once");
	}
	hangs = false;
	cr_expect_not(is_hung_after(24 * HOUR));
}

/* As the answer to the look of this serial said. */
static bool
is_lost_after(uint64_t serial, unsigned clients)
{
	process.heard = serial;
	process.clients = clients;
	return vigil_finds_lost(&vigil, &process, 4);
}

Test(vigil, finds_lost_what_is_missing_twice)
{
	cr_expect_not(is_lost_after(0, 0), "no look has been answered");
	cr_expect_not(is_lost_after(1, 3));
	cr_expect_not(is_lost_after(1, 3), "the same answer");
	cr_expect(is_lost_after(2, 3));
	cr_expect_not(is_lost_after(3, 3), "others may be on their way");
	cr_expect_not(is_lost_after(4, 4));
	cr_expect_not(is_lost_after(5, 3));
	cr_expect(is_lost_after(6, 0));
}
