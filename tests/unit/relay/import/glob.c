#include "relay/import/glob.h"

#include <criterion/criterion.h>

static const struct cover_row {
	const char *name, *wide, *narrow;
	bool covers;
} cover_rows[] = {
	{"the same text", "alice", "alice", true},
	{"case", "Alice", "aLICE", true},
	{"another text", "alice", "bob", false},
	{"everything", "*", "alice", true},
	{"nothing at all", "*", "", true},
	{"a star stands for none", "a*", "a", true},
	{"a beginning", "a*", "alice", true},
	{"an end", "*e", "alice", true},
	{"an end that is not there", "*x", "alice", false},
	{"goes back", "*ab", "aab", true},
	{"two stars", "*li*", "alice", true},
	{"a narrower pattern", "*.example.com", "*.news.example.com", true},
	{"a wider pattern", "*.news.example.com", "*.example.com", false},
	{"the same pattern", "a*b", "a*b", true},
	{"a star is no text", "a", "*", false},
	{"a pattern that only overlaps", "a*", "*b", false},
};

Test(glob, covers)
{
	for (size_t i = 0; i < COUNT(cover_rows); i++) {
		const struct cover_row *row = &cover_rows[i];

		cr_expect_eq(glob_covers(SLICE(row->wide), SLICE(row->narrow)),
			     row->covers, "%s", row->name);
	}
}

static const struct meet_row {
	const char *name, *a, *b;
	bool meets;
} meet_rows[] = {
	{"two texts", "alice", "alice", true},
	{"two others", "alice", "bob", false},
	{"a text within", "alice", "a*", true},
	{"a text without", "alice", "b*", false},
	{"beginning and end", "a*", "*b", true},
	{"two beginnings", "a*", "ab*", true},
	{"beginnings that differ", "a*", "b*", false},
	{"all and all", "*", "*", true},
	{"crossing", "a*b*c", "*x*", true},
	{"nothing in common", "*a", "*b", false},
	{"an end of the other's", "*.example", "*.x.example", true},
	{"ends that differ further in", "*.x.example", "*.y.example", false},
	{"one end in another case", "*.X.example", "*.x.EXAMPLE", true},
	{"an end longer than a text", "*.example", "example", false},
	{"beginnings of unlike length", "ab*", "abc*", true},
};

Test(glob, meet)
{
	CLEAN(text_done) struct text met = {0};

	for (size_t i = 0; i < COUNT(meet_rows); i++) {
		const struct meet_row *row = &meet_rows[i];
		struct slice a = SLICE(row->a), b = SLICE(row->b);
		bool meets = glob_meet(a, b, &met);

		cr_expect_eq(meets, row->meets, "%s", row->name);
		cr_expect(!meets || (glob_covers(a, text_slice(&met)) &&
				     glob_covers(b, text_slice(&met))),
			  "%s: '%s' is not in both", row->name,
			  text_string(&met));
		cr_expect(!meets || glob_is_literal(text_slice(&met)), "%s",
			  row->name);
	}
}
