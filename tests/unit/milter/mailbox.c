#include <criterion/criterion.h>

#include "milter/mailbox.h"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static const struct {
	const char *value, *name, *local;
} rows[] = {
	/* as they should be */
	{" alice@example.com", "", "alice"},
	{" <alice@example.com>", "", "alice"},
	{" Alice <alice@example.com>", "Alice", "alice"},
	{" \"Office printer, 2nd floor\" <p@example.com>",
	 "\"Office printer, 2nd floor\"", "p"},
	{" \"a \\\"b\\\" <c\" <p@example.com>", "\"a \\\"b\\\" <c\"", "p"},
	{" =?utf-8?Q?B=C3=BCro?=\r\n =?utf-8?Q?_1?= <p@example.com>",
	 "=?utf-8?Q?B=C3=BCro?= =?utf-8?Q?_1?=", "p"},
	{" B\xc3\xbcro <p@example.com>", "B\xc3\xbcro", "p"},
	/* as they have been */
	{" root (Cron Daemon)", "\"Cron Daemon\"", "root"},
	{" root@localhost (=?utf-8?Q?B=C3=BCro?=)",
	 "=?utf-8?Q?B=C3=BCro?=", "root"},
	{" p@example.com (a \"b\\)", "\"a b\"", "p"},
	/* as they should not be */
	{" Dr. Scan <p@example.com>", "\"Dr. Scan\"", "p"},
	{" Scan [2] <p@example.com>", "\"Scan [2]\"", "p"},
	{" \"Scan <p@example.com>", "\"Scan\"", "p"},
	{" =?utf-8?Q?a?=, (b) <p>", "=?utf-8?Q?a?=   b", "p"},
	{" p@a@b <p@example.com>", "", "p"},
	{" \"printer@localhost\" <p@example.com>", "", "p"},
	{"\ta\r\n\tb\x01\x7f <p>", "a b", "p"},
	{" printer", "", "printer"},
	{" Canon iR (", "", "Canon iR"},
	{" <", "", ""},
	{" ()", "", ""},
	{" \"\" <>", "\"\"", ""},
	{"", "", ""},
	{X100 X100 " <p@example.com>", X100 X100, "p"},
	{"x" X100 X100 " <p@example.com>", "", "p"},
};

Test(mailbox, names)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text name = {0};
		struct slice value = SLICE(rows[i].value);

		mailbox_name_write(value, &name);
		cr_expect_str_eq(text_string(&name), rows[i].name, "%s",
				 rows[i].value);
		cr_expect(slice_eq(mailbox_local(value), SLICE(rows[i].local)),
			  "%s: %.*s", rows[i].value,
			  SLICE_ARG(mailbox_local(value)));
	}
}

Test(mailbox, dot_atoms)
{
	static const struct {
		const char *text;
		bool is_one;
	} atoms[] = {
		{"a", true},     {"a.b+c", true}, {"", false},
		{".a", false},   {"a.", false},   {"a..b", false},
		{"a b", false},  {"a@b", false},  {"\"a\"", false},
		{"\xc3", false},
	};

	for (size_t i = 0; i < COUNT(atoms); i++)
		cr_expect_eq(mailbox_is_dot_atom(SLICE(atoms[i].text)),
			     atoms[i].is_one, "%s", atoms[i].text);
}

static const struct {
	const char *local, *unquoted;
	bool is_quoted;
} quote_rows[] = {
	{"a", "a", false},
	{"\"a\"", "a", true},
	{"\"a b\"", "a b", true},
	{"\"a\\\"b\"", "a\"b", true},
	{"\"a\\b\"", "ab", true},
	{"\"a\\\\\"", "a\\", true},
	{"\"a@b\"", "a@b", true},
	{"\"\"", "", true},
	{"\"a\x01\"", "a\x01", false},
	{"\"a\".b", "\"a\".b", false},
	{"\"a\"b\"", "a\"b", false},
	{"\"a", "\"a", false},
	{"\"", "\"", false},
	{"", "", false},
};

Test(mailbox, quotes)
{
	for (size_t i = 0; i < COUNT(quote_rows); i++) {
		CLEAN(text_done) struct text unquoted = {0};

		mailbox_unquote(SLICE(quote_rows[i].local), &unquoted);
		cr_expect_str_eq(text_string(&unquoted),
				 quote_rows[i].unquoted, "%s",
				 quote_rows[i].local);
		cr_expect_eq(mailbox_is_quoted(SLICE(quote_rows[i].local)),
			     quote_rows[i].is_quoted, "%s",
			     quote_rows[i].local);
	}
}

/* Were each quotation mark looked for to the end, this would take hours. */
Test(mailbox, endless)
{
	static const struct {
		const char *unit;
		size_t local_len;
	} values[] = {{"\\\"", 4000001}, {"\"\\", 4000001}};

	for (size_t i = 0; i < COUNT(values); i++) {
		CLEAN(text_done) struct text value = {0}, name = {0};

		text_add_string(&value, "\"");
		for (size_t n = 0; n < 2000000; n++)
			text_add_string(&value, values[i].unit);
		mailbox_name_write(text_slice(&value), &name);
		cr_expect_eq(name.len, 0);
		cr_expect_eq(mailbox_local(text_slice(&value)).len,
			     values[i].local_len);
	}
}
