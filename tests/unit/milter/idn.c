#include <criterion/criterion.h>

#include "milter/idn.h"

#define LABEL_63                                                               \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *name;
	struct slice domain;
	const char *ascii; /* NULL: refused */
} rows[] = {
	{"plain", SLICE_LITERAL("example.com"), "example.com"},
	{"lowered", SLICE_LITERAL("EXAMPLE.Com"), "example.com"},
	{"A-label stays", SLICE_LITERAL("XN--bcher-KVA.example"),
	 "xn--bcher-kva.example"},
	{"underscore", SLICE_LITERAL("_x.example"), "_x.example"},
	{"U-label", SLICE_LITERAL("b\xc3\xbc" "cher.example"),
	 "xn--bcher-kva.example"},
	{"sharp s is not ss", SLICE_LITERAL("fa\xc3\x9f.example"),
	 "xn--fa-hia.example"},
	{"ideographic dot", SLICE_LITERAL("example\xe3\x80\x82" "com"),
	 "example.com"},
	{"longest label", SLICE_LITERAL(LABEL_63 ".example"),
	 LABEL_63 ".example"},
	{"label too long", SLICE_LITERAL("a" LABEL_63 ".example"), NULL},
	{"longest domain",
	 SLICE_LITERAL(LABEL_63 "." LABEL_63 "." LABEL_63
				"." "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaa"
				"aaaaaaaaaaaaaaaaaaaaaaaa"),
	 LABEL_63 "." LABEL_63 "." LABEL_63
		  "." "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaa"},
	{"domain too long",
	 SLICE_LITERAL(LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63), NULL},
	{"nothing", SLICE_LITERAL(""), NULL},
	{"dot at the end", SLICE_LITERAL("example.com."), NULL},
	{"empty label", SLICE_LITERAL("example..com"), NULL},
	{"space", SLICE_LITERAL("exam ple.com"), NULL},
	{"semicolon", SLICE_LITERAL("example.com;x=y"), NULL},
	{"broken UTF-8", SLICE_LITERAL("\xc3.example"), NULL},
	{"NUL", SLICE_LITERAL("b\xc3\xbc\0.example"), NULL},
	{"disallowed code point", SLICE_LITERAL("\xe2\x80\xae.example"), NULL},
};

Test(idn, to_ascii)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		struct slice ascii = SLICE_NONE;
		struct fault fault = {0};
		bool ok = idn_to_ascii(rows[i].domain, &arena, &ascii, &fault);

		cr_expect_eq(ok, rows[i].ascii != NULL, "%s: %.*s",
			     rows[i].name, SLICE_ARG(ascii));
		cr_expect(slice_eq(ascii, SLICE(rows[i].ascii)), "%s: '%.*s'",
			  rows[i].name, SLICE_ARG(ascii));
	}
}
