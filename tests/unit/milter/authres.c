#include <criterion/criterion.h>

#include "milter/authres.h"

/* ---- what is written ---- */

#define B "dGhlIHF1aWNrIGJyb3duIGZveA=="

static const struct write_row {
	const char *name;
	struct verification result;
	const char *text; /* the resinfo */
} write_rows[] = {
	{"pass", {.status = VERIFY_PASS, .domain_name = SLICE_LITERAL("example.com"),
		  .domain = SLICE_LITERAL("Example.COM"),
		  .selector_name = SLICE_LITERAL("s1"),
		  .algorithm = SLICE_LITERAL("rsa-sha256"),
		  .b = SLICE_LITERAL(B),
		  .reason = SLICE_LITERAL("verified with a key of 2048 bits")},
	 "dkim=pass (verified with a key of 2048 bits) header.d=example.com "
	 "header.s=s1\r\n\theader.a=rsa-sha256 header.b=dGhlIHF1"},
	{"fail", {.status = VERIFY_FAIL, .reason = SLICE_LITERAL("why")},
	 "dkim=fail reason=\"why\""},
	{"failed in test mode", {.status = VERIFY_FAIL, .is_testing = true,
				 .reason = SLICE_LITERAL("why")},
	 "dkim=neutral reason=\"why\""},
	{"temperror", {.status = VERIFY_TEMPERROR,
		       .reason = SLICE_LITERAL("why")},
	 "dkim=temperror reason=\"why\""},
	{"permerror", {.status = VERIFY_PERMERROR,
		       .reason = SLICE_LITERAL("why")},
	 "dkim=permerror reason=\"why\""},
	{"syntax", {.status = VERIFY_PERMERROR, .cause = VERIFY_CAUSE_SYNTAX,
		    .reason = SLICE_LITERAL("why")},
	 "dkim=neutral reason=\"why\""},
	{"policy", {.status = VERIFY_PERMERROR, .cause = VERIFY_CAUSE_POLICY,
		    .reason = SLICE_LITERAL("why")},
	 "dkim=policy reason=\"why\""},
	{"as written, where it is not known to be a domain",
	 {.status = VERIFY_FAIL, .domain = SLICE_LITERAL("a_b.example"),
	  .reason = SLICE_LITERAL("why")},
	 "dkim=fail reason=\"why\" header.d=a_b.example"},
	{"b= that is no token",
	 {.status = VERIFY_FAIL, .b = SLICE_LITERAL("ab/d+\r\n f=="),
	  .reason = SLICE_LITERAL("why")},
	 "dkim=fail reason=\"why\" header.b=\"ab/d+f==\""},
	{"b= that is short", {.status = VERIFY_FAIL, .b = SLICE_LITERAL("abc"),
			      .reason = SLICE_LITERAL("why")},
	 "dkim=fail reason=\"why\" header.b=abc"},
	{"bytes that no domain has",
	 {.status = VERIFY_FAIL, .domain = SLICE_LITERAL("a.example; dkim=pass"),
	  .selector = SLICE_LITERAL("a\r\nb"), .algorithm = SLICE_LITERAL("a(b"),
	  .b = SLICE_LITERAL("\"x"), .reason = SLICE_LITERAL("why")},
	 "dkim=fail reason=\"why\""},
	{"a reason with what is special",
	 {.status = VERIFY_FAIL,
	  .reason = SLICE_LITERAL("a \"b\"; c \\ d\r\n\x80 (e)")},
	 "dkim=fail reason=\"a 'b', c / d??? [e]\""},
	{"a comment with what is special",
	 {.status = VERIFY_PASS,
	  .reason = SLICE_LITERAL("a \"b\"; c \\ d\r\n\x80 (e)")},
	 "dkim=pass (a 'b', c / d??? [e])"},
};

Test(authres, writes_results)
{
	for (size_t i = 0; i < COUNT(write_rows); i++) {
		struct authres authres = {
			.id = SLICE("mx.example.org"),
			.results = &write_rows[i].result,
			.count = 1,
		};
		CLEAN(text_done) struct text out = {0}, expected = {0};

		authres_write(&authres, &out);
		text_addf(&expected,
			  "Authentication-Results: mx.example.org;\r\n\t%s\r\n",
			  write_rows[i].text);
		cr_expect_str_eq(text_string(&out), text_string(&expected),
				 "%s", write_rows[i].name);
	}
}

Test(authres, writes_that_there_is_none)
{
	struct authres authres = {.id = SLICE("mx.example.org")};
	CLEAN(text_done) struct text out = {0};

	authres_write(&authres, &out);
	cr_expect_str_eq(text_string(&out),
			 "Authentication-Results: mx.example.org;\r\n"
			 "\tdkim=none\r\n");
}

Test(authres, quotes_a_name_that_is_no_token)
{
	struct authres authres = {.id = SLICE("mx/1")};
	CLEAN(text_done) struct text out = {0};

	authres_write(&authres, &out);
	cr_expect(slice_starts(text_slice(&out),
			       SLICE("Authentication-Results: \"mx/1\";")));
}

