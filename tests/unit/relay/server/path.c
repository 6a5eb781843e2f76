#include <criterion/criterion.h>

#include "relay/server/path.h"

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define LABEL63 X60 "xxx"

static const struct path_row {
	const char *name, *input;
	enum path_status status;
	const char *address, *local, *domain, *rest;
	bool needs_quotes;
} path_rows[] = {
	{"plain", "<a@example.com>", PATH_OK, "a@example.com", "a",
	 "example.com", ""},
	{"null", "<>", PATH_OK, "", "", "", ""},
	{"parameters behind", "<a@example.com> SIZE=1", PATH_OK,
	 "a@example.com", "a", "example.com", " SIZE=1"},
	{"case is kept", "<A.B@Example.COM>", PATH_OK, "A.B@Example.COM",
	 "A.B", "Example.COM", ""},
	{"atext", "<!#$%&'*+-/=?^_`{|}~@example.com>", PATH_OK,
	 "!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~",
	 "example.com", ""},
	{"quoted", "<\"a b\"@example.com>", PATH_OK, "\"a b\"@example.com",
	 "\"a b\"", "example.com", ""},
	{"quoted specials", "<\"a>@\\\"<,\"@example.com>", PATH_OK,
	 "\"a>@\\\"<,\"@example.com", "\"a>@\\\"<,\"", "example.com", ""},
	{"empty quoted", "<\"\"@example.com>", PATH_OK, "\"\"@example.com",
	 "\"\"", "example.com", ""},
	{"one label", "<a@localhost>", PATH_OK, "a@localhost", "a",
	 "localhost", ""},
	{"IPv4 literal", "<a@[192.0.2.1]>", PATH_OK, "a@[192.0.2.1]", "a",
	 "[192.0.2.1]", ""},
	{"IPv6 literal", "<a@[IPv6:2001:db8::1]>", PATH_OK,
	 "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", ""},
	{"source route", "<@one.example,@two.example:a@example.com>", PATH_OK,
	 "a@example.com", "a", "example.com", ""},
	{"label of 63", "<a@" LABEL63 ".example>", PATH_OK,
	 "a@" LABEL63 ".example", "a", LABEL63 ".example", ""},
	{"local part of 64", "<" X60 "xxxx@example.com>", PATH_OK,
	 X60 "xxxx@example.com", X60 "xxxx", "example.com", ""},
	{"local part of 65", "<" X60 "xxxxx@example.com>", PATH_OK,
	 X60 "xxxxx@example.com", X60 "xxxxx", "example.com", ""},
	{"path of 256 with a long local part",
	 "<" X60 X60 X60 X60 "xx@example.com>", PATH_OK,
	 X60 X60 X60 X60 "xx@example.com", X60 X60 X60 X60 "xx",
	 "example.com", ""},
	{"domain: underscores", "<a@my_host._x_.example>", PATH_OK,
	 "a@my_host._x_.example", "a", "my_host._x_.example", ""},
	{"UTF-8 domain: underscore", "<a@b\xc3\xbc_x.example>", PATH_OK,
	 "a@b\xc3\xbc_x.example", "a", "b\xc3\xbc_x.example", ""},
	{"A-label", "<a@xn--bcher-kva.example>", PATH_OK,
	 "a@xn--bcher-kva.example", "a", "xn--bcher-kva.example", ""},

	{"dot first", "<.a@example.com>", PATH_OK, ".a@example.com", ".a",
	 "example.com", "", true},
	{"dot last", "<a.@example.com>", PATH_OK, "a.@example.com", "a.",
	 "example.com", "", true},
	{"two dots", "<a..b@example.com>", PATH_OK, "a..b@example.com",
	 "a..b", "example.com", "", true},
	{"dots in UTF-8", "<\xc3\xa4.@example.com>", PATH_OK,
	 "\xc3\xa4.@example.com", "\xc3\xa4.", "example.com", "", true},
	{"dots in quotes", "<\"a..b.\"@example.com>", PATH_OK,
	 "\"a..b.\"@example.com", "\"a..b.\"", "example.com", "", false},
	{"dots without a domain", "<a.> X=1", PATH_NO_DOMAIN, "a.", "a.", "",
	 " X=1", true},
	{"path of 256 with its quotes", "<" X60 X60 X60 X60 "x.@a.example>",
	 PATH_OK, X60 X60 X60 X60 "x.@a.example",
	 X60 X60 X60 X60 "x.",
	 "a.example", "", true},
	{"domain: dot last", "<a@example.com.>", PATH_OK, "a@example.com", "a",
	 "example.com", ""},
	{"UTF-8 domain: dot last", "<a@b\xc3\xbc.>", PATH_OK,
	 "a@b\xc3\xbc", "a", "b\xc3\xbc", ""},
	{"no brackets", "a@example.com", PATH_OK, "a@example.com", "a",
	 "example.com", ""},
	{"no brackets, parameters behind", "a@example.com SIZE=1", PATH_OK,
	 "a@example.com", "a", "example.com", " SIZE=1"},
	{"no brackets, a tab behind", "a@example.com\tSIZE=1", PATH_OK,
	 "a@example.com", "a", "example.com", "\tSIZE=1"},
	{"no brackets, a space in quotes", "\"a b\"@example.com X", PATH_OK,
	 "\"a b\"@example.com", "\"a b\"", "example.com", " X"},
	{"no brackets, no domain", "postmaster", PATH_NO_DOMAIN, "postmaster",
	 "postmaster", "", ""},
	{"spaces around", "< a@example.com\t> X", PATH_OK, "a@example.com",
	 "a", "example.com", " X"},
	{"of a list", "<a@example.com; ,> X", PATH_OK, "a@example.com", "a",
	 "example.com", " X"},
	{"of a list, no brackets", "a@example.com;", PATH_OK, "a@example.com",
	 "a", "example.com", ""},
	{"of a list, a name", "<Joe <a@example.com>,>", PATH_OK,
	 "a@example.com", "a", "example.com", ""},
	{"quotes around all of it", "<\"a@example.com\">", PATH_OK,
	 "a@example.com", "a", "example.com", ""},
	{"quotes around a local part", "<\"a@b\"@example.com>", PATH_OK,
	 "\"a@b\"@example.com", "\"a@b\"", "example.com", ""},
	{"spaces alone", "<  >", PATH_OK, "", "", "", ""},
	{"a name", "<Joe <a@example.com>> X", PATH_OK, "a@example.com", "a",
	 "example.com", " X"},
	{"a name in quotes", "<\"Joe > Jim\" < a@example.com >>", PATH_OK,
	 "a@example.com", "a", "example.com", ""},
	{"a name without brackets around", "\"Joe\"<a@example.com>", PATH_OK,
	 "a@example.com", "a", "example.com", ""},

	{"no domain", "<postmaster>", PATH_NO_DOMAIN, "postmaster",
	 "postmaster", "", ""},
	{"no domain, parameters", "<Postmaster> X=1", PATH_NO_DOMAIN,
	 "Postmaster", "Postmaster", "", " X=1"},

	{"path of 257 with a long local part",
	 "<" X60 X60 X60 X60 "xxx@example.com>", PATH_TOO_LONG, "", "", "", ""},
	{"label of 64", "<a@" LABEL63 "x.example>", PATH_MALFORMED, "", "",
	 "", ""},
	{"path of 257", "<" X60 "@" LABEL63 "." LABEL63 "." X60 ".xxxxx>",
	 PATH_TOO_LONG, "", "", "", ""},
	{"domain of 256",
	 "<a@" LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 "x>",
	 PATH_TOO_LONG, "", "", "", ""},
	{"UTF-8 local", "<\xc3\xa4.\xc3\xb6@example.com>", PATH_OK,
	 "\xc3\xa4.\xc3\xb6@example.com", "\xc3\xa4.\xc3\xb6", "example.com",
	 ""},
	{"UTF-8 quoted", "<\"\xc3\xa4 b\"@example.com>", PATH_OK,
	 "\"\xc3\xa4 b\"@example.com", "\"\xc3\xa4 b\"", "example.com", ""},
	{"UTF-8 domain", "<a@b\xc3\xbc" "cher.example>", PATH_OK,
	 "a@b\xc3\xbc" "cher.example", "a", "b\xc3\xbc" "cher.example", ""},
	{"UTF-8 of four octets", "<\xf0\x9f\x93\xa7@example.com>", PATH_OK,
	 "\xf0\x9f\x93\xa7@example.com", "\xf0\x9f\x93\xa7", "example.com",
	 ""},
	{"Latin-1", "<\xe4@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"overlong", "<\xc0\xaf@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"surrogate", "<\xed\xa0\x80@example.com>", PATH_MALFORMED, "", "", "",
	 ""},
	{"cut UTF-8", "<\xe2\x82@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"a control of C1", "<\xc2\x85@example.com>", PATH_MALFORMED, "", "",
	 "", ""},
	{"a control of C1 in quotes", "<\"\xc2\x85\"@example.com>",
	 PATH_MALFORMED, "", "", "", ""},
	{"a control of C1 in the domain", "<a@\xc2\x85.example>",
	 PATH_MALFORMED, "", "", "", ""},
	{"escaped UTF-8", "<\"\\\xc3\xa4\"@example.com>", PATH_MALFORMED, "",
	 "", "", ""},
	{"UTF-8 domain: two dots", "<a@b\xc3\xbc..example>", PATH_MALFORMED,
	 "", "", "", ""},
	{"UTF-8 domain: dot first", "<a@.b\xc3\xbc.example>", PATH_MALFORMED,
	 "", "", "", ""},
	{"UTF-8 domain: space", "<a@b\xc3\xbc .example>", PATH_MALFORMED, "",
	 "", "", ""},

	{"nothing", "", PATH_MALFORMED, "", "", "", ""},
	{"not closed", "<a@example.com", PATH_MALFORMED, "", "", "", ""},
	{"not opened", "a@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"two", "<a@example.com,b@example.com>", PATH_MALFORMED, "", "", "",
	 ""},
	{"space", "<a @example.com>", PATH_MALFORMED, "", "", "", ""},
	{"tab", "<a\t@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"CR LF", "<a\r\n@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"CR LF in quotes", "<\"a\r\n\"@example.com>", PATH_MALFORMED, "", "",
	 "", ""},
	{"escaped CR", "<\"a\\\r\"@example.com>", PATH_MALFORMED, "", "", "",
	 ""},
	{"DEL", "<a\x7f@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"two at", "<a@b@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"empty local", "<@example.com>", PATH_MALFORMED, "", "", "", ""},
	{"empty domain", "<a@>", PATH_MALFORMED, "", "", "", ""},
	{"domain: two dots last", "<a@example.com..>", PATH_MALFORMED, "", "",
	 "", ""},
	{"domain: a dot alone", "<a@.>", PATH_MALFORMED, "", "", "", ""},
	{"UTF-8 domain: two dots last", "<a@b\xc3\xbc..>", PATH_MALFORMED,
	 "", "", "", ""},
	{"path of 257 with its quotes",
	 "<" X60 X60 X60 X60 "xx.@a.example>", PATH_TOO_LONG, "", "", "", ""},
	{"quotes around what is no address", "<\"a b@example.com\">",
	 PATH_MALFORMED, "", "", "", ""},
	{"of an empty list", "<;>", PATH_MALFORMED, "", "", "", ""},
	{"a name alone", "<Joe <>>", PATH_MALFORMED, "", "", "", ""},
	{"two names", "<Joe <Jim <a@example.com>>>", PATH_MALFORMED, "", "",
	 "", ""},
	{"a name, one bracket short", "<Joe <a@example.com>", PATH_MALFORMED,
	 "", "", "", ""},
	{"a name behind", "<<a@example.com> Joe>", PATH_MALFORMED, "", "", "",
	 ""},
	{"two in one", "<Joe <a@example.com>,<b@example.com>>",
	 PATH_MALFORMED, "", "", "", ""},
	{"domain: two dots", "<a@example..com>", PATH_MALFORMED, "", "", "",
	 ""},
	{"domain: hyphen first", "<a@-example.com>", PATH_MALFORMED, "", "",
	 "", ""},
	{"domain: hyphen last", "<a@example-.example>", PATH_MALFORMED, "", "",
	 "", ""},
	{"quote in the middle", "<a\"b\"@example.com>", PATH_MALFORMED, "",
	 "", "", ""},
	{"quote not closed", "<\"a@example.com>", PATH_MALFORMED, "", "", "",
	 ""},
	{"literal not closed", "<a@[192.0.2.1>", PATH_MALFORMED, "", "", "",
	 ""},
	{"IPv6 without its tag", "<a@[2001:db8::1]>", PATH_MALFORMED, "", "",
	 "", ""},
	{"other literal", "<a@[X400:x]>", PATH_MALFORMED, "", "", "", ""},
	{"route without end", "<@one.example>", PATH_MALFORMED, "", "", "",
	 ""},
	{"bad route", "<one.example:a@example.com>", PATH_MALFORMED, "", "",
	 "", ""},
	{"route alone", "<@one.example:>", PATH_MALFORMED, "", "", "", ""},
};

