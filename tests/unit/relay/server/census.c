#include <arpa/inet.h>

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
	struct citizen *a = census_find(census, &one);
	struct citizen *b = census_find(census, &other);

	cr_expect_eq(citizen_enter(a, 2, 0), CENSUS_IN);
	cr_expect_eq(citizen_enter(a, 2, 0), CENSUS_IN);
	cr_expect_eq(citizen_enter(a, 2, 0), CENSUS_FULL);
	cr_expect_eq(citizen_enter(b, 2, 0), CENSUS_IN);
	citizen_leave(a);
	cr_expect_eq(citizen_enter(a, 2, 0), CENSUS_IN);
	citizen_leave(a);
	citizen_leave(a);
	citizen_leave(b);
	citizen_unref(a);
	citizen_unref(b);
	census_free(census);
}

static struct address
client_of(const char *text)
{
	return strcmp(text, "unix") == 0
		       ? (struct address){.any.sa_family = AF_UNIX}
		       : address_of(text);
}

static const struct same_row {
	const char *one, *other;
	bool is_same;
} same_rows[] = {
	{"192.0.2.1", "192.0.2.1", true},
	{"192.0.2.1", "192.0.2.2", false},
	{"2001:db8::1", "2001:db8::2:0:0:1", true},
	{"2001:db8::1", "2001:db8:0:1::1", false},
	{"unix", "unix", true},
	{"unix", "::1", false},
};

/* A subscriber of IPv6 is one. */
Test(census, one_for_each_client)
{
	struct census *census = census_new();

	for (size_t i = 0; i < COUNT(same_rows); i++) {
		const struct same_row *row = &same_rows[i];
		struct address one = client_of(row->one);
		struct address other = client_of(row->other);
		struct citizen *a = census_find(census, &one);
		struct citizen *b = census_find(census, &other);

		cr_expect_eq(a == b, row->is_same, "%s %s", row->one,
			     row->other);
		cr_expect_eq(citizen_part(a)->incoming, 0, "%s", row->one);
		citizen_part(a)->incoming = 1;
		citizen_unref(b);
		citizen_part(a)->incoming = 0;
		citizen_unref(a);
	}
	census_free(census);
}

Test(census, is_kept_as_long_as_somebody_has_him)
{
	struct census *census = census_new();
	struct citizen *kept[9000];

	for (uint32_t i = 0; i < COUNT(kept); i++) {
		struct address client = {.v4.sin_family = AF_INET,
					 .v4.sin_addr.s_addr = htonl(i)};

		kept[i] = census_find(census, &client);
		citizen_part(kept[i])->held = i;
		citizen_unref(citizen_ref(kept[i]));
	}
	for (uint32_t i = 0; i < COUNT(kept); i++) {
		struct address client = {.v4.sin_family = AF_INET,
					 .v4.sin_addr.s_addr = htonl(i)};
		struct citizen *again = census_find(census, &client);

		cr_expect_eq(again, kept[i]);
		cr_expect_eq(citizen_part(again)->held, i);
		citizen_part(again)->held = 0;
		citizen_unref(again);
		citizen_unref(kept[i]);
	}
	census_free(census);
}

/* In and out again. */
static enum census_answer
visit(struct census *census, const struct address *client, uint64_t per_minute)
{
	struct citizen *citizen = census_find(census, client);
	enum census_answer answer = citizen_enter(citizen, 100, per_minute);

	if (answer == CENSUS_IN)
		citizen_leave(citizen);
	citizen_unref(citizen);
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
