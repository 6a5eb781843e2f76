#include "relay/server/offenders.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "tests/fake/clock.h"

static struct offenders *offenders;

static void
begin(void)
{
	offenders = offenders_new();
}

static void
end(void)
{
	offenders_free(offenders);
}

TestSuite(offenders, .init = begin, .fini = end);

static struct address
client(const char *text)
{
	struct address address;

	cr_assert(address_parse_host(SLICE(text), 1234, &address));
	return address;
}

static uint64_t
wait_of(const char *text)
{
	struct address address = client(text);

	return offenders_wait_ms(offenders, &address, SLICE_NONE);
}

static void
fail(const char *text, unsigned times)
{
	struct address address = client(text);

	while (times-- > 0)
		offenders_failed(offenders, &address, SLICE_NONE);
}

Test(offenders, each_failure_doubles_the_wait)
{
	fail("192.0.2.1", OFFENDER_FREE);
	cr_expect_eq(wait_of("192.0.2.1"), 0);
	fail("192.0.2.1", 1);
	cr_expect_eq(wait_of("192.0.2.1"), OFFENDER_WAIT_MIN_MS);
	fail("192.0.2.1", 1);
	cr_expect_eq(wait_of("192.0.2.1"), 2 * OFFENDER_WAIT_MIN_MS);
	cr_expect_eq(wait_of("192.0.2.2"), 0);
	fail("192.0.2.1", 100);
	cr_expect_eq(wait_of("192.0.2.1"), OFFENDER_WAIT_ALL_MAX_MS);
	fake_clock_pass(OFFENDER_WAIT_ALL_MAX_MS - 1);
	cr_expect_eq(wait_of("192.0.2.1"), 1);
	fake_clock_pass(1);
	cr_expect_eq(wait_of("192.0.2.1"), 0);
}

/* Failures come from several threads: who took the time first may be the last
 * to say so. */
Test(offenders, time_that_seems_to_go_back_forgives_nothing)
{
	fail("192.0.2.1", OFFENDER_FREE + 1);
	fake_clock_pass(UINT64_MAX); /* 1 ms back */
	fail("192.0.2.1", 1);
	cr_expect_eq(wait_of("192.0.2.1"), 2 * OFFENDER_WAIT_MIN_MS);
	fake_clock_pass(1);
}

static void
fail_as(const char *text, const char *name, unsigned times)
{
	struct address address = client(text);

	while (times-- > 0)
		offenders_failed(offenders, &address, SLICE(name));
}

static uint64_t
wait_as(const char *text, const char *name)
{
	struct address address = client(text);

	return offenders_wait_ms(offenders, &address, SLICE(name));
}

Test(offenders, success_forgives_its_name)
{
	struct address address = client("192.0.2.1");

	fail_as("192.0.2.1", "a", OFFENDER_FREE + 3);
	cr_expect_gt(wait_as("192.0.2.1", "a"), 0);
	offenders_succeeded(offenders, &address, SLICE("a"));
	cr_expect_eq(wait_as("192.0.2.1", "a"), 0);
	fail_as("192.0.2.1", "a", OFFENDER_FREE);
	cr_expect_eq(wait_as("192.0.2.1", "a"), 0);
	cr_expect_eq(wait_of("192.0.2.1"), 0);
}

/* Or who has an account could guess between his own logins for ever. */
Test(offenders, success_forgives_no_other_name)
{
	struct address address = client("192.0.2.1");
	char name[8];

	for (unsigned i = 0; i <= OFFENDER_FREE; i++) {
		snprintf(name, sizeof(name), "%u", i);
		cr_expect_eq(wait_of("192.0.2.1"), 0, "%u", i);
		fail_as("192.0.2.1", name, 1);
		fail_as("192.0.2.1", "own", 1);
		offenders_succeeded(offenders, &address, SLICE("own"));
	}
	cr_expect_gt(wait_as("192.0.2.1", "next"), 0);
	offenders_succeeded(offenders, &address, SLICE("own"));
	cr_expect_gt(wait_as("192.0.2.1", "next"), 0);
}

/* Who guesses does not keep out those who share his address with him. */
Test(offenders, a_regular_waits_for_himself_alone)
{
	struct address address = client("192.0.2.1");
	char name[8];

	cr_expect_not(offenders_know(offenders, &address));
	offenders_succeeded(offenders, &address, SLICE("own"));
	cr_expect(offenders_know(offenders, &address));
	for (unsigned i = 0; i < 4 * OFFENDER_FREE; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fail_as("192.0.2.1", name, 1);
	}
	cr_expect_eq(wait_as("192.0.2.1", "own"), 0);
	cr_expect_gt(wait_as("192.0.2.1", "new"), 0);
	/* Whose it is has yet to be said. */
	cr_expect_eq(wait_of("192.0.2.1"), 0);
	fail_as("192.0.2.2", "own", OFFENDER_FREE + 1);
	cr_expect_gt(wait_as("192.0.2.2", "own"), 0, "no regular there");
	cr_expect_eq(wait_as("192.0.2.1", "own"), 0);
	fail_as("192.0.2.1", "own", OFFENDER_FREE + 1);
	cr_expect_eq(wait_as("192.0.2.1", "own"), OFFENDER_WAIT_MIN_MS);
}

