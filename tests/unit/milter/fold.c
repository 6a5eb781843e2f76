#include <criterion/criterion.h>

#include "milter/fold.h"

#define X10 "xxxxxxxxx "
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X500 X100 X100 X100 X100 X100
#define Y10 "yyyyyyyyyy"
#define Y100 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10
#define Y80 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10
#define Y400 Y100 Y100 Y100 Y100
#define Y500 Y400 Y100
#define Y1000 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100

static const struct fold_row {
	const char *name, *field;
	bool is_done;
	const char *folded; /* NULL: as it is */
} fold_rows[] = {
	{"short", "A: b\r\n", true, NULL},
	{"998 octets",
	 "A: b" X500 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10
	 "xxxx\r\n",
	 true, NULL},
	{"folded before", "A: b\r\n " X500 "\r\n\t" X500 "\r\n", true, NULL},
	{"before the run of white space",
	 "A: " X500 X100 X100 X100 X100 "zzz    \t  " Y100 "y\r\n", true,
	 "A: " X500 X100 X100 X100 X100 "zzz\r\n    \t  " Y100 "y\r\n"},
	{"not in a quoted-pair",
	 "To: \"a b\\ " Y500 Y400 Y80 Y10 "\" <c@d>\r\n", true,
	 "To: \"a\r\n b\\ " Y500 Y400 Y80 Y10 "\"\r\n <c@d>\r\n"},
	{"behind a backslash that is quoted",
	 "To: \"a b\\\\ " Y500 Y400 Y80 Y10 "\" <c@d>\r\n", true,
	 "To: \"a b\\\\\r\n " Y500 Y400 Y80 Y10 "\" <c@d>\r\n"},
	{"white space at the end is not a line",
	 "A: b" Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y10 Y10 Y10 Y10 Y10
		 Y10 Y10 Y10 Y10 "                         \r\n",
	 false, NULL},
	{"the name does not stand alone", "A: " Y1000 "\r\n", false, NULL},
	{"as far as possible", "A: b c" Y1000 "\r\n", false,
	 "A: b\r\n c" Y1000 "\r\n"},
	{"behind a comma of addresses", "tO: a@b" Y500 ",c@d,e@f" Y500 "\r\n",
	 true, "tO: a@b" Y500 ",c@d,\r\n e@f" Y500 "\r\n"},
	{"or behind a semicolon", "To: a@b" Y500 ";e@f" Y500 "\r\n", true,
	 "To: a@b" Y500 ";\r\n e@f" Y500 "\r\n"},
	{"of addresses only", "Subject: a" Y500 ",b" Y500 "\r\n", false, NULL},
	{"rather at white space", "To: a,b c@d" Y500 ",e@f" Y500 "\r\n", true,
	 "To: a,b\r\n c@d" Y500 ",\r\n e@f" Y500 "\r\n"},
	{"998 octets with the space that is added",
	 "Cc: a," Y500 Y100 Y100 Y100 Y100 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10
	 "yyyyyy,b\r\n",
	 true,
	 "Cc: a,\r\n " Y500 Y100 Y100 Y100 Y100 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10
		 Y10 "yyyyyy,\r\n b\r\n"},
	{"not in quotes", "To: \"aa,\\\",b\"," Y500 "\"c,d\"" Y400 Y80 "\r\n", true,
	 "To: \"aa,\\\",b\",\r\n " Y500 "\"c,d\"" Y400 Y80 "\r\n"},
	{"not in quotes that an earlier line opened",
	 "To: \"a\r\n ,b" Y1000 "\"@c\r\n", false, NULL},
	{"not in comments", "To: (a(b),)c,(\",)" Y500 "(d,e)" Y400 Y80 "\r\n", true,
	 "To: (a(b),)c,\r\n (\",)" Y500 "(d,e)" Y400 Y80 "\r\n"},
	{"nothing but white space is left", "To: " Y1000 ",   \r\n", false,
	 NULL},
	{"nor behind a comma that ends the line",
	 "To: " Y500 Y400 Y80 Y10 ",                    \r\n", false, NULL},
	{"no colon, no field", X500 X500 "\r\n", false, NULL},
};

Test(fold, field)
{
	for (size_t i = 0; i < COUNT(fold_rows); i++) {
		const struct fold_row *row = &fold_rows[i];
		CLEAN(text_done) struct text out = {0};
		bool is_done = fold_field(SLICE(row->field), &out);

		cr_expect_eq(is_done, row->is_done, "%s", row->name);
		cr_expect_str_eq(text_string(&out),
				 row->folded == NULL ? row->field : row->folded,
				 "%s", row->name);
	}
}

/* Were the white space at its end passed for each line that is cut off, this
 * would take minutes. */
Test(fold, white_tail)
{
	CLEAN(text_done) struct text field = {0}, out = {0};

	text_add_string(&field, "To: ");
	for (size_t n = 0; n < 4000000; n++)
		text_add_string(&field, "b ");
	for (size_t n = 0; n < 8000000; n++)
		text_add_byte(&field, ' ');
	text_add_string(&field, "\r\n");
	cr_expect_not(fold_field(text_slice(&field), &out));
	cr_expect_gt(out.len, field.len + 16000 - 100);
}

static const struct due_row {
	const char *name, *field;
	bool is_due;
} due_rows[] = {
	{"short", "A: b\r\n", false},
	{"998 octets",
	 "A: b" X500 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10
	 "xxxx\r\n",
	 false},
	{"999 octets",
	 "A: b" X500 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10
	 "xxxxx\r\n",
	 true},
	{"folded", "A: b\r\n " X500 "\r\n\t" X500 "\r\n", false},
	{"the second line", "A: b\r\n " X500 X500 "\r\n", true},
	{"no line end", X500 X500, true},
};

Test(fold, due)
{
	for (size_t i = 0; i < COUNT(due_rows); i++)
		cr_expect_eq(fold_is_due(SLICE(due_rows[i].field)),
			     due_rows[i].is_due, "%s", due_rows[i].name);
}
