#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/conf_value.h"
#include "tests/unit/base/conf_stand.h"

/* ---- what is understood ---- */

static const struct good_row {
	const char *name, *input;
	uint64_t expected;
	size_t offset;
} good_rows[] = {
#define AT(field) offsetof(struct target, field)
	{"default size", "", 50u << 20, AT(size)},
	{"empty section", "paint {}", 50u << 20, AT(size)},
	{"default time", "", 5 * MINUTE, AT(time_ms)},
	{"bare", "paint { count = 3 }", 3, AT(count)},
	{"quoted", "paint { count = \"3\" }", 3, AT(count)},
	{"leading zero is not octal", "paint { count = 010 }", 10, AT(count)},
	{"no spaces", "paint{count=3}", 3, AT(count)},
	{"spread out", "paint\n{\ncount\n=\n\"3\"\n}", 3, AT(count)},
	{"two on a line", "paint { size = 1K  count = 3 }", 3, AT(count)},
	{"comments", "#\npaint { # }\ncount = 3 # 4\n}#", 3, AT(count)},
	{"CRLF", "paint {\r\ncount = 3\r\n}\r\n", 3, AT(count)},
	{"byte order mark", "\xef\xbb\xbfpaint { count = 3 }", 3, AT(count)},
	{"K", "paint { size = 2K }", 2048, AT(size)},
	{"k", "paint { size = \"2k\" }", 2048, AT(size)},
	{"M", "paint { size = \"2M\" }", 2u << 20, AT(size)},
	{"G", "paint { size = 1G }", 1u << 30, AT(size)},
	{"bytes", "paint { size = 7 }", 7, AT(size)},
	{"seconds", "paint { time = 30s }", 30 * SECOND, AT(time_ms)},
	{"minutes", "paint { time = \"2m\" }", 2 * MINUTE, AT(time_ms)},
	{"hours", "paint { time = 1h }", HOUR, AT(time_ms)},
	{"at the least", "paint { count = 1 }", 1, AT(count)},
	{"at the most", "paint { count = 10 }", 10, AT(count)},
	{"default list", "", 2, AT(times_count)},
	{"list", "paint { times = {\"1s\", 2s 1d} }", 3, AT(times_count)},
	{"last comma", "evens = {\"2\", \"4\",}", 2, AT(evens_count)},
	{"empty list", "evens = {}", 0, AT(evens_count)},
	{"one for a list", "evens = \"2\"", 1, AT(evens_count)},
	{"parsed", "even = \"8\"", 8, AT(even)},
	{"sections", "outer \"a\" {} outer \"b\" {}", 2, AT(outers_count)},
};

Test(conf, understands)
{
	for (size_t i = 0; i < COUNT(good_rows); i++) {
		const struct good_row *row = &good_rows[i];
		CLEAN(fixture_done) struct fixture f;

		fixture_of(&f, row->input);
		cr_expect_str_eq(text_string(&f.said), "", "%s: %s", row->name,
				 text_string(&f.said));
		cr_expect_eq(*(uint64_t *)(void *)((char *)&f.target +
						   row->offset),
			     row->expected, "%s", row->name);
	}
}

Test(conf, fills_texts_words_and_titles)
{
	CLEAN(fixture_done) struct fixture f;

	fixture_of(&f, "name = \"a\\\\\\\"#{\"\nis_on = no\n"
		       "paint { colour = \"red\" }\n"
		       "outer \"1\" { port = 465\n"
		       "  inner \"x\" { key = \"p\" }\n"
		       "  inner \"y\" { key = \"q\" } }\n"
		       "outer \"2\" { }");
	cr_assert_str_eq(text_string(&f.said), "");
	cr_expect(slice_eq(f.target.name, SLICE("a\\\"#{")));
	cr_expect_not(f.target.is_on);
	cr_expect_eq(f.target.colour, RED);
	cr_assert_eq(f.target.outers_count, 2);
	cr_expect(slice_eq(f.target.outers[0].title, SLICE("1")));
	cr_expect_eq(f.target.outers[0].port, 465);
	cr_expect_eq(f.target.outers[1].port, 25);
	cr_assert_eq(f.target.outers[0].inners_count, 2);
	cr_expect(slice_eq(f.target.outers[0].inners[1].title, SLICE("y")));
	cr_expect(slice_eq(f.target.outers[0].inners[1].key, SLICE("q")));
	cr_expect_eq(f.target.outers[1].inners_count, 0);
}

