#include <criterion/criterion.h>

#include "milter/newline.h"

#define X100                                                 \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X900 X100 X100 X100 X100 X100 X100 X100 X100 X100

static const struct newline_row {
	const char *name, *input, *output;
	bool has_mended, is_long;
} newline_rows[] = {
	{"CRLF stays", "a\r\n\r\n.b\r\n..c\r\n", "a\r\n\r\n.b\r\n..c\r\n",
	 false, false},
	{"LF", "a\nb\n\nc\r\n", "a\r\nb\r\n\r\nc\r\n", true, false},
	{"CR", "a\rb\r\rc\r\n", "a\r\nb\r\n\r\nc\r\n", true, false},
	{"CRs before an LF", "a\r\r\nb\r\r\r\n", "a\r\nb\r\n", true, false},
	{"LF CR", "a\n\rb\r\n", "a\r\n\r\nb\r\n", true, false},
	{"a lone dot stays", "a\n.\nb\r.\rc\n.\r\nd\r\n",
	 "a\r\n.\r\nb\r\n.\r\nc\r\n.\r\nd\r\n", true, false},
	{"a dot and more stays", "a\n.b\r\n", "a\r\n.b\r\n", true, false},
	{"of two dots one goes", "a\n..\r..b\n...\r\n",
	 "a\r\n.\r\n.b\r\n..\r\n", true, false},
	{"a dot before CRs", "a\n.\r\rb\r\n", "a\r\n.\r\n\r\nb\r\n", true,
	 false},
	{"998 octets", X900 X100 "\n" X900 "\r\n", X900 X100 "\r\n" X900 "\r\n",
	 true, true},
	{"lines are counted as they go out", X900 "\n" X900 "\r" X900 "\r\n",
	 X900 "\r\n" X900 "\r\n" X900 "\r\n", true, false},
};

Test(newline, newline)
{
	for (size_t i = 0; i < COUNT(newline_rows); i++) {
		const struct newline_row *row = &newline_rows[i];

		for (size_t step = 1; step < 40; step++) {
			CLEAN(text_done) struct text out = {0};
			struct slice rest = SLICE(row->input);
			struct newline newline;

			newline_init(&newline);
			for (; rest.len > 0; rest = slice_from(rest, step))
				newline_feed(&newline, slice_sub(rest, 0, step),
					     &out);
			cr_expect_str_eq(text_string(&out), row->output,
					 "%s, in pieces of %zu", row->name,
					 step);
			cr_expect_eq(newline.has_mended, row->has_mended, "%s",
				     row->name);
			cr_expect_eq(newline.has_long_line, row->is_long, "%s",
				     row->name);
		}
	}
}