Test(path, parse)
{
	for (size_t i = 0; i < COUNT(path_rows); i++) {
		const struct path_row *row = &path_rows[i];
		struct path path = {.address = SLICE_NONE};
		struct slice rest = SLICE_NONE;

		cr_expect_eq(path_parse(SLICE(row->input), &path, &rest),
			     row->status, "%s: status", row->name);
		cr_expect(slice_eq(path.address, SLICE(row->address)),
			  "%s: address '%.*s'", row->name,
			  SLICE_ARG(path.address));
		cr_expect(slice_eq(path.local, SLICE(row->local)), "%s: local",
			  row->name);
		cr_expect_eq(path.needs_quotes, row->needs_quotes,
			     "%s: quotes", row->name);
		cr_expect_eq(path.is_utf8, !slice_is_ascii(path.address),
			     "%s", row->name);
		cr_expect(slice_eq(path.domain, SLICE(row->domain)),
			  "%s: domain", row->name);
		cr_expect(slice_eq(rest, SLICE(row->rest)), "%s: rest",
			  row->name);
	}
}

Test(path, nul_is_refused_wherever_it_stands)
{
	static const char whole[] = "<\"a\"@example.com>";

	for (size_t i = 1; i < sizeof(whole) - 2; i++) {
		char copy[sizeof(whole)];
		struct path path;
		struct slice rest;

		memcpy(copy, whole, sizeof(whole));
		copy[i] = '\0';
		cr_expect_neq(path_parse(slice_of(copy, sizeof(copy) - 1),
					 &path, &rest), PATH_OK, "at %zu", i);
	}
}

