#include "relay/submit/phrase.h"

#include <criterion/criterion.h>

#define TEN "123456789 "
#define SIXTY TEN TEN TEN TEN TEN TEN

static const struct phrase_row {
	const char *words;
	size_t column;
	const char *written;
} value_rows[] = {
	{"", 9, ""},
	{"plain words", 9, "plain words"},
	{SIXTY "1234567", 9, SIXTY "1234567"},
	{SIXTY "12345678", 9, "123456789 123456789 123456789 123456789 "
			      "123456789 123456789\r\n 12345678"},
	{" space", 9, "=?utf-8?B?IHNwYWNl?="},
	{"space ", 9, "=?utf-8?B?c3BhY2Ug?="},
	{"two  spaces", 9, "=?utf-8?B?dHdvICBzcGFjZXM=?="},
	{"=?utf-8?B?eA==?=", 9, "=?utf-8?B?PT91dGYtOD9CP2VBPT0/PQ==?="},
	{"\xc3\xbc", 9, "=?utf-8?B?w7w=?="},
	/* At the end of a line there is room for some character at least. */
	{"\xc3\xbc\xc3\xbc\xc3\xbc", 70,
	 "=?utf-8?B?w7zDvA==?=\r\n =?utf-8?B?w7w=?="},
	/* No character is cut: 45 octets would end within one. */
	{"12345678901234567890123456789012345678901234\xc3\xbc", 1,
	 "=?utf-8?B?MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEy"
	 "MzQ=?=\r\n =?utf-8?B?w7w=?="},
};

Test(phrase, value)
{
	for (size_t i = 0; i < COUNT(value_rows); i++) {
		const struct phrase_row *row = &value_rows[i];
		CLEAN(text_done) struct text out = {0};

		phrase_write_value(SLICE(row->words), row->column, &out);
		cr_expect_str_eq(text_string(&out), row->written, "'%s'",
				 row->words);
	}
}

static const struct phrase_row name_rows[] = {
	{"Bob", 6, "Bob"},
	{"E. F.", 6, "\"E. F.\""},
	{"a \"b\" \\c", 6, "\"a \\\"b\\\" \\\\c\""},
	{"J\xc3\xbcrgen", 6, "=?utf-8?B?SsO8cmdlbg==?="},
	{"not \xff utf-8", 6, "=?utf-8?B?bm90IP8gdXRmLTg=?="},
};

Test(phrase, name)
{
	for (size_t i = 0; i < COUNT(name_rows); i++) {
		const struct phrase_row *row = &name_rows[i];
		CLEAN(text_done) struct text out = {0};

		phrase_write(SLICE(row->words), row->column, &out);
		cr_expect_str_eq(text_string(&out), row->written, "'%s'",
				 row->words);
	}
}
