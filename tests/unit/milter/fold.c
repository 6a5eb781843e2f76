#include <criterion/criterion.h>

#include "milter/fold.h"

#define X10 "xxxxxxxxx "
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X500 X100 X100 X100 X100 X100
#define Y10 "yyyyyyyyyy"
#define Y100 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10
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
        {"white space at the end is not a line",
         "A: b" Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y10 Y10 Y10 Y10 Y10
                 Y10 Y10 Y10 Y10 "                         \r\n",
         false, NULL},
        {"the name does not stand alone", "A: " Y1000 "\r\n", false, NULL},
        {"as far as possible", "A: b c" Y1000 "\r\n", false,
         "A: b\r\n c" Y1000 "\r\n"},
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
