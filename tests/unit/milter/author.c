#include <criterion/criterion.h>

#include "milter/author.h"

/* domains: separated by spaces; NULL: refused. */
static const struct {
	const char *name, *value, *domains;
} rows[] = {
	{"bare address", " joe@example.com", "example.com"},
	{"angle brackets", "<joe@example.com>", "example.com"},
	{"display name", "Joe Six <joe@example.com>", "example.com"},
	{"quoted display name", "\"Joe, <x@y> Six\" <joe@example.com>",
	 "example.com"},
	{"escaped quote", "\"a\\\"b\\\\\" <joe@example.com>", "example.com"},
	{"dots in the display name", "J. R. Six <joe@example.com>",
	 "example.com"},
	{"encoded word", "=?utf-8?Q?J=C3=B6?= <joe@example.com>",
	 "example.com"},
	{"8-bit display name", "J\xf6 <joe@example.com>", "example.com"},
	{"folded", "\r\n Joe\r\n\t<joe@example.com>\r\n ", "example.com"},
	{"case", "Joe@EXAMPLE.Com", "example.com"},
	{"comments everywhere",
	 "(a) joe (b(c)) @ (d) example (e) . (f) com (g)", "example.com"},
	{"comment with brackets", "Joe (<x@y>) <joe@example.com>",
	 "example.com"},
	{"comment with an escape", "(a\\)b) joe@example.com", "example.com"},
	{"quoted local part", "\"joe @ home\"@example.com", "example.com"},
	{"quoted local part, partly", "a.\"b c\".d@example.com",
	 "example.com"},
	{"obs-route", "Joe <@a.example,@b.example:joe@example.com>",
	 "example.com"},
	{"obs-route through a literal", "<@[192.0.2.1]:joe@example.com>",
	 "example.com"},
	{"dots anywhere", ".a..b.@example.com", "example.com"},
	{"dots anywhere in brackets", "A <.a..b.@example.com>", "example.com"},
	{"domain literal", "joe@[192.0.2.1]", "[192.0.2.1]"},
	{"domain literal in brackets", "<joe@[IPv6:2001:db8::1]>",
	 "[IPv6:2001:db8::1]"},
	{"one label", "root@localhost", "localhost"},
	{"U-label", "joe@b\xc3\xbc" "cher.example", "xn--bcher-kva.example"},
	{"U-label in upper case", "joe@B\xc3\x9c" "CHER.example",
	 "xn--bcher-kva.example"},
	{"8-bit local part", "j\xc3\xb6@example.com", "example.com"},
	{"two addresses", "a@example.com, b@example.net",
	 "example.com example.net"},
	{"two with names", "A <a@example.com>,\r\n B <b@example.net>",
	 "example.com example.net"},
	{"empty elements", ",, a@example.com, , ", "example.com"},
	{"group", "Team: a@example.com, B <b@example.net>;",
	 "example.com example.net"},
	{"group and address", "Team: a@example.com;, b@example.net",
	 "example.com example.net"},
	{"empty group", "undisclosed-recipients:;", ""},
	{"unquoted @ in the display name", "b@example.net <a@example.com>",
	 "example.com"},
	{"more behind the unquoted @",
	 "b@example.net via List <a@example.com>", "example.com"},
	{"lone @ in the display name", "Joe @ Home <a@example.com>",
	 "example.com"},
	{"nothing", "", ""},
	{"only a comment", "(nobody)", ""},
	{"no address", "Joe Six", NULL},
	{"empty address", "<>", NULL},
	{"name without brackets", "Joe Six joe@example.com", NULL},
	{"no domain", "joe@", NULL},
	{"no domain in brackets", "<joe@>", NULL},
	{"no local part", "@example.com", NULL},
	{"no local part in brackets", "<@example.com>", NULL},
	{"no @ in brackets", "<joe>", NULL},
	{"a comma for the @ in brackets", "<joe,example.com>", NULL},
	{"a dot for the local part in brackets", "<.@example.com>", NULL},
	{"two @", "a@b@example.com", NULL},
	{"two @ in brackets", "<a@b@example.com>", NULL},
	{"dots alone", "..@example.com", NULL},
	{"two words in brackets", "<a b@example.com>", NULL},
	{"dot behind the domain", "a@example.com.", NULL},
	{"dot behind a literal", "a@[192.0.2.1].", NULL},
	{"unquoted comma in the display name", "Six, Joe <a@example.com>",
	 "example.com"},
	{"unquoted colon in it", "Alert: disk <a@example.com>\r\n ",
	 "example.com"},
	{"an encoded word with a comma", "=?utf-8?q?Six,_Joe?= <a@example.com>",
	 "example.com"},
	{"an unquoted bracket in it", "[Shop] Orders) <a@example.com>",
	 "example.com"},
	{"a quote that does not end in it", "\"Six, Joe <a@example.com>",
	 "example.com"},
	{"a comma and another @", "Six, b@example.net, Joe <a@example.com>",
	 NULL},
	{"a comma and half an @", "Six, @ Joe <a@example.com>", NULL},
	{"a comma and another address", "Six, Joe <a@example.com>, "
	 "Bob <b@example.net>", NULL},
	{"a comma and two in brackets", "Six, <Joe> <a@example.com>", NULL},
	{"a comma and two at the end", "Six, Joe <a@example.com>>", NULL},
	{"a comma and @ twice", "Six, Joe <a@b@example.com>", NULL},
	{"a comma and no domain", "Six, Joe <a@>", NULL},
	{"a comma and nothing in brackets", "Six, Joe <>", NULL},
	{"a comma and something behind", "Six, Joe <a@example.com> x", NULL},
	{"a comma and a control character", "Six,\x01 Joe <a@example.com>",
	 NULL},
	{"a comma, folded", "Six,\r\n\tJoe <a@example.com>", "example.com"},
	{"a comma and DEL", "Six,\x7f Joe <a@example.com>", NULL},
	{"a comma and another end", "Six, Joe> <a@example.com>", NULL},
	{"a comma and a quoted @", "Six, Joe <\"a@b\"@example.com>", NULL},
	{"a comma and a quoted bracket", "Six, Joe <\"a<b\"@example.com>",
	 NULL},
	{"no closing bracket", "<a@example.com", NULL},
	{"something behind the bracket", "<a@example.com> x", NULL},
	{"two brackets", "<a@example.com> <b@example.com>", NULL},
	{"comment without end", "a@example.com (x", NULL},
	{"comment that ends twice", "a@example.com )", NULL},
	{"quote without end", "\"a@example.com", NULL},
	{"quote that ends in an escape", "\"a\\", NULL},
	{"literal without end", "a@[192.0.2.1", NULL},
	{"group without end", "Team: a@example.com", NULL},
	{"group in a group", "A: B: a@example.com;;", NULL},
	{"group in a group, one end", "A: B: a@example.com;", NULL},
	{"@ in a group's name", "b@example.net: a@example.com;", NULL},
	{"group without a name", ": a@example.com;", NULL},
	{"end without a group", "a@example.com;", NULL},
	{"something behind a group", "A:;a@example.com", NULL},
	{"a word behind a group", "A:; x a@example.com", NULL},
	{"only a dot", ".", NULL},
	{"route without an address", "<@a.example:>", NULL},
	{"route without a colon", "<@a.example a@example.com>", NULL},
	{"control character", "a\x01@example.com", NULL},
	{"underscore is taken", "a@_x.example.com", "_x.example.com"},
	{"a slash is none", "a@x/y.example.com", NULL},
	{"broken UTF-8 in the domain", "a@\xff.example.com", NULL},
	{"label of 64", "a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaa.example", NULL},
};

