#include <criterion/criterion.h>

#include "milter/separator.h"

static const struct row {
	const char *name, *input, *output;
	bool adds_line, renames_postmark;
} rows[] = {
	{"whole", "A: b\r\nC:\r\n\r\nd\r\n: e\r\n", "A: b\r\nC:\r\n\r\nd\r\n: e\r\n",
	 false, false},
	{"header alone", "A: b\r\n", "A: b\r\n", false, false},
	{"nothing", "", "", false, false},
	{"folded", "A:\r\n b\r\n\t\r\n c d\r\n\r\nx\r\n",
	 "A:\r\n b\r\n\t\r\n c d\r\n\r\nx\r\n", false, false},
	{"space before the colon", "A : b\r\nC\t :d\r\n\r\n",
	 "A : b\r\nC\t :d\r\n\r\n", false, false},
	{"no colon", "A: b\r\nhello\r\nC: d\r\n",
	 "A: b\r\n\r\nhello\r\nC: d\r\n", true, false},
	{"words before a colon", "A: b\r\nBackup of x: ok\r\n\r\n",
	 "A: b\r\n\r\nBackup of x: ok\r\n\r\n", true, false},
	{"8-bit", "A: b\r\nGr\xc3\xbc\xc3\x9f: x\r\n",
	 "A: b\r\n\r\nGr\xc3\xbc\xc3\x9f: x\r\n", true, false},
	{"no name", "A: b\r\n: c\r\n", "A: b\r\n\r\n: c\r\n", true, false},
	{"no header", "hello\r\n", "\r\nhello\r\n", true, false},
	{"white space first", " A: b\r\nC: d\r\n", "\r\n A: b\r\nC: d\r\n", true,
	 false},
	{"once only", "a\r\nb\r\n", "\r\na\r\nb\r\n", true, false},
	{"no end", "A: b\r\nhell", "A: b\r\n\r\nhell", true, false},
	{"a CR in a field", "A: b\rc\r\nd\r\n", "A: b\rc\r\n\r\nd\r\n", true,
	 false},
	{"a CR before a line", "A: b\r\n\rc\r\n", "A: b\r\n\r\n\rc\r\n", true,
	 false},
	{"an LF in a field", "A: b\nc\r\nD: e\r\n\r\nf\r\n",
	 "A: b\nc\r\nD: e\r\n\r\nf\r\n", false, false},
	{"of a mailbox", "From a@b Sat 20:00\r\nA: b\r\n\r\nFrom c\r\n",
	 "X-Mailbox-Line: From a@b Sat 20:00\r\nA: b\r\n\r\nFrom c\r\n", false,
	 true},
	{"of a mailbox, then a text", "From a\r\nb\r\n",
	 "X-Mailbox-Line: From a\r\n\r\nb\r\n", true, true},
	{"of a mailbox, quoted", ">From a@b\r\nA: b\r\n\r\nc\r\n",
	 "X-Mailbox-Line: >From a@b\r\nA: b\r\n\r\nc\r\n", false, true},
	{"quoted more than once", ">>From a\r\nA: b\r\n",
	 "X-Mailbox-Line: >>From a\r\nA: b\r\n", false, true},
	{"a quoted word", ">From: a\r\n> From b\r\n",
	 ">From: a\r\n\r\n> From b\r\n", true, false},
	{"of a mailbox, nothing in it", "From  \r\nA: b\r\n",
	 "X-Mailbox-Line: From  \r\nA: b\r\n", false, true},
	{"of a mailbox, no end", "From a", "X-Mailbox-Line: From a", false,
	 true},
	{"a CR in a mailbox's", "From a\rb\nc\r\nd\r\n",
	 "X-Mailbox-Line: From a\rb\nc\r\n\r\nd\r\n", true, true},
	{"later it is text", "A: b\r\nFrom c\r\n", "A: b\r\n\r\nFrom c\r\n", true,
	 false},
	{"From with a space", "From : a\r\n\r\n", "From : a\r\n\r\n", false,
	 false},
};

