#include "milter/mta_field.h"

#include <criterion/criterion.h>

static const struct {
	const char *name, *field, *value, *sent;
} fields[] = {
	{"one line", "Subject", " hello", "Subject: hello"},
	{"no space behind the colon", "Subject", "hello", "Subject:hello"},
	{"spaces that count", "Subject", "  a  ", "Subject:  a  "},
	{"empty", "Subject", "", "Subject:"},
	{"a name that ends in a space", "Subject ", " a", "Subject : a"},
	{"folded, as both MTAs show it", "To", " a,\n\tb,\n c",
	 "To: a,\r\n\tb,\r\n c"},
	{"CRLF stays CRLF", "To", " a,\r\n b", "To: a,\r\n b"},
	{"folded at once", "To", "\n a", "To:\r\n a"},
	{"a line end at the end", "To", " a\n", "To: a\r\n"},
	{"a bare CR stays", "To", " a\rb\n c", "To: a\rb\r\n c"},
	{"8 bits", "Subject", " \303\244\377", "Subject: \303\244\377"},
};

Test(mta_field, is_written_as_it_will_be_sent)
{
	for (size_t i = 0; i < COUNT(fields); i++) {
		CLEAN(text_done) struct text out = {0};

		mta_field_write(SLICE(fields[i].field), SLICE(fields[i].value),
				&out);
		cr_expect_str_eq(text_string(&out), fields[i].sent, "%s",
				 fields[i].name);
	}
}

static const struct {
	const char *name, *field, *field_name, *value;
} splits[] = {
	{"one line", "A: b", "A", " b"},
	{"folded", "A: b;\r\n\tc;\r\n d", "A", " b;\n\tc;\n d"},
	{"a colon in the value", "A: b:c", "A", " b:c"},
	{"nothing behind the colon", "A:", "A", ""},
};

Test(mta_field, is_split_for_the_mta)
{
	CLEAN(text_done) struct text name = {0};
	CLEAN(text_done) struct text value = {0};

	for (size_t i = 0; i < COUNT(splits); i++) {
		mta_field_split(SLICE(splits[i].field), &name, &value);
		cr_expect_str_eq(text_string(&name), splits[i].field_name,
				 "%s", splits[i].name);
		cr_expect_str_eq(text_string(&value), splits[i].value, "%s",
				 splits[i].name);
	}
}

Test(mta_field, a_reply_is_one_line_and_short)
{
	CLEAN(text_done) struct text out = {0};
	CLEAN(text_done) struct text lengthy = {0};

	mta_reply_write(SLICE("100% \r\n\303\244"), &out);
	cr_expect_str_eq(text_string(&out), "100%% ????");
	for (int i = 0; i < 2000; i++)
		text_add_byte(&lengthy, '%');
	text_clear(&out);
	mta_reply_write(text_slice(&lengthy), &out);
	cr_expect_leq(out.len, 482);
	cr_expect_eq(out.len % 2, 0);
}
