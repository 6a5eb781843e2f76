#include "relay/server/rates.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "tests/fake/clock.h"

static struct rates *rates;

static void
begin(void)
{
	rates = rates_new();
}

static void
end(void)
{
	rates_free(rates);
}

TestSuite(rates, .init = begin, .fini = end);

static void
spend(const char *key, unsigned times, uint64_t per_hour)
{
	while (times-- > 0)
		rates_spend(rates, SLICE(key), per_hour);
}

Test(rates, has_so_many_for_an_hour)
{
	spend("a", 59, 60);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 60), 0);
	spend("a", 1, 60);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 60), MINUTE);
	cr_expect_eq(rates_wait_ms(rates, SLICE("b"), 60), 0);
	fake_clock_pass(MINUTE - 1);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 60), 1);
	fake_clock_pass(1);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 60), 0);
	spend("a", 1, 60);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 60), MINUTE);
	fake_clock_pass(2 * HOUR);
	spend("a", 59, 60);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 60), 0);
}

Test(rates, zero_is_no_limit)
{
	spend("a", 1000, 0);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 0), 0);
}

Test(rates, one_is_one_an_hour)
{
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 1), 0);
	spend("a", 1, 1);
	cr_expect_eq(rates_wait_ms(rates, SLICE("a"), 1), HOUR);
}

Test(rates, forgets_who_has_spent_nothing_for_longest)
{
	char key[16];

	spend("first", 1, 1);
	spend("second", 1, 2);
	for (unsigned i = 0; i < RATES_MAX - 2; i++) {
		snprintf(key, sizeof(key), "%u", i);
		spend(key, 1, 1);
	}
	spend("first", 1, 1);
	spend("one more", 1, 1);
	cr_expect_eq(rates_wait_ms(rates, SLICE("one more"), 1), HOUR);
	cr_expect_eq(rates_wait_ms(rates, SLICE("first"), 1), 2 * HOUR);
	cr_expect_eq(rates_wait_ms(rates, SLICE("second"), 1), 0);
	cr_expect_eq(rates_wait_ms(rates, SLICE("0"), 1), HOUR);
}

Test(rates, many_users_do_not_mix)
{
	char key[16];

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "%u", i);
		spend(key, 1 + i % 2, 2);
	}
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "%u", i);
		cr_expect_eq(rates_wait_ms(rates, SLICE(key), 2),
			     i % 2 == 0 ? 0 : HOUR / 2);
	}
}
