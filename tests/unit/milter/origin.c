#include "milter/origin.h"

#include <criterion/criterion.h>

static const struct slice daemons[] = {SLICE_LITERAL("ORIGINATING"),
				       SLICE_LITERAL("MSA")};

static const struct row {
	const char *name;
	struct origin_rules rules;
	struct origin origin;
	const char *reason; /* NULL: signed */
} rows[] = {
	{"a listed client",
	 {true, daemons, 2},
	 {SLICE_LITERAL("127.0.0.1"), true, false, SLICE_LITERAL("smtpd")},
	 NULL},
	{"no client, taken for local", {true, NULL, 0}, {{0}, true}, NULL},
	{"a client that has logged in",
	 {true, daemons, 2},
	 {SLICE_LITERAL("192.0.2.1"), false, true, {0}},
	 NULL},
	{"a daemon for our users",
	 {true, daemons, 2},
	 {SLICE_LITERAL("192.0.2.1"), false, false, SLICE_LITERAL("msa")},
	 NULL},
	{"a stranger",
	 {true, daemons, 2},
	 {SLICE_LITERAL("192.0.2.1"), false, false, SLICE_LITERAL("smtpd")},
	 "the client 192.0.2.1 is not in milter.sign_from and has not logged "
	 "in; the daemon smtpd is not in milter.sign_daemons"},
	{"a daemon without a name is no daemon",
	 {true, daemons, 2},
	 {SLICE_LITERAL("192.0.2.1"), false, false, {0}},
	 "the client 192.0.2.1 is not in milter.sign_from and has not logged "
	 "in"},
	{"logging in does not count",
	 {false, NULL, 0},
	 {SLICE_LITERAL("2001:db8::1"), false, true, {0}},
	 "the client 2001:db8::1 is not in milter.sign_from, "
	 "milter.sign_authenticated is false"},
	{"local is not listed",
	 {true, NULL, 0},
	 {{0}, false, false, {0}},
	 "the client (none) is not in milter.sign_from and has not logged "
	 "in"},
};

Test(origin, who_is_signed)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		CLEAN(text_done) struct text reason = {0};

		cr_expect_eq(origin_is_signed(&row->rules, &row->origin,
					      &reason),
			     row->reason == NULL, "%s", row->name);
		cr_expect_str_eq(text_string(&reason),
				 row->reason == NULL ? "" : row->reason, "%s",
				 row->name);
	}
}