/* From memory of their own: none knows what came before. */
static void
feed(struct separator *separator, struct slice bytes, struct text *out)
{
	CLEAN(text_done) struct text own = {0};
	struct slice rest;

	text_add(&own, bytes);
	rest = text_slice(&own);
	separator_feed(separator, &rest, out);
	text_add(out, rest);
}

Test(separator, separator)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t step = 1; step < 40; step++) {
			CLEAN(text_done) struct text out = {0};
			CLEAN(separator_done) struct separator separator;
			struct slice rest = SLICE(rows[i].input);

			separator_init(&separator);
			for (; rest.len > 0; rest = slice_from(rest, step))
				feed(&separator, slice_sub(rest, 0, step),
				     &out);
			separator_finish(&separator, &out);
			cr_expect_str_eq(text_string(&out), rows[i].output,
					 "%s, in pieces of %zu", rows[i].name,
					 step);
			cr_expect_eq(separator.report.adds_line,
				     rows[i].adds_line, "%s", rows[i].name);
			cr_expect_eq(separator.report.renames_postmark,
				     rows[i].renames_postmark, "%s",
				     rows[i].name);
		}
}

Test(separator, what_is_behind_the_header_is_left)
{
	CLEAN(text_done) struct text out = {0};
	CLEAN(separator_done) struct separator separator;
	struct slice bytes = SLICE("A: b\r\n\r\nc\r\n");

	separator_init(&separator);
	separator_feed(&separator, &bytes, &out);
	cr_expect_str_eq(text_string(&out), "A: b\r\n\r\n");
	cr_expect(slice_eq(bytes, SLICE("c\r\n")));
}

/* As long as a line may be, and longer. */
Test(separator, a_name_is_held_back_only_so_far)
{
	for (size_t len = SEPARATOR_NAME_MAX - 1; len < SEPARATOR_NAME_MAX + 2;
	     len++) {
		CLEAN(text_done) struct text out = {0};
		CLEAN(separator_done) struct separator separator;

		separator_init(&separator);
		for (size_t i = 0; i < len; i++)
			feed(&separator, SLICE("x"), &out);
		cr_expect_leq(separator.held.len, SEPARATOR_NAME_MAX);
		feed(&separator, SLICE(":"), &out);
		cr_expect_eq(separator.report.adds_line,
			     len > SEPARATOR_NAME_MAX);
		cr_expect_eq(out.len, len + 1 + 2 * separator.report.adds_line);
	}
}

#define NAMED "X-Mailbox-Line: "
#define FOLDED "X-Mailbox-Line: From\r\n"

/* 998 octets are a line's (RFC 5322 2.1.1), those of the name included. */
Test(separator, a_mailbox_s_line_stays_within_bounds)
{
	for (size_t len = 980; len <= 998; len++) {
		CLEAN(text_done) struct text line = {0}, expected = {0};
		CLEAN(text_done) struct text out = {0};
		CLEAN(separator_done) struct separator separator;
		bool fits = strlen(NAMED) + len <= 998;

		text_add_string(&line, "From ");
		while (line.len < len)
			text_add_byte(&line, 'a');
		text_add_string(&expected, fits ? NAMED : FOLDED);
		text_add(&expected, slice_from(text_slice(&line),
					       fits ? 0 : strlen("From")));
		text_add_string(&expected, "\r\nA: b\r\n");
		text_add_string(&line, "\r\nA: b\r\n");
		separator_init(&separator);
		for (size_t i = 0; i < line.len; i++)
			feed(&separator, slice_sub(text_slice(&line), i, 1),
			     &out);
		cr_expect_str_eq(text_string(&out), text_string(&expected),
				 "%zu octets", len);
		cr_expect(separator.report.renames_postmark);
		cr_expect_not(separator.report.adds_line);
	}
}
