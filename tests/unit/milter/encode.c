#include <criterion/criterion.h>

#include "milter/encode.h"

#define A19 "AAAAAAAAAAAAAAAAAAA"
#define A38 A19 A19
#define A76 A38 A38

static const struct encode_row {
	const char *name;
	enum encode_kind kind;
	const char *input, *output;
} encode_rows[] = {
	{"nothing", ENCODE_QUOTED_PRINTABLE, "", ""},
	{"lines stay lines", ENCODE_QUOTED_PRINTABLE, "a b\r\n\r\nc\r\n",
	 "a b\r\n\r\nc\r\n"},
	{"no last line end", ENCODE_QUOTED_PRINTABLE, "a", "a"},
	{"8-bit and equals", ENCODE_QUOTED_PRINTABLE, "\xc3\xbc=1\r\n",
	 "=C3=BC=3D1\r\n"},
	{"white space that ends a line", ENCODE_QUOTED_PRINTABLE,
	 "flowed \r\na\t\r\n b \r\n", "flowed=20\r\na=09\r\n b=20\r\n"},
	{"white space that ends all", ENCODE_QUOTED_PRINTABLE, "a ", "a=20"},
	{"two spaces", ENCODE_QUOTED_PRINTABLE, "a  \r\n", "a =20\r\n"},
	{"CR and LF alone", ENCODE_QUOTED_PRINTABLE, "a\rb\nc\r\r\nd\r",
	 "a=0Db=0Ac=0D\r\nd=0D"},
	{"at most 76", ENCODE_QUOTED_PRINTABLE, A76 "BC\r\n",
	 A38 A19 "AAAAAAAAAAAAAAAAAA=\r\nABC\r\n"},
	{"an escape is not cut", ENCODE_QUOTED_PRINTABLE,
	 A38 A19 "AAAAAAAAAAAAAAAAA\xff\r\n",
	 A38 A19 "AAAAAAAAAAAAAAAAA=\r\n=FF\r\n"},
	{"no line may look like a boundary", ENCODE_QUOTED_PRINTABLE,
	 "--a=\r\n" A38 A19 "AAAAAAAAAAAAAAAAAA--inner\r\n",
	 "=2D-a=3D\r\n" A38 A19 "AAAAAAAAAAAAAAAAAA=\r\n=2D-inner\r\n"},
	{"nor like a mailbox's next message", ENCODE_QUOTED_PRINTABLE,
	 "From a\r\nFrom\r\n From b\r\nFrom\tc\r\nFromd e\r\nFro m\r\n"
	 "FFrom f\r\n>From g\r\n",
	 "From=20a\r\nFrom\r\n From b\r\nFrom\tc\r\nFromd e\r\nFro m\r\n"
	 "FFrom f\r\n>From g\r\n"},
	{"nor behind a soft line break", ENCODE_QUOTED_PRINTABLE,
	 A38 A19 "AAAAAAAAAAAAAAAAAAFrom b\r\n",
	 A38 A19 "AAAAAAAAAAAAAAAAAA=\r\nFrom=20b\r\n"},
	{"nor where that stood", ENCODE_REFOLD_QUOTED,
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "From x\r\n",
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "=\r\n=46rom x\r\n"},
	{"nor a broken one", ENCODE_REFOLD_QUOTED,
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "--inner\r\n--x\r\n",
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76
	 "=\r\n=2D-inner\r\n--x\r\n"},
	{"base64 of nothing", ENCODE_BASE64, "", ""},
	{"base64", ENCODE_BASE64, "a\r\nb", "YQ0KYg=="},
	{"base64 of one line", ENCODE_BASE64,
	 "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
	 "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
	 "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
	 "\x01\x01\x01\x01\x01\x01"
	 "a",
	 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	 "AQEBAQEB\r\nYQ=="},
	{"rewrapped", ENCODE_REWRAP_BASE64, A76 "B\r\n \tCD==\r\n",
	 A76 "\r\nBCD=="},
	{"short lines of quoted-printable stay", ENCODE_REFOLD_QUOTED,
	 "a=\r\nb=20 \r\n" A76 A76 "\r\n", "a=\r\nb=20 \r\n" A76 A76 "\r\n"},
	{"long ones are broken", ENCODE_REFOLD_QUOTED,
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "=C3=BC\r\n",
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "=\r\n=C3=BC\r\n"},
	{"not within an escape", ENCODE_REFOLD_QUOTED,
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A38 A19
	 "AAAAAAAAAAAAAAAAAA=C3B\r\n",
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A38 A19
	 "AAAAAAAAAAAAAAAAAA=C3=\r\nB\r\n"},
	{"not within white space that may end a line", ENCODE_REFOLD_QUOTED,
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "   \r\n",
	 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "=\r\n   \r\n"},
	{"as it is", ENCODE_NONE, "a\r\n\xff", "a\r\n\xff"},
};