/* Who spells his name as Dovecot does not. */
Test(offenders, a_regular_may_have_two_spellings)
{
	struct address address = client("192.0.2.1");

	offenders_succeeded(offenders, &address, SLICE("own@example.com"));
	offenders_note_regular(offenders, &address, SLICE("own"));
	offenders_note_regular(offenders, &address, SLICE_NONE);
	fail("192.0.2.1", OFFENDER_FREE + 1);
	cr_expect_eq(wait_as("192.0.2.1", "own"), 0);
	cr_expect_eq(wait_as("192.0.2.1", "own@example.com"), 0);
	cr_expect_gt(wait_as("192.0.2.1", "new"), 0);
}

/* Neither by time that is short, nor by whoever fails meanwhile. */
Test(offenders, a_regular_is_remembered)
{
	struct address address = client("192.0.2.1");
	char text[32];

	offenders_succeeded(offenders, &address, SLICE("own"));
	fake_clock_pass(OFFENDER_REGULAR_MS - 1);
	for (unsigned i = 0; i < 4 * OFFENDERS_MAX; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.1", i / 256, i % 256);
		fail(text, 1);
	}
	fail("192.0.2.1", OFFENDER_FREE + 1);
	cr_expect_eq(wait_as("192.0.2.1", "own"), 0);
	fake_clock_pass(1);
	cr_expect_not(offenders_know(offenders, &address));
	cr_expect_gt(wait_as("192.0.2.1", "own"), 0);
}

/* An address may be that of many. */
Test(offenders, one_name_keeps_out_no_other)
{
	fail_as("192.0.2.1", "a", 10 * OFFENDER_FREE);
	cr_expect_eq(wait_as("192.0.2.1", "a"), OFFENDER_WAIT_MAX_MS);
	cr_expect_eq(wait_as("192.0.2.1", "b"), 0);
	cr_expect_eq(wait_of("192.0.2.1"), 0);
	fail_as("192.0.2.1", "b", 1);
	cr_expect_gt(wait_of("192.0.2.1"), 0);
}

/* Three devices of an office have old passwords, and somebody mistypes his. */
Test(offenders, a_slip_does_not_cost_the_others_much)
{
	fail_as("192.0.2.1", "a", OFFENDER_FREE);
	fail_as("192.0.2.1", "b", OFFENDER_FREE);
	fail_as("192.0.2.1", "c", OFFENDER_FREE);
	fail_as("192.0.2.1", "d", 1);
	cr_expect_leq(wait_of("192.0.2.1"), 1 * MINUTE);
}

/* Those of a Unix socket, of no known address and of the machine itself. */
Test(offenders, unlike_clients_are_not_one)
{
	struct address nobody = {0}, local = {0};

	local.any.sa_family = AF_UNIX;
	fail("::1", OFFENDER_FREE + 1);
	cr_expect_eq(offenders_wait_ms(offenders, &nobody, SLICE_NONE), 0);
	cr_expect_eq(offenders_wait_ms(offenders, &local, SLICE_NONE), 0);
	cr_expect_eq(wait_of("0.0.0.0"), 0);
}

Test(offenders, forgets_after_a_while)
{
	fail("192.0.2.1", OFFENDER_FREE + 8);
	fake_clock_pass(OFFENDER_FORGET_MS + 1);
	fail("192.0.2.1", 1);
	cr_expect_eq(wait_of("192.0.2.1"), 0);
}

Test(offenders, counts_a_subscriber_of_ipv6_once)
{
	fail("2001:db8:1:2::1", OFFENDER_FREE);
	fail("2001:db8:1:2:ffff::2", 1);
	cr_expect_gt(wait_of("2001:db8:1:2:abcd::3"), 0);
	cr_expect_eq(wait_of("2001:db8:1:3::1"), 0);
}

Test(offenders, stays_within_its_bound)
{
	char text[32];

	fail("192.0.2.1", OFFENDER_FREE + 1);
	fake_clock_pass(1);
	/* Whoever comes later pushes out who failed longest ago, and none of
	 * them writes beyond the table. */
	for (unsigned i = 0; i < 4 * OFFENDERS_MAX; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.1", i / 256, i % 256);
		fail(text, 1);
	}
	cr_expect_eq(wait_of("192.0.2.1"), 0);
	fail("10.255.255.1", OFFENDER_FREE + 1);
	cr_expect_gt(wait_of("10.255.255.1"), 0);
}
