#include <criterion/criterion.h>

#include "base/clock.h"
#include "relay/server/census.h"
#include "tests/fake/clock.h"

static struct address
address_of(const char *text)
{
	struct address address;

	cr_assert(address_parse_host(SLICE(text), 0, &address));
	return address;
}

Test(census, at_once)
{
	struct address one = address_of("192.0.2.1");
	struct address other = address_of("192.0.2.2");
	struct census *census = census_new();

	cr_expect_eq(census_enter(census, &one, 2, 0), CENSUS_IN);
	cr_expect_eq(census_enter(census, &one, 2, 0), CENSUS_IN);
	cr_expect_eq(census_enter(census, &one, 2, 0), CENSUS_FULL);
	cr_expect_eq(census_enter(census, &other, 2, 0), CENSUS_IN);
	census_leave(census, &one);
	cr_expect_eq(census_enter(census, &one, 2, 0), CENSUS_IN);
	census_leave(census, &one);
	census_leave(census, &one);
	census_leave(census, &other);
	census_free(census);
}

Test(census, a_subscriber_of_ipv6_is_one)
{
	struct address one = address_of("2001:db8::1");
	struct address same = address_of("2001:db8::ffff:1");
	struct address other = address_of("2001:db8:0:1::1");
	struct census *census = census_new();

	cr_expect_eq(census_enter(census, &one, 1, 0), CENSUS_IN);
	cr_expect_eq(census_enter(census, &same, 1, 0), CENSUS_FULL);
	cr_expect_eq(census_enter(census, &other, 1, 0), CENSUS_IN);
	census_leave(census, &one);
	census_leave(census, &other);
	census_free(census);
}

/* In and out again. */
static enum census_answer
visit(struct census *census, const struct address *client, uint64_t per_minute)
{
	enum census_answer answer =
		census_enter(census, client, 100, per_minute);

	if (answer == CENSUS_IN)
		census_leave(census, client);
	return answer;
}

Test(census, in_a_minute)
{
	struct address one = address_of("192.0.2.1");
	struct address other = address_of("192.0.2.2");
	struct census *census = census_new();

	for (unsigned i = 0; i < 6; i++)
		cr_expect_eq(visit(census, &one, 6), CENSUS_IN, "%u", i);
	cr_expect_eq(visit(census, &one, 6), CENSUS_FAST);
	cr_expect_eq(visit(census, &other, 6), CENSUS_IN);
	fake_clock_pass(9 * SECOND);
	cr_expect_eq(visit(census, &one, 6), CENSUS_FAST);
	fake_clock_pass(1 * SECOND);
	cr_expect_eq(visit(census, &one, 6), CENSUS_IN);
	cr_expect_eq(visit(census, &one, 6), CENSUS_FAST);
	fake_clock_pass(1 * MINUTE);
	for (unsigned i = 0; i < 6; i++)
		cr_expect_eq(visit(census, &one, 6), CENSUS_IN, "%u", i);
	cr_expect_eq(visit(census, &one, 6), CENSUS_FAST);
	cr_expect_eq(visit(census, &one, 0), CENSUS_IN);
	census_free(census);
}