static void
domains_join(const struct authors *authors, struct text *out)
{
	for (size_t i = 0; i < authors->count; i++) {
		if (i > 0)
			text_add_byte(out, ' ');
		text_add(out, authors->domains[i]);
	}
}

Test(author, parse)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text domains = {0};
		struct authors authors = {0};
		struct fault fault = {0};
		bool ok = authors_parse(SLICE(rows[i].value), &arena, &authors,
					&fault);

		cr_expect_eq(ok, rows[i].domains != NULL, "%s: %s",
			     rows[i].name, ok ? "taken" : fault.text);
		if (!ok)
			cr_expect_neq(fault.text[0], '\0', "%s", rows[i].name);
		if (!ok || rows[i].domains == NULL)
			continue;
		domains_join(&authors, &domains);
		cr_expect_str_eq(text_string(&domains), rows[i].domains, "%s",
				 rows[i].name);
	}
}

Test(author, bounds)
{
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text value = {0};
	struct authors authors = {0};
	struct fault fault = {0};

	for (int i = 0; i < AUTHORS_MAX; i++)
		text_addf(&value, "a%d@example.com,", i);
	cr_expect(authors_parse(text_slice(&value), &arena, &authors, &fault));
	cr_expect_eq(authors.count, AUTHORS_MAX);
	text_add_string(&value, "b@example.com");
	cr_expect_not(authors_parse(text_slice(&value), &arena, &authors,
				    &fault));
}