/* ---- what is refused ---- */

/* A line of a key in PEM, and what is said where one stands in the file. */
#define KEY_LINE \
	"fqs6dbNbe4OShB9FOGZEdF9gJm4HjU7i4QDPPU875vpwvJBvmvdRfcA/YmiEb/u5"
#define PEM_STANDS_HERE \
	"a key or a certificate in PEM stands here: it belongs into a file " \
	"of its own, which the configuration names; nothing of this file is " \
	"read\n"

static const struct bad_row {
	const char *name, *input, *said;
} bad_rows[] = {
	{"unknown option", "x = 1", "a:1: unknown option 'x'\n"},
	{"near miss", "\nnmae = \"n\"",
	 "a:2: unknown option 'nmae'; did you mean 'name'?\n"},
	{"near miss in a section", "paint {\ncolor = red }",
	 "a:2: unknown option 'color' in section 'paint'; did you mean "
	 "'colour'?\n"},
	{"in the wrong section", "colour = red",
	 "a:1: unknown option 'colour'; it belongs into a section: "
	 "'paint.colour'\n"},
	{"a missing brace", "outer \"a\" {\nname = \"n\"\n",
	 "a:2: unknown option 'name' in section 'outer'; it stands outside of "
	 "sections: is a '}' missing for the one that begins on line 1?\n"
	 "a:3: the file ends inside the section 'outer' that begins on line "
	 "1: a '}' is missing\n"},
	{"unknown section", "pant { }",
	 "a:1: unknown section 'pant'; did you mean 'paint'?\n"},
	{"duplicate option", "even = \"2\"\neven = \"4\"",
	 "a:2: duplicate option 'even': the first is in a, line 1\n"},
	{"duplicate section", "paint { }\n\npaint { count = x }",
	 "a:3: duplicate section 'paint': the first is in a, line 1\n"
	 "a:3: 'count': 'x' is not a number\n"},
	{"duplicate title", "outer \"b\" {}\nouter \"c\" {}\nouter \"B\" {}",
	 "a:3: duplicate section 'outer \"B\"': the first is in a, line 1\n"},
	{"no title", "outer { }",
	 "a:1: 'outer' is a section with a title: outer \"…\" {…}\n"},
	{"an empty title", "outer \"\" { }",
	 "a:1: the title of 'outer' is empty\n"},
	{"a title too much", "paint \"x\" { }",
	 "a:1: the section 'paint' takes no title\n"},
	{"a bare title", "outer b { }",
	 "a:1: the title stands in double quotes: outer \"b\" {…}\n"},
	{"section as option", "paint = 1",
	 "a:1: 'paint' is a section: paint {…}\n"},
	{"option as section", "even { }",
	 "a:1: 'even' is an option, not a section: even = …\n"},
	{"missing", "outer \"a\" {\ninner \"i\" { } }",
	 "a:2: 'key' is missing in the section 'inner \"i\"'\n"},
	{"empty where not allowed", "outer \"a\" { inner \"i\" { key = \"\" }}",
	 "a:1: 'key': must not be empty\n"},
	{"too long", "name = \"123456789\"",
	 "a:1: 'name': longer than 8 bytes\n"},
	{"a bare text", "name = n",
	 "a:1: 'name': a text stands in double quotes: name = \"…\"\n"},
	{"no number", "paint { count = \"many\" }",
	 "a:1: 'count': 'many' is not a number\n"},
	{"negative", "paint { count = -1 }",
	 "a:1: 'count': '-1' is not a number\n"},
	{"below", "paint { count = 0 }",
	 "a:1: 'count': 0 is out of range: 1 to 10\n"},
	{"above", "paint {\n\ncount = 11\n}",
	 "a:3: 'count': 11 is out of range: 1 to 10\n"},
	{"beyond 64 bits", "paint { count = 18446744073709551616 }",
	 "a:1: 'count': '18446744073709551616' is too large\n"},
	{"a size beyond 64 bits", "paint { size = 18014398509481984K }",
	 "a:1: 'size': '18014398509481984K' is too large\n"},
	{"a size's range in its units", "paint { size = 2G }",
	 "a:1: 'size': 2G is out of range: 1 to 1G\n"},
	{"a size's unit", "paint { size = 2KB }",
	 "a:1: 'size': '2KB' is not a size, such as \"50M\" (K, M, G)\n"},
	{"only a unit", "paint { size = M }",
	 "a:1: 'size': 'M' is not a size, such as \"50M\" (K, M, G)\n"},
	{"a time without unit", "paint { time = 5 }",
	 "a:1: 'time': '5' lacks a unit: s, m, h or d\n"},
	{"a time's range", "paint { time = 2h }",
	 "a:1: 'time': 2h is out of range: 1s to 1h\n"},
	{"a time in a list", "paint { times = {\"1s\",\n\"2x\"} }",
	 "a:2: 'times': '2x' is not a time, such as \"5m\" (s, m, h, d)\n"},
	{"no times at all", "paint { times = {} }",
	 "a:1: 'times': the list is empty\n"},
	{"no word", "paint { colour = gren }",
	 "a:1: 'colour': 'gren' is none of: red, green; did you mean "
	 "'green'?\n"},
	{"a word beyond the range", "paint { colour = blue }",
	 "a:1: 'colour': 'blue' is none of: red, green\n"},
	{"no bool", "is_on = maybe",
	 "a:1: 'is_on': 'maybe' is neither true nor false\n"},
	{"a list for one", "name = {\"a\", \"b\"}",
	 "a:1: 'name' takes one value, not a list\n"},
	{"several for one", "name = \"a\", \"b\"\neven = \"3\"",
	 "a:1: several values stand in braces: name = {…, …}\n"
	 "a:2: 'even': '3' is not even\n"},
	{"too many elements", "evens = {\"2\" \"2\" \"2\" \"2\"}",
	 "a:1: 'evens' has 4 elements: 0 to 3 are allowed\n"},
	{"no value", "paint { count =\n}", "a:1: 'count' has no value\n"},
	{"no value before another", "paint { count =\nsize = 5 }",
	 "a:1: 'count' has no value\n"},
	{"no value at the end", "name =", "a:1: 'name' has no value\n"},
	{"no equals sign", "name \"n\"",
	 "a:1: expected '=' or '{' behind the name of an option or a "
	 "section\n"},
	{"a lonely word", "name\neven = \"3\"",
	 "a:1: expected '=' or '{' behind the name of an option or a section\n"
	 "a:2: 'even': '3' is not even\n"},
	{"two commas", "evens = {\"2\",, \"3\"}\neven = \"5\"",
	 "a:1: nothing stands before ',' in the list 'evens'\n"
	 "a:1: 'evens': '3' is not even\n"
	 "a:2: 'even': '5' is not even\n"},
	{"an unclosed list", "evens = {\"2\"\nis_on = x\neven = \"3\"",
	 "a:2: unexpected '=' in the list 'evens', which begins on line 1: is "
	 "a '}' missing?\n"
	 "a:2: 'evens': a text stands in double quotes: evens = \"…\"\n"
	 "a:3: 'even': '3' is not even\n"},
	{"an unclosed list at the end", "evens = {\"2\"",
	 "a:1: unexpected the end of the file in the list 'evens', which "
	 "begins on line 1: is a '}' missing?\n"},
	{"an unclosed text", "name = \"n\neven = \"3\"",
	 "a:1: a text does not end on its line: a '\"' is missing\n"
	 "a:2: 'even': '3' is not even\n"},
	{"truncated", "paint { count = 3\n",
	 "a:2: the file ends inside the section 'paint' that begins on line "
	 "1: a '}' is missing\n"},
	{"a brace too much", "paint { } }\neven = \"3\"",
	 "a:1: this '}' closes nothing\n"
	 "a:2: 'even': '3' is not even\n"},
	{"single quotes", "name = 'n'",
	 "a:1: a text stands in double quotes, not in single ones\n"},
	{"semicolon", "is_on = true;", "a:1: unexpected ';': none is needed\n"},
	{"escape", "name = \"\\n\"",
	 "a:1: unknown escape '\\n' in a text: a backslash is written \\\\\n"},
	{"nothing is expanded", "is_on = ${HOME}",
	 "a:1: expected the name of an option or a section, found '{'\n"
	 "a:1: 'is_on': '$' is neither true nor false\n"},
	{"control byte", "\x01", "a:1: unexpected byte 0x01\n"},
	{"control byte in a text", "name = \"\x1b[m\"",
	 "a:1: unexpected byte 0x1b in a text\n"},
	{"starts with a value", "\"x\" = 3\neven = \"3\"",
	 "a:1: expected the name of an option or a section, found a text\n"
	 "a:2: 'even': '3' is not even\n"},
	{"a name that might be a secret", "hunter2 = 3",
	 "a:1: unknown option '…'\n"},
	{"a name near to one", "eve2 = 3",
	 "a:1: unknown option 'eve2'; did you mean 'even'?\n"},
	{"a secret instead of a section's name", "hunter2 { a = \"b\"\n",
	 "a:1: unknown section '…'\n"
	 "a:2: the file ends inside the section '…' that begins on line 1: a "
	 "'}' is missing\n"},
	{"a secret without value", "hunter2==\neven = \"3\"",
	 "a:1: '…' has no value\n"
	 "a:1: unknown option '…'\n"
	 "a:2: 'even': '3' is not even\n"},
	{"words of a password", "correct horse battery\neven = \"3\"",
	 "a:1: expected '=' or '{' behind the name of an option or a section\n"
	 "a:2: 'even': '3' is not even\n"},
	{"a line of a key as value", "even = \"" KEY_LINE "\"",
	 "a:1: 'even': '...' is not even\n"},
	{"a secret instead of a section's name and title",
	 "hunter2 correct { }",
	 "a:1: the title stands in double quotes: NAME \"…\" {…}\n"
	 "a:1: unknown section '…'\n"},
	{"a long path", "even = \"/srv/MailKeys2026/Relay/ExampleOrganisation\"",
	 "a:1: 'even': '/srv/MailKeys2026/Relay/ExampleOrganisation' is not "
	 "even\n"},
	{"a line of a key that has slashes", "even = \"/A+" KEY_LINE "\"",
	 "a:1: 'even': '...' is not even\n"},
	{"a key in PEM",
	 "even = \"3\"\n-----BEGIN PRIVATE KEY-----\n" KEY_LINE "\n"
	 "-----END PRIVATE KEY-----\n",
	 "a:2: " PEM_STANDS_HERE},
	{"a key in PEM as a value",
	 "name = \"-----BEGIN PRIVATE KEY-----\n" KEY_LINE "\nAb3=\n"
	 "-----END PRIVATE KEY-----\"\n",
	 "a:1: " PEM_STANDS_HERE},
	{"the rest of a key in PEM", KEY_LINE "\n-----END PRIVATE KEY-----\n",
	 "a:2: " PEM_STANDS_HERE},
	{"PEM in a comment", "# -----BEGIN PRIVATE KEY-----\neven = \"3\"",
	 "a:2: 'even': '3' is not even\n"},
	{"include with =", "include = \"b\"",
	 "a:1: a file is included by: include \"FILE\"\n"},
	{"include of nothing", "include \"\"", "a:1: include names no file\n"},
	{"include that is not there", "\ninclude \"b\"",
	 "a:2: 'b': not among the sources\n"},
	{"include of itself", "\ninclude \"./a\"", "a:2: 'a': includes itself\n"},
};

