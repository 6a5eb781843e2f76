#include <criterion/criterion.h>

#include "milter/encoded_word.h"

#define MORE "an encoded word that is more than a name"
#define UNREAD "an encoded word that cannot be read here"
#define BOB " <bob@example.com>"

static const struct slice allowed[] = {SLICE_LITERAL("bob@example.com"),
				       SLICE_LITERAL("*@sales.example.com")};

static const struct {
	const char *name, *value;
	const char *problem; /* NULL: none */
} rows[] = {
	{"no word", "\"bob@example.org\" <bob@example.com>", NULL},
	{"a name", "=?utf-8?Q?B=C3=B6b?=" BOB, NULL},
	{"another address", "=?utf-8?Q?ceo=40example.org?=" BOB, MORE},
	{"a control", "=?utf-8?Q?b=0ab?=" BOB, MORE},
	{"encoded twice",
	 "=?utf-8?Q?=3D=3Futf-8=3FQ=3Fceo=3D40example.org=3F=3D?=" BOB, MORE},
	/* addresses of his */
	{"his own", "=?utf-8?Q?bob=40example.com?=" BOB, NULL},
	{"folded", "\r\n =?utf-8?Q?Bob=40Example.com?=\r\n" BOB, NULL},
	{"by a pattern", "=?utf-8?B?YkBzYWxlcy5leGFtcGxlLmNvbQ==?=" BOB, NULL},
	{"going on", "=?utf-8?Q?bob=40example.com?= =?utf-8?Q?.org?=" BOB,
	 MORE},
	{"going on plainly", "=?utf-8?Q?bob=40example.com?=.org" BOB, MORE},
	{"behind another", "a =?utf-8?Q?bob=40example.com?=" BOB, MORE},
	{"with more", "=?utf-8?Q?ceo=40example.org_bob=40example.com?=" BOB,
	 MORE},
	{"with a name", "=?utf-8?Q?bob=40example.com_=3Ca=3E?=" BOB, MORE},
	{"encoded twice in it",
	 "=?utf-8?Q?=3D=3Fa=3FQ=3Fc=3F=3D=40sales.example.com?=" BOB, MORE},
	/* padding */
	{"none", "=?utf-8?B?Sm8?=" BOB, NULL},
	{"half of it", "=?utf-8?B?SQ=?=" BOB, NULL},
	{"too much", "=?utf-8?B?Q0VP=?=" BOB, UNREAD},
	{"half an octet", "=?utf-8?B?Q0VPQ?=" BOB, UNREAD},
	{"none, hiding", "=?utf-8?B?Y2VvQGV4YW1wbGUub3Jn?=" BOB, MORE},
	/* sets */
	{"any case", "=?uTF8?Q?b?=" BOB, NULL},
	{"a language", "=?iso-8859-15*en?Q?b?=" BOB, NULL},
	{"underscores", "=?ISO_8859-1?Q?b?=" BOB, NULL},
	{"none at all", "=??Q?b?=" BOB, UNREAD},
	{"a language alone", "=?*en?Q?b?=" BOB, UNREAD},
	{"the beginning of one", "=?utf?Q?b?=" BOB, UNREAD},
	{"two of them", "=?utf8 ascii?Q?b?=" BOB, UNREAD},
	{"a very long one", "=?utf-8aaaaaaaaaaaaaaaaaaaaaaaaaaaaa?Q?b?=" BOB,
	 UNREAD},
	{"utf-7", "=?utf7?Q?+ADw-ceo+AEA-example.org+AD4-?=" BOB, UNREAD},
	{"ebcdic", "=?cp037?B?TJSBk5OWmah8haeBlJeThUuWmYdu?=" BOB, UNREAD},
	{"johab", "=?johab?Q?b?=" BOB, UNREAD},
	/* two octets */
	{"shift_jis", "=?Shift_JIS?B?jlKTY4FAkb6YWQ==?=" BOB, NULL},
	{"big5", "=?big5?Q?=A4=FD=A1=40=A4j=A9=FA?=" BOB, NULL},
	{"gbk", "=?x-gbk?Q?=81=40=B4=F3?=" BOB, NULL},
	{"gb18030", "=?GB18030?Q?=81=40?=" BOB, NULL},
	{"behind one", "=?gbk?Q?=81=40=40?=" BOB, MORE},
	{"behind half of one", "=?shift_jis?Q?=81=3C=40?=" BOB, MORE},
	{"no such character", "=?shift_jis?Q?=85=40?=" BOB, MORE},
	{"one octet", "=?shift_jis?Q?=B1=40?=" BOB, MORE},
	{"no such character of gbk", "=?gbk?Q?=A1=40?=" BOB, MORE},
	{"never in gb2312", "=?gb2312?Q?=81=40?=" BOB, MORE},
	{"never in uhc", "=?ks_c_5601-1987?Q?=81=40?=" BOB, MORE},
	{"half of one last", "=?gbk?Q?=81?= =?gbk?Q?=81=40?=" BOB, UNREAD},
	/* states */
	{"iso-2022-jp", "=?iso-2022-jp?B?GyRCOzM8REBEGyhC?=" BOB, NULL},
	{"the kanji of 1978", "=?iso-2022-jp?Q?=1B=24=400=40=1B=28B?=" BOB,
	 NULL},
	{"without them", "=?iso-2022-jp-3?Q?=1B=24=400=40=1B=28B?=" BOB, MORE},
	{"iso-2022-jp-3", "=?ISO-2022-JP-3?Q?=1B=24B0=40=1B=28B?=" BOB, NULL},
	{"back in ascii", "=?iso-2022-jp?B?GyRCOzNFRBsoQjxj?=" BOB, MORE},
	{"not everybody's", "=?iso-2022-jp-2?Q?=1B$(C0@?=" BOB, MORE},
	{"of one octet", "=?iso-2022-jp?Q?=1B(I=40?=" BOB, MORE},
	{"no escape", "=?iso-2022-jp?Q?=1B$X0!?=" BOB, MORE},
	{"korean", "=?iso-2022-kr?Q?=1B$)Cceo@example.org?=" BOB, MORE},
	{"unknown", "=?iso-2022-zzz?Q?b?=" BOB, UNREAD},
};

Test(encoded_word, problems)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *problem = encoded_words_problem(
			SLICE(rows[i].value), allowed, COUNT(allowed));

		cr_expect(slice_eq(SLICE(problem), SLICE(rows[i].problem)),
			  "%s: %s", rows[i].name,
			  problem == NULL ? "none" : problem);
	}
}

/* Were the end of each looked for to the end of all, this would take hours. */
Test(encoded_word, endless)
{
	static const char *const units[] = {"=?a?q? ", "=?a?q", "=?a", "=?"};

	for (size_t i = 0; i < COUNT(units); i++) {
		CLEAN(text_done) struct text value = {0};

		for (size_t n = 0; n < 1000000; n++)
			text_add_string(&value, units[i]);
		cr_expect_null(encoded_words_problem(text_slice(&value),
						     allowed, COUNT(allowed)));
	}
}

/* What stands before the last end is still read. */
Test(encoded_word, behind_one_without_end)
{
	cr_expect_str_eq(encoded_words_problem(
				 SLICE("=?a?q?b =?utf-8?Q?ceo=40example.org?="),
				 allowed, COUNT(allowed)),
			 UNREAD);
}