/* What the grammar leaves in no doubt, and readers do. */
static const struct {
	const char *value;
	bool is_disputed;
} dispute_rows[] = {
	{"a@example.com", false},
	{"Joe <a@example.com>", false},
	{"\"b@example.net\" <a@example.com>", false},
	{"(b@example.net) a@example.com", false},
	{"=?utf-8?q?b=40example.net?= <a@example.com>", false},
	{"\xc3\x80 <a@example.com>", false},
	{"a@EXAMPLE.com <a@example.com>", false},
	{"a@example.net <a@example.com>", true},
	{"b@example.com <b@example.com>, a@example.com <c@example.com>", true},
	{"b@example.net <a@example.com>", true},
	{"a@example.com via List <a@example.com>", true},
	{"Joe @ Home <a@example.com>", true},
	{"Joe @ <a@example.com>", true},
	{"b@example.net\xa0 <a@example.com>", true},
	{"<@b.example.net:a@example.com>", true},
	{"Joe <@b.example.net,@c.example:a@example.com>", true},
	{"\"a b\"@example.com", false},
	{"\"a\\\"b\"@example.com", false},
	{"\"b@example.net\"@example.com", true},
	{"\"b@example.net>\"@example.com", true},
	{"\"b, c\"@example.com", true},
	{"a.\"b\x7f\"@example.com", true},
	{"a.\"b\x1f\"@example.com", true},
	{"Six, Joe <a@example.com>", true},
};

Test(author, disputes)
{
	for (size_t i = 0; i < COUNT(dispute_rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		const char *value = dispute_rows[i].value;
		struct authors authors = {0};
		struct fault fault = {0};

		cr_assert(authors_parse(SLICE(value), &arena, &authors,
					&fault),
			  "%s: %s", value, fault.text);
		cr_expect_eq(authors.dispute != NULL,
			     dispute_rows[i].is_disputed, "%s: %s", value,
			     authors.dispute);
	}
}

/* Depth costs no stack and no time beyond its length. */
Test(author, deep_comments)
{
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text value = {0};
	struct authors authors = {0};
	struct fault fault = {0};

	for (int i = 0; i < 500000; i++)
		text_add_byte(&value, '(');
	cr_expect_not(authors_parse(text_slice(&value), &arena, &authors,
				    &fault));
	for (int i = 0; i < 500000; i++)
		text_add_byte(&value, ')');
	text_add_string(&value, "a@example.com");
	cr_expect(authors_parse(text_slice(&value), &arena, &authors, &fault));
}

/* mailboxes: as they are written again, separated by spaces; NULL: refused. */
static const struct {
	const char *name, *value, *mailboxes;
} mailbox_rows[] = {
	{"without a domain", "root", "root@here.example"},
	{"in brackets", "Root <root>, a@example.com",
	 "root@here.example a@example.com"},
	{"with dots", "a.b", "a.b@here.example"},
	{"with dots in brackets", "A <a.b@example.com>, <c.\"d\".e>",
	 "a.b@example.com c.d.e@here.example"},
	{"quoted", "\"a b\"", "\"a b\"@here.example"},
	{"quoted for nothing", "\"a.b\"@example.com", "a.b@example.com"},
	{"quoted, dots", "\"a..b\"@example.com", "\"a..b\"@example.com"},
	{"dots anywhere", "a..b@example.com, <.c.>",
	 "\"a..b\"@example.com \".c.\"@here.example"},
	{"escapes", "\"a\\\"b\\\\\"@example.com",
	 "\"a\\\"b\\\\\"@example.com"},
	{"group", "us: root, carol;", "root@here.example carol@here.example"},
	{"empty elements", ", root,", "root@here.example"},
	{"semicolons", "root; a@example.com;b@example.com;",
	 "root@here.example a@example.com b@example.com"},
	{"words", "Joe Six", NULL},
	{"a dot too much", "root.", NULL},
	{"nothing in brackets", "<>", NULL},
	{"more than the bound", "a, b, c, d, e", NULL},
};

Test(author, mailboxes_of_this_machine)
{
	for (size_t i = 0; i < COUNT(mailbox_rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text written = {0};
		struct authors found = {0};
		struct fault fault;
		bool is_good = mailboxes_parse(SLICE(mailbox_rows[i].value),
					       SLICE("here.example"), 4, &arena,
					       &found, &fault);

		cr_assert_eq(is_good, mailbox_rows[i].mailboxes != NULL, "%s",
			     mailbox_rows[i].name);
		if (!is_good)
			continue;
		for (size_t j = 0; j < found.count; j++) {
			if (j > 0)
				text_add_byte(&written, ' ');
			mailbox_write(found.locals[j], found.domains[j],
				      &written);
		}
		cr_assert_str_eq(text_string(&written),
				 mailbox_rows[i].mailboxes, "%s",
				 mailbox_rows[i].name);
	}
}