Test(conf, refuses)
{
	for (size_t i = 0; i < COUNT(bad_rows); i++) {
		CLEAN(fixture_done) struct fixture f;

		fixture_of(&f, bad_rows[i].input);
		cr_expect_str_eq(text_string(&f.said), bad_rows[i].said,
				 "%s: %s", bad_rows[i].name,
				 text_string(&f.said));
	}
}

Test(conf, refuses_a_nul_byte)
{
	CLEAN(fixture_done) struct fixture f = {0};

	conf_sources_add(&f.sources, SLICE("a"), slice_of("\n\0x", 3));
	fixture_parse(&f);
	cr_expect_str_eq(text_string(&f.said),
			 "a:2: a NUL byte: this is not a text file\n");
}

Test(conf, ends_its_list_of_errors)
{
	CLEAN(text_done) struct text input = {0};
	CLEAN(fixture_done) struct fixture f;
	size_t lines = 0;

	for (size_t i = 0; i < CONF_ERRORS_MAX + 5; i++)
		text_add_string(&input, "x = 1\n");
	fixture_of(&f, text_string(&input));
	cr_expect_eq(f.errors.count, CONF_ERRORS_MAX + 5);
	for (size_t i = 0; i < f.said.len; i++)
		lines += f.said.bytes[i] == '\n';
	cr_expect_eq(lines, CONF_ERRORS_MAX + 1);
	cr_expect(slice_ends_nocase(text_slice(&f.said),
				    SLICE("\nand 5 more errors\n")));
}

