#include <criterion/criterion.h>

#include "base/tags.h"

static const struct {
	const char *name, *list;
	/* "name=value|name=value|"; NULL: refused */
	const char *parsed;
} rows[] = {
	{"one", "v=1", "v=1|"},
	{"two", "v=1;k=rsa", "v=1|k=rsa|"},
	{"last semicolon", "v=1;", "v=1|"},
	{"space behind the last semicolon", "v=1; ", "v=1|"},
	{"white space everywhere", " v = 1 ; k\t=\trsa ", "v=1|k=rsa|"},
	{"folded", "v=1;\r\n\tb=ab\r\n cd", "v=1|b=ab\r\n cd|"},
	{"folded before the value", "b= \r\n  ab", "b=ab|"},
	{"several folds inside a value", "b=a \r\n \r\n b", "b=a \r\n \r\n b|"},
	{"two folds between tags", "v=1;\r\n \r\n k=rsa", "v=1|k=rsa|"},
	{"folds at every place", "\r\n \r\n\tv\r\n \r\n =\r\n \r\n 1 \r\n "
				 "\r\n ;\r\n \r\n ", "v=1|"},
	{"empty value", "p=", "p=|"},
	{"empty value in the middle", "p= ;k=rsa", "p=|k=rsa|"},
	{"equals signs in a value", "p=abc==; k=a=b", "p=abc==|k=a=b|"},
	{"unknown and long names", "a_1=x; Bcd=y", "a_1=x|Bcd=y|"},
	{"case makes a name", "a=1; A=2", "a=1|A=2|"},
	{"UTF-8 in a value", "n=caf\xc3\xa9", "n=caf\xc3\xa9|"},
	{"empty", "", NULL},
	{"only white space", " ", NULL},
	{"only a semicolon", ";", NULL},
	{"semicolon first", ";v=1", NULL},
	{"two semicolons", "v=1;;k=rsa", NULL},
	{"two last semicolons", "v=1;;", NULL},
	{"no equals sign", "v", NULL},
	{"no name", "=1", NULL},
	{"name begins with a digit", "1v=1", NULL},
	{"name begins with an underscore", "_v=1", NULL},
	{"name with a hyphen", "v-a=1", NULL},
	{"space in a name", "v a=1", NULL},
	{"twice", "v=1; v=1", NULL},
	{"twice, apart", "v=1;k=rsa;v=2;", NULL},
	{"bare LF", "v=1;\n k=rsa", NULL},
	{"bare CR", "v=1;\r k=rsa", NULL},
	{"CRLF that folds nothing", "v=1\r\n", NULL},
	{"CRLF behind the end", "v=1;\r\n", NULL},
	{"a fold at the end that folds nothing", "v=1;\r\n \r\n", NULL},
	{"control character", "v=a\x01", NULL},
	{"DEL", "v=a\x7f", NULL},
	{"Latin-1", "n=caf\xe9", NULL},
	{"overlong UTF-8", "n=\xc0\xaf", NULL},
	{"surrogate in UTF-8", "n=\xed\xa0\x80", NULL},
	{"cut UTF-8", "n=\xe2\x82", NULL},
};

Test(tags, parse)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text parsed = {0};
		struct tags tags = {0};
		struct fault fault = {0};
		bool ok = tags_parse(SLICE(rows[i].list), &tags, &fault);

		for (size_t j = 0; j < tags.count; j++)
			text_addf(&parsed, "%.*s=%.*s|",
				  SLICE_ARG(tags.items[j].name),
				  SLICE_ARG(tags.items[j].value));
		cr_expect_eq(ok, rows[i].parsed != NULL, "%s: %s",
			     rows[i].name, fault.text);
		if (rows[i].parsed != NULL)
			cr_expect_str_eq(text_string(&parsed), rows[i].parsed,
					 "%s", rows[i].name);
		else
			cr_expect_eq(fault.kind, FAULT_INPUT, "%s",
				     rows[i].name);
	}
}

Test(tags, nul_is_no_value)
{
	struct tags tags;

	cr_expect_not(tags_parse(slice_of("v=a\0b", 5), &tags, NULL));
	cr_expect_not(tags_parse(SLICE_NONE, &tags, NULL));
}

Test(tags, raw_is_all_between_the_separators)
{
	struct tags tags;
	struct slice list = SLICE("a=x; b = \r\n ab cd\r\n ; t=1");

	cr_assert(tags_parse(list, &tags, NULL));
	cr_expect(slice_eq(tags_find(&tags, "b")->raw,
			   SLICE(" \r\n ab cd\r\n ")));
	cr_expect(slice_eq(tags_find(&tags, "b")->value, SLICE("ab cd")));
	cr_expect(tags_find(&tags, "b")->raw.bytes > list.bytes);
	cr_expect_null(tags_find(&tags, "B"));
}

Test(tags, are_bounded)
{
	CLEAN(text_done) struct text list = {0};
	struct tags tags;
	struct fault fault;

	for (int i = 0; i < TAGS_MAX; i++)
		text_addf(&list, "t%d=x;", i);
	cr_expect(tags_parse(text_slice(&list), &tags, &fault));
	cr_expect_eq(tags.count, TAGS_MAX);
	text_add_string(&list, "more=x");
	cr_expect_not(tags_parse(text_slice(&list), &tags, &fault));
	cr_expect_eq(fault.kind, FAULT_LIMIT);
}

static const struct {
	const char *value, *items;
} item_rows[] = {
	{"", "|"},
	{"sha256", "sha256|"},
	{"sha1:sha256", "sha1|sha256|"},
	{"from : to\r\n :subject", "from|to|subject|"},
	{"a::b:", "a||b||"},
};

Test(tags, items)
{
	for (size_t i = 0; i < COUNT(item_rows); i++) {
		CLEAN(text_done) struct text items = {0};
		struct slice rest = SLICE(item_rows[i].value), item;

		while (tags_next_item(&rest, &item))
			text_addf(&items, "%.*s|", SLICE_ARG(item));
		cr_expect_str_eq(text_string(&items), item_rows[i].items);
	}
}
