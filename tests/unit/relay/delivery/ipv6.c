#include <criterion/criterion.h>

#include "relay/delivery/ipv6.h"
#include "tests/fake/clock.h"

static struct ipv6 ipv6;

static struct address
address_of(const char *text)
{
	struct address address;

	cr_assert(address_parse_host(SLICE(text), 25, &address));
	return address;
}

static enum ipv6_news
fails(const char *text)
{
	struct address address = address_of(text);

	return ipv6_note_unreached(&ipv6, &address);
}

static enum ipv6_news
answers(const char *text)
{
	struct address address = address_of(text);

	return ipv6_note_reached(&ipv6, &address);
}

static void
begin(void)
{
	fake_clock_pass(HOUR);
	ipv6_init(&ipv6);
	cr_expect_not(ipv6_is_avoided(&ipv6));
}

static void
make_dead(void)
{
	begin();
	cr_expect_eq(fails("2001:db8:1::1"), IPV6_NO_NEWS);
	cr_expect_eq(answers("192.0.2.1"), IPV6_NO_NEWS);
	cr_expect_eq(fails("2001:db8:2::1"), IPV6_NO_NEWS);
	cr_expect_not(ipv6_is_avoided(&ipv6));
	cr_expect_eq(fails("2001:db8:3::1"), IPV6_LEADS_NOWHERE);
	cr_expect(ipv6_is_avoided(&ipv6));
}

Test(ipv6, leads_nowhere_after_three_networks)
{
	make_dead();
	ipv6_done(&ipv6);
}

Test(ipv6, one_dead_host_is_not_ipv6)
{
	begin();
	answers("192.0.2.1");
	for (int i = 0; i < 10; i++) {
		cr_expect_eq(fails("2001:db8:1::1"), IPV6_NO_NEWS);
		cr_expect_eq(fails("2001:db8:1:2::1"), IPV6_NO_NEWS);
		cr_expect_eq(answers("192.0.2.1"), IPV6_NO_NEWS);
	}
	ipv6_done(&ipv6);
}

Test(ipv6, one_that_answers_starts_anew)
{
	begin();
	fails("2001:db8:1::1");
	fails("2001:db8:2::1");
	answers("192.0.2.1");
	cr_expect_eq(answers("2001:db8:9::1"), IPV6_NO_NEWS);
	cr_expect_eq(fails("2001:db8:3::1"), IPV6_NO_NEWS);
	cr_expect_eq(fails("2001:db8:4::1"), IPV6_NO_NEWS);
	cr_expect_eq(answers("192.0.2.1"), IPV6_NO_NEWS);
	cr_expect_eq(fails("2001:db8:5::1"), IPV6_LEADS_NOWHERE);
	ipv6_done(&ipv6);
}

/* All of the network may be down: then it is not for IPv6. */
Test(ipv6, something_of_ipv4_has_to_answer_meanwhile)
{
	begin();
	answers("192.0.2.1");
	for (int i = 0; i < 3; i++) {
		fails("2001:db8:1::1");
		fails("2001:db8:2::1");
		cr_expect_eq(fails("2001:db8:3::1"), IPV6_NO_NEWS);
		cr_expect_eq(fails("192.0.2.1"), IPV6_NO_NEWS);
	}
	cr_expect_not(ipv6_is_avoided(&ipv6));
	cr_expect_eq(answers("192.0.2.1"), IPV6_LEADS_NOWHERE);
	ipv6_done(&ipv6);
}

Test(ipv6, is_avoided_for_a_while_then_one_failure_is_enough)
{
	make_dead();
	cr_expect_eq(answers("192.0.2.1"), IPV6_NO_NEWS);
	fake_clock_pass(IPV6_AVOIDED_MS - 1);
	cr_expect(ipv6_is_avoided(&ipv6));
	fake_clock_pass(1);
	cr_expect_not(ipv6_is_avoided(&ipv6));
	cr_expect_eq(answers("192.0.2.1"), IPV6_NO_NEWS);
	cr_expect_not(ipv6_is_avoided(&ipv6), "it was not tried again");
	cr_expect_eq(fails("2001:db8:9::1"), IPV6_NO_NEWS, "known already");
	cr_expect(ipv6_is_avoided(&ipv6));
	ipv6_done(&ipv6);
}

Test(ipv6, one_answer_ends_it)
{
	make_dead();
	cr_expect_eq(answers("2001:db8:9::1"), IPV6_WORKS_AGAIN);
	cr_expect_not(ipv6_is_avoided(&ipv6));
	cr_expect_eq(answers("2001:db8:9::1"), IPV6_NO_NEWS);
	ipv6_done(&ipv6);
}