Test(conf, bounds_depth_and_length)
{
	CLEAN(text_done) struct text deep = {0}, wide = {0};
	CLEAN(fixture_done) struct fixture f, g;

	for (size_t i = 0; i < 100000; i++)
		text_add_string(&deep, "x {");
	fixture_of(&f, text_string(&deep));
	cr_expect_neq(strstr(text_string(&f.said), "nest deeper than 16"),
		      NULL);
	text_add_string(&wide, "evens = {");
	for (size_t i = 0; i < CONF_LIST_MAX + 1; i++)
		text_add_string(&wide, "\"2\" ");
	text_add_string(&wide, "}\nname = \"");
	for (size_t i = 0; i < CONF_TEXT_MAX + 1; i++)
		text_add_byte(&wide, 'x');
	text_add_string(&wide, "\"\n");
	fixture_of(&g, text_string(&wide));
	cr_expect_neq(strstr(text_string(&g.said),
			     "a:1: the list 'evens' has more than 4096"),
		      NULL);
	cr_expect_neq(strstr(text_string(&g.said),
			     "a:2: a text is longer than 4096 bytes"), NULL);
}

/* Each file cut anywhere is either whole or refused, never an accident. */
Test(conf, survives_every_cut)
{
	static const char whole[] =
		"name = \"n\\\"\" # c\nevens = {\"2\", \"4\"}\n"
		"outer \"a\" { inner \"i\" { key = \"k\" } }\n";

	for (size_t len = 0; len < sizeof(whole); len++) {
		CLEAN(fixture_done) struct fixture f = {0};

		conf_sources_add(&f.sources, SLICE("a"), slice_of(whole, len));
		fixture_parse(&f);
		if (len > 49 && len < sizeof(whole) - 2)
			cr_expect_gt(f.errors.count, 0, "cut at %zu", len);
	}
}