Test(encode, encode)
{
	for (size_t i = 0; i < COUNT(encode_rows); i++) {
		const struct encode_row *row = &encode_rows[i];

		for (size_t step = 1; step < 90; step += 13) {
			CLEAN(text_done) struct text out = {0};
			struct slice rest = SLICE(row->input);
			struct encoder encoder;

			encode_init(&encoder, row->kind);
			for (; rest.len > 0; rest = slice_from(rest, step))
				encode_feed(&encoder, slice_sub(rest, 0, step),
					    &out);
			encode_finish(&encoder, &out);
			cr_expect_str_eq(text_string(&out), row->output,
					 "%s, in pieces of %zu", row->name,
					 step);
		}
	}
}

#define A990 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 A76 "AA"
#define E100 "\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4\xe4"
#define SPACES38 "                                      "
#define SPACES SPACES38 SPACES38 SPACES38 SPACES38 SPACES38 SPACES38 SPACES38

static const struct choose_row {
	const char *name, *content;
	enum encode_given given;
	bool is_text, is_long, is_utf8;
	int kind; /* -1: none */
} choose_rows[] = {
	{"998 octets", A990 "12345678\r\n", ENCODE_GIVEN_NONE, true, false,
	 true, ENCODE_QUOTED_PRINTABLE},
	{"999 octets", "a\r\n" A990 "123456789\r\n", ENCODE_GIVEN_NONE, true,
	 true, true, ENCODE_QUOTED_PRINTABLE},
	{"a CR alone counts", A990 "1234567\r8\r\n", ENCODE_GIVEN_NONE, true,
	 true, true, ENCODE_QUOTED_PRINTABLE},
	{"not text", A990, ENCODE_GIVEN_NONE, false, false, true,
	 ENCODE_BASE64},
	{"mostly 8-bit", "a" E100, ENCODE_GIVEN_NONE, true, false, false,
	 ENCODE_BASE64},
	{"UTF-8", "\xf0\x9f\x92\x8c \xc3\xbc\r\n", ENCODE_GIVEN_NONE, true,
	 false, true, ENCODE_BASE64},
	{"half a character", "abcdefghijklmnop\xc3", ENCODE_GIVEN_NONE, true,
	 false, false, ENCODE_QUOTED_PRINTABLE},
	{"overlong", "abcdefghijklmnop\xe0\x80\x80", ENCODE_GIVEN_NONE, true,
	 false, false, ENCODE_QUOTED_PRINTABLE},
	{"a surrogate", "abcdefghijklmnop\xed\xa0\x80", ENCODE_GIVEN_NONE, true,
	 false, false, ENCODE_QUOTED_PRINTABLE},
	{"base64", A990 A76 "\r\n", ENCODE_GIVEN_BASE64, false, true, true,
	 ENCODE_REWRAP_BASE64},
	{"no base64", A990 A76 "-\r\n", ENCODE_GIVEN_BASE64, false, true, true,
	 -1},
	{"quoted-printable", A990 A76 "\r\n", ENCODE_GIVEN_QUOTED_PRINTABLE,
	 false, true, true, ENCODE_REFOLD_QUOTED},
	{"which cannot be broken", A990 SPACES "\r\n",
	 ENCODE_GIVEN_QUOTED_PRINTABLE, false, true, true, -1},
};

Test(encode, choose)
{
	for (size_t i = 0; i < COUNT(choose_rows); i++) {
		const struct choose_row *row = &choose_rows[i];
		struct encode_measure measure;
		enum encode_kind kind = ENCODE_NONE;
		const char *why;

		encode_measure_init(&measure);
		encode_measure_feed(&measure, SLICE(row->content));
		why = encode_choose(&measure, row->given, row->is_text, &kind);
		cr_expect_eq(measure.has_long_line, row->is_long, "%s: long",
			     row->name);
		cr_expect_eq(encode_measure_is_utf8(&measure), row->is_utf8,
			     "%s: UTF-8", row->name);
		cr_expect_eq(why != NULL, row->kind < 0, "%s: %s", row->name,
			     why == NULL ? "chosen" : why);
		if (row->kind >= 0)
			cr_expect_eq((int)kind, row->kind, "%s: is %d",
				     row->name, (int)kind);
	}
}
