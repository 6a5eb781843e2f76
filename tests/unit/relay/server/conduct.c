#include <criterion/criterion.h>

#include "relay/server/conduct.h"

static const struct conduct_row {
	const char *name;
	unsigned code;
	unsigned stranger, friend; /* the one that ends it; 0: none does */
} conduct_rows[] = {
	{"unknown command", 500, 5, 5},
	{"malformed", 501, 5, 5},
	{"not implemented", 502, 5, 5},
	{"out of order", 503, 5, 5},
	{"unknown mechanism", 504, 5, 5},
	{"wrong password", 535, 5, 5},
	{"unknown parameter", 555, 5, 5},
	{"may not relay", 550, 20, 0},
	{"has to log in", 530, 20, 0},
	{"too large", 552, 20, 0},
	{"malformed address", 553, 20, 0},
	{"message refused", 554, 20, 0},
	{"rate of a user", 450, 0, 0},
	{"trouble of ours", 451, 0, 0},
	{"no room", 452, 0, 0},
	{"logins have to wait", 454, 20, 0},
};

static unsigned
until_enough(unsigned code, bool is_stranger)
{
	struct reply reply = {code, "5.0.0", ""};
	struct conduct conduct = {0};

	for (unsigned i = 1; i <= 1000; i++)
		if (!conduct_refused(&conduct, &reply, is_stranger))
			return i;
	return 0;
}

Test(conduct, refusals)
{
	for (size_t i = 0; i < COUNT(conduct_rows); i++) {
		const struct conduct_row *row = &conduct_rows[i];

		cr_expect_eq(until_enough(row->code, true), row->stranger,
			     "%s: a stranger", row->name);
		cr_expect_eq(until_enough(row->code, false), row->friend,
			     "%s: who may relay", row->name);
	}
}

Test(conduct, idling)
{
	struct conduct stranger = {0}, friend = {0};

	for (unsigned i = 1; i < CONDUCT_IDLE_MAX; i++)
		cr_assert(conduct_idled(&stranger, true));
	cr_expect_not(conduct_idled(&stranger, true));
	for (unsigned i = 0; i < 10 * CONDUCT_IDLE_MAX; i++)
		cr_assert(conduct_idled(&friend, false));
}