/* ---- the reference ---- */

Test(conf, the_reference_parses_and_means_the_defaults)
{
	CLEAN(text_done) struct text reference = {0}, active = {0};
	CLEAN(fixture_done) struct fixture f, g;
	struct slice rest, line;

	conf_write(&conf_stand_table, &reference);
	fixture_of(&f, text_string(&reference));
	cr_expect_str_eq(text_string(&f.said), "");
	cr_expect_eq(f.target.outers_count, 0);
	/* With every option taken out of its comment it parses too. */
	rest = text_slice(&reference);
	while (slice_split(&rest, '\n', &line)) {
		struct slice bare = slice_trim(line);

		if (slice_starts(bare, SLICE("#")) &&
		    !(slice_starts(bare, SLICE("# ")) &&
		      !slice_starts(bare, SLICE("#    "))))
			line = slice_from(bare, 1);
		text_add(&active, line);
		text_add_byte(&active, '\n');
	}
	fixture_of(&g, text_string(&active));
	cr_expect_str_eq(text_string(&g.said), "", "%s\n%s",
			 text_string(&g.said), text_string(&active));
	cr_expect(slice_eq(f.target.name, g.target.name));
	cr_expect_eq(f.target.size, g.target.size);
	cr_expect_eq(f.target.times_count, g.target.times_count);
	cr_assert_eq(g.target.outers_count, 1);
	cr_assert_eq(g.target.outers[0].inners_count, 1);
	cr_expect(slice_eq(g.target.outers[0].inners[0].key, SLICE("k.pem")));
}

static const struct {
	const char *a, *b;
	size_t distance;
} distance_rows[] = {
	{"", "", 0},          {"abc", "", 3},      {"port", "port", 0},
	{"prot", "port", 1},  {"pot", "port", 1},  {"ports", "port", 1},
	{"part", "port", 1},  {"PORT", "port", 0}, {"abcd", "dcba", 3},
};

Test(conf, measures_distance)
{
	for (size_t i = 0; i < COUNT(distance_rows); i++) {
		struct slice a = SLICE(distance_rows[i].a);
		struct slice b = SLICE(distance_rows[i].b);

		cr_expect_eq(conf_distance(a, b), distance_rows[i].distance,
			     "%s %s", a.bytes, b.bytes);
		cr_expect_eq(conf_distance(b, a), distance_rows[i].distance);
	}
}