Test(authres, says_what_it_left_out)
{
	struct verification result = {.status = VERIFY_FAIL,
				      .reason = SLICE("why")};
	struct authres authres = {.id = SLICE("mx.example.org"),
				  .results = &result,
				  .count = 1,
				  .ignored = 7};
	CLEAN(text_done) struct text out = {0};

	authres_write(&authres, &out);
	cr_expect(slice_ends_nocase(
		text_slice(&out),
		SLICE(";\r\n\tdkim=policy reason=\"7 more are not looked "
		      "at\"\r\n")));
}

/* RFC 6008 4: as many bytes of b= as tell the signatures apart. */
Test(authres, tells_signatures_apart)
{
	struct verification results[] = {
		{.status = VERIFY_FAIL, .reason = SLICE("why"),
		 .b = SLICE("AAAABBBBCCCC1111")},
		{.status = VERIFY_FAIL, .reason = SLICE("why"),
		 .b = SLICE("AAAA BBBB CCCD")},
		{.status = VERIFY_FAIL, .reason = SLICE("why"),
		 .b = SLICE("AAAABBBBCC")},
		{.status = VERIFY_FAIL, .reason = SLICE("why"),
		 .b = SLICE("ZZZZ")},
		{.status = VERIFY_FAIL, .reason = SLICE("why"),
		 .b = SLICE("ZZZZ")},
	};
	struct authres authres = {.id = SLICE("mx.example.org"),
				  .results = results,
				  .count = COUNT(results)};
	CLEAN(text_done) struct text out = {0};

	authres_write(&authres, &out);
	cr_expect_not_null(strstr(out.bytes, "header.b=AAAABBBBCCCC;"));
	cr_expect_not_null(strstr(out.bytes, "header.b=AAAABBBBCCCD;"));
	cr_expect_not_null(strstr(out.bytes, "header.b=AAAABBBBCC;"));
	cr_expect_not_null(strstr(out.bytes, "header.b=ZZZZ;"));
}

Test(authres, keeps_lines_short)
{
	char domain[254];
	struct verification result = {
		.status = VERIFY_PASS,
		.reason = SLICE("verified with a key of 4096 bits, but l= "
				"leaves the last 12 bytes of the body unsigned"),
		.selector = SLICE("selector-of-a-length-that-makes-one-fold"),
		.algorithm = SLICE("ed25519-sha256"),
		.b = SLICE(B)};
	struct authres authres = {.id = SLICE("mx.example.org"),
				  .results = &result,
				  .count = 1};
	CLEAN(text_done) struct text out = {0};
	struct slice rest, line;

	memset(domain, 'a', 253);
	domain[253] = '\0';
	result.domain = SLICE(domain);
	authres_write(&authres, &out);
	rest = text_slice(&out);
	while (slice_split(&rest, '\n', &line))
		cr_expect(line.len <= AUTHRES_LINE_MAX + 1 ||
				  slice_starts(line, SLICE("\theader.d=")) ||
				  slice_starts(line, SLICE("\t(verified")),
			  "'%.*s'", SLICE_ARG(line));
	cr_expect_not_null(strstr(out.bytes, "aaa\r\n\theader.s="));
}

/* ---- what claims to be ours ---- */

