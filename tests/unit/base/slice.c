#include <criterion/criterion.h>

#include "base/slice.h"

static const struct {
	const char *name, *input;
	bool ok;
	uint64_t number;
} number_rows[] = {
	{"zero", "0", true, 0},
	{"plain", "1234", true, 1234},
	{"leading zeros stay decimal", "025", true, 25},
	{"largest", "18446744073709551615", true, UINT64_MAX},
	{"one over", "18446744073709551616", false, 0},
	{"ten times over", "99999999999999999999", false, 0},
	{"empty", "", false, 0},
	{"sign", "+1", false, 0},
	{"space", " 1", false, 0},
	{"hexadecimal", "0x10", false, 0},
};

Test(slice, number)
{
	for (size_t i = 0; i < COUNT(number_rows); i++) {
		uint64_t number = 0;
		bool ok = slice_number(SLICE(number_rows[i].input), &number);

		cr_expect_eq(ok, number_rows[i].ok, "%s", number_rows[i].name);
		cr_expect_eq(number, number_rows[i].number, "%s",
			     number_rows[i].name);
	}
}

/* At every place of every length around a block. */
Test(slice, is_ascii)
{
	char bytes[140];

	memset(bytes, 0x7f, sizeof(bytes));
	for (size_t len = 0; len < sizeof(bytes); len++) {
		cr_expect(slice_is_ascii(slice_of(bytes, len)), "%zu", len);
		for (size_t at = 0; at < sizeof(bytes); at++) {
			bytes[at] = (char)0x80;
			cr_expect_eq(slice_is_ascii(slice_of(bytes, len)),
				     at >= len, "%zu of %zu", at, len);
			bytes[at] = 0x7f;
		}
	}
}

static const struct {
	const char *name, *input, *parts[5];
} split_rows[] = {
	{"none", "", {NULL}},
	{"one", "a", {"a"}},
	{"two", "a,b", {"a", "b"}},
	{"empty in the middle", "a,,b", {"a", "", "b"}},
	{"a last separator adds nothing", "a,", {"a"}},
	{"only a separator", ",", {""}},
};

Test(slice, split)
{
	for (size_t i = 0; i < COUNT(split_rows); i++) {
		struct slice rest = SLICE(split_rows[i].input), part;
		size_t n = 0;

		while (slice_split(&rest, ',', &part)) {
			cr_assert_not_null(split_rows[i].parts[n], "%s",
					   split_rows[i].name);
			cr_expect(slice_eq(part,
					   SLICE(split_rows[i].parts[n])),
				  "%s: part %zu is '%.*s'", split_rows[i].name,
				  n, SLICE_ARG(part));
			n++;
		}
		cr_expect_null(split_rows[i].parts[n], "%s",
			       split_rows[i].name);
	}
}

Test(slice, cuts_stay_inside)
{
	struct slice abc = SLICE("abc");

	cr_expect(slice_eq(slice_sub(abc, 1, 1), SLICE("b")));
	cr_expect(slice_eq(slice_sub(abc, 1, 99), SLICE("bc")));
	cr_expect_eq(slice_sub(abc, 3, 1).len, 0);
	cr_expect_eq(slice_sub(abc, SIZE_MAX, SIZE_MAX).len, 0);
	cr_expect_eq(slice_from(SLICE_NONE, 1).len, 0);
}

Test(slice, compares)
{
	cr_expect(slice_eq_nocase(SLICE("DKIM-Signature"),
				  SLICE("dkim-signature")));
	cr_expect_not(slice_eq_nocase(SLICE("a"), SLICE("ab")));
	cr_expect(slice_ends_nocase(SLICE("a.Example.COM"),
				    SLICE(".example.com")));
	cr_expect_not(slice_ends_nocase(SLICE("com"), SLICE("example.com")));
	cr_expect_lt(slice_compare(SLICE("a"), SLICE("ab")), 0);
	cr_expect_gt(slice_compare(SLICE("b"), SLICE("ab")), 0);
	cr_expect_eq(slice_compare(SLICE_NONE, SLICE("")), 0);
	cr_expect_eq(slice_find(SLICE("a@b@c"), '@'), 1);
	cr_expect_eq(slice_find_last(SLICE("a@b@c"), '@'), 3);
	cr_expect_eq(slice_find(SLICE_NONE, '@'), -1);
	cr_expect(slice_eq(slice_trim(SLICE(" \r\n a b\t ")), SLICE("a b")));
}

Test(text, grows_and_keeps_its_nul)
{
	struct text text = {0};

	cr_expect_str_eq(text_string(&text), "");
	for (int i = 0; i < 1000; i++)
		text_addf(&text, "%d,", i);
	cr_expect_eq(text.len, 3890);
	cr_expect_eq(strlen(text_string(&text)), 3890);
	text_drop_front(&text, 3890 - 4);
	cr_expect_str_eq(text_string(&text), "999,");
	text_clear(&text);
	cr_expect_str_eq(text_string(&text), "");
	text_done(&text);
}

Test(text, taken_bytes_are_the_callers)
{
	struct text text = {0};
	char *bytes;

	text_add_string(&text, "abc");
	bytes = text_take(&text);
	cr_expect_str_eq(bytes, "abc");
	cr_expect_null(text.bytes);
	free(bytes);
}

Test(text, gives_back_what_it_does_not_use)
{
	CLEAN(text_done) struct text text = {0};

	text_fit(&text);
	cr_expect_eq(text.size, 0);
	text_room(&text, 5000);
	text_add_string(&text, "kept");
	text_fit(&text);
	cr_expect_eq(text.size, 5);
	cr_expect_str_eq(text_string(&text), "kept");
	text_add_string(&text, ", and more");
	cr_expect_str_eq(text_string(&text), "kept, and more");
}