static const struct {
	const char *name, *input;
	enum param_status status;
	const char *keyword, *value, *rest;
} param_rows[] = {
	{"none", "", PARAM_NONE, "", "", ""},
	{"spaces", "   ", PARAM_NONE, "", "", "   "},
	{"keyword", " SMTPUTF8", PARAM_ONE, "SMTPUTF8", "", ""},
	{"value", " SIZE=10", PARAM_ONE, "SIZE", "10", ""},
	{"two", " SIZE=10 BODY=7BIT", PARAM_ONE, "SIZE", "10", " BODY=7BIT"},
	{"more spaces", "  A=1   B", PARAM_ONE, "A", "1", "   B"},
	{"tabs", "\tA=1 \t B", PARAM_ONE, "A", "1", " \t B"},
	{"hyphen", " X-A=1", PARAM_ONE, "X-A", "1", ""},
	{"no space before", "SIZE=10", PARAM_MALFORMED, "", "", "SIZE=10"},
	{"no keyword", " =10", PARAM_MALFORMED, "", "", ""},
	{"no value", " SIZE=", PARAM_MALFORMED, "", "", ""},
	{"hyphen first", " -A", PARAM_MALFORMED, "", "", ""},
	{"two equals", " A=B=C", PARAM_MALFORMED, "", "", ""},
	{"UTF-8", " A=\xc3\xa4 B", PARAM_ONE, "A", "\xc3\xa4", " B"},
	{"Latin-1", " A=\xe4", PARAM_MALFORMED, "", "", ""},
	{"a control of C1", " A=\xc2\x80", PARAM_MALFORMED, "", "", ""},
	{"UTF-8 in the keyword", " \xc3\xa4=1", PARAM_MALFORMED, "", "", ""},
	{"control", " A=\x01", PARAM_MALFORMED, "", "", ""},
	{"control in the keyword", " A\x01", PARAM_MALFORMED, "", "", ""},
};

Test(path, parameters)
{
	for (size_t i = 0; i < COUNT(param_rows); i++) {
		struct slice rest = SLICE(param_rows[i].input);
		struct slice keyword = SLICE_NONE, value = SLICE_NONE;

		cr_expect_eq(param_next(&rest, &keyword, &value),
			     param_rows[i].status, "%s: status",
			     param_rows[i].name);
		cr_expect(slice_eq(keyword, SLICE(param_rows[i].keyword)),
			  "%s: keyword", param_rows[i].name);
		cr_expect(slice_eq(value, SLICE(param_rows[i].value)),
			  "%s: value", param_rows[i].name);
		if (param_rows[i].status != PARAM_MALFORMED)
			cr_expect(slice_eq(rest, SLICE(param_rows[i].rest)),
				  "%s: rest '%.*s'", param_rows[i].name,
				  SLICE_ARG(rest));
	}
}