static const struct {
	const char *name, *value;
	bool claims;
} claim_rows[] = {
	{"plain", " mx.example.com; dkim=pass", true},
	{"no space", "mx.example.com;dkim=pass", true},
	{"space before the semicolon", " mx.example.com ; dkim=pass", true},
	{"nothing behind it", " mx.example.com", true},
	{"another case", " MX.Example.COM; dkim=pass", true},
	{"a version", " mx.example.com 1; dkim=pass", true},
	{"folded", "\r\n\tmx.example.com\r\n 1\r\n ;none", true},
	{"folded by LF", "\n\tmx.example.com;\n\tnone", true},
	{"a comment before", " (our own) mx.example.com; none", true},
	{"a comment behind", " mx.example.com (1); none", true},
	{"a comment at once", " mx.example.com(1); none", true},
	{"nested comments", " (a (b (c)) ) (d) mx.example.com; none", true},
	{"an escape in a comment", " (a \\) b) mx.example.com; none", true},
	{"a comment, folded", " (a\r\n b)\r\n mx.example.com; none", true},
	{"quoted", " \"mx.example.com\"; none", true},
	{"quoted, with escapes", " \"mx\\.ex\\ample.com\"; none", true},
	{"a comment and quoted", " (\"x\") \"mx.example.com\" 1; none", true},
	{"dot at the end", " mx.example.com.; none", true},
	{"space around dots", " mx . example\t.\r\n com; none", true},
	{"comments around dots", " mx.(a)example(b).com; none", true},
	{"a job id", " mx.example.com/4F1x2; dkim=pass", true},
	{"U-label instead of A-label", " mx.ex\xc3\xa4mple.com; none", false},
	{"fullwidth letters", " \xef\xbd\x8d\xef\xbd\x98.example.com; none",
	 true},
	{"soft hyphen", " mx.exam\xc2\xadple.com; none", true},
	{"ideographic full stop", " mx\xe3\x80\x82" "example.com; none", true},
	{"an encoded word", " =?us-ascii?q?mx.example.com?=; none", true},
	{"a semicolon before", " ; mx.example.com; none", true},
	{"empty quotes before", " \"\" mx.example.com; none", true},
	{"a comment without end", " (mx.example.com; dkim=pass", true},
	{"a comment that ends twice", " (a)) mx.example.com; none", true},
	{"nesting misread", " (a (b) mx.example.com; x) y.example; none",
	 true},
	{"an escape misread", " (a \\) mx.example.com; x) y.example; none",
	 true},
	{"a quoted parenthesis", " \"(\" mx.example.com \")\"; none", true},
	{"a quote in a comment", " (\") mx.example.com; none", true},
	{"a quote without end", " \"mx.example.com; dkim=pass", true},
	{"a backslash before", " \\mx.example.com; none", true},
	{"control bytes", " \x01mx.exam\x7fple.com; none", true},
	{"a comma", " mx.example.com, 1; none", true},
	{"a no-break space before", " \xc2\xa0mx.example.com; none", true},
	{"a no-break space behind", " mx.example.com\xc2\xa0; none", true},
	{"a no-break space of Latin-1", "\xa0mx.example.com; none", true},
	{"a mark of byte order", " \xef\xbb\xbfmx.example.com; none", true},
	{"nothing", "", false},
	{"only a no-break space", " \xc2\xa0; none", false},
	{"only space", " \r\n ", false},
	{"only a semicolon", ";", false},
	{"no name at all", " spf=pass smtp.mailfrom=mx.example.com; dkim=pass",
	 false},
	{"another name", " mx.example.net; dkim=pass", false},
	{"another name, ours in a comment",
	 " (by mx.example.com) mx.example.net; dkim=pass", false},
	{"ours in a comment behind", " a.example (mx.example.com); none",
	 false},
	{"ours in a property",
	 " a.example; dkim=pass header.d=mx.example.com", false},
	{"ours as a second word", " a.example mx.example.com; none", false},
	{"ours as a subdomain", " mx.example.com.example.net; none", false},
	{"ours behind a dot", " a.mx.example.com; none", false},
	{"the domain above", " example.com; none", false},
	{"longer", " mx.example.community; none", false},
	{"shorter", " mx.example.co; none", false},
	{"joined by a hyphen", " mx.example.com-1; none", false},
};

Test(authres, knows_what_claims_our_name)
{
	for (size_t i = 0; i < COUNT(claim_rows); i++)
		cr_expect_eq(authres_claims(SLICE(claim_rows[i].value),
					    SLICE("mx.example.com")),
			     claim_rows[i].claims, "%s", claim_rows[i].name);
}

/* Whatever fills a header that is as large as one may be. */
Test(authres, takes_no_time_to_speak_of, .timeout = 120)
{
	static const char *const pieces[] = {" ", "(", "()", "\"", "\\", "(\\)",
					     ". ", "(((()))", "a.", "\x01"};

	for (size_t i = 0; i < COUNT(pieces); i++) {
		CLEAN(text_done) struct text value = {0};

		text_add_string(&value, "mx");
		while (value.len < 1000000)
			text_add_string(&value, pieces[i]);
		text_add_string(&value, ".example.net; none");
		cr_expect_not(authres_claims(text_slice(&value),
					     SLICE("mx.example.com")),
			      "'%s'", pieces[i]);
	}
}

static const struct {
	const char *name, *value, *id;
	bool claims;
} id_rows[] = {
	{"ours has a dot at the end", " mx.example.com; none",
	 "mx.example.com.", true},
	{"ours in capitals", " mx.example.com; none", "MX.EXAMPLE.COM", true},
	{"ours is an A-label", " mx.b\xc3\xbc" "cher.example; none",
	 "mx.xn--bcher-kva.example", true},
	{"ours is a U-label", " mx.xn--bcher-kva.example; none",
	 "mx.b\xc3\xbc" "cher.example", true},
	{"both are U-labels", " mx.B\xc3\x9c" "CHER.example; none",
	 "mx.b\xc3\xbc" "cher.example", true},
	{"ours is no domain", " \"Our Gate\"; none", "gate/1", false},
	{"ours has a slash", " \"gate/1\"; none", "gate/1", true},
	{"ours is one word", " GATE; none", "gate", true},
};

Test(authres, knows_any_form_of_our_name)
{
	for (size_t i = 0; i < COUNT(id_rows); i++)
		cr_expect_eq(authres_claims(SLICE(id_rows[i].value),
					    SLICE(id_rows[i].id)),
			     id_rows[i].claims, "%s", id_rows[i].name);
}

Test(authres, knows_the_field)
{
	cr_expect(authres_is_field(SLICE("Authentication-Results")));
	cr_expect(authres_is_field(SLICE("AUTHENTICATION-results ")));
	cr_expect_not(authres_is_field(SLICE("ARC-Authentication-Results")));
	cr_expect_not(authres_is_field(SLICE("X-Authentication-Results")));
	cr_expect_not(authres_is_field(SLICE("Authentication-Results-2")));
}
