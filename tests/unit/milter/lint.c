#include <criterion/criterion.h>

#include "milter/header.h"
#include "milter/lint.h"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X980 X100 X100 X100 X100 X100 X100 X100 X100 X100 X10 X10 X10 X10 X10 \
		     X10 X10 X10
#define X990 X980 X10
#define DATED "Date: x\r\nMessage-ID: <x@example.com>\r\n"

enum {
	LONG_BODY = 1 << LINT_LONG_BODY,
	LONG_HEADER = 1 << LINT_LONG_HEADER,
	EIGHT_BIT = 1 << LINT_EIGHT_BIT,
	BARE_CR = 1 << LINT_BARE_CR,
	NO_DATE = 1 << LINT_NO_DATE,
	NO_ID = 1 << LINT_NO_MESSAGE_ID,
	UNQUALIFIED = 1 << LINT_UNQUALIFIED,
	COMPACT = 1 << LINT_COMPACT_LIST,
	LAYOUT = 1 << LINT_LAYOUT,
	PHRASE = 1 << LINT_PHRASE,
	MIME = 1 << LINT_MIME,
};

/* h= has From, To, Date, Message-ID and Content-Type; header and body of DATED messages. */
static const struct lint_row {
	const char *name, *header, *body;
	enum canonicalization canon;
	unsigned postfix, sendmail;
} lint_rows[] = {
	{"nothing", "From: \"A. B\" <a@example.com>\r\nTo: b@example.org\r\n",
	 "x\r\n", CANON_RELAXED, 0, 0},
	{"a body line that both take", "", X990 "\r\n", CANON_RELAXED, 0, 0},
	{"a body line that only Postfix takes", "", X990 "x\r\n", CANON_RELAXED,
	 0, LONG_BODY},
	{"998 octets", "", X990 "12345678\r\n", CANON_RELAXED, 0, LONG_BODY},
	{"one more", "", X990 "123456789\r\n", CANON_RELAXED, LONG_BODY,
	 LONG_BODY},
	{"a long last line", "", "x\r\n" X990 "123456789", CANON_SIMPLE,
	 LONG_BODY, LONG_BODY},
	{"a long line of a signed field", "To: " X990 "@example.org\r\n", "",
	 CANON_RELAXED, LONG_HEADER, LONG_HEADER},
	{"a field that is not signed", "X: " X990 "12345678\r\n", "",
	 CANON_RELAXED, 0, 0},
	{"a long field in short lines",
	 "To: " X100 "\r\n " X980 "\r\n " X100 "@example.org\r\n", "",
	 CANON_RELAXED, 0, 0},
	{"8-bit text that says so", "Content-Transfer-Encoding: 8bit\r\n",
	 "\xc3\xa4\r\n", CANON_RELAXED, EIGHT_BIT, EIGHT_BIT},
	{"a part of it", "Content-Type: multipart/mixed; boundary=b\r\n",
	 "\xc3\xa4\r\n", CANON_RELAXED, EIGHT_BIT, EIGHT_BIT},
	{"8-bit text that does not", "", "\xc3\xa4\r\n", CANON_RELAXED, 0,
	 EIGHT_BIT},
	{"it says so and is not", "Content-Transfer-Encoding: 8bit\r\n",
	 "x\r\n", CANON_RELAXED, 0, 0},
	{"a bare CR", "", "x\ry\r\n", CANON_RELAXED, BARE_CR, BARE_CR},
	{"no domain", "From: Alice <alice>\r\n", "", CANON_RELAXED, 0,
	 UNQUALIFIED},
	{"no domain in a list", "To: b@example.org, root\r\n", "",
	 CANON_RELAXED, 0, UNQUALIFIED},
	{"a group", "To: undisclosed-recipients:;\r\n", "", CANON_RELAXED, 0,
	 0},
	{"a group with members", "To: us: a@example.com, b@example.org;\r\n",
	 "", CANON_RELAXED, 0, 0},
	{"a comment", "To: b@example.org (no, (really) \\) \"x), c@example.org"
	 "\r\n", "", CANON_RELAXED, 0, 0},
	{"a comma in quotes", "To: \"B,C\\\",D\" <b@example.org>\r\n", "",
	 CANON_RELAXED, 0, 0},
	{"no space behind a comma", "To: b@example.org,c@example.org\r\n", "",
	 CANON_RELAXED, 0, COMPACT},
	{"a space before it", "To: b@example.org , c@example.org\r\n", "",
	 CANON_RELAXED, 0, COMPACT},
	{"folded, relaxed", "To: b@example.org,\r\n  c@example.org\r\n", "",
	 CANON_RELAXED, 0, 0},
	{"folded, simple", "To: b@example.org,\r\n  c@example.org\r\n", "",
	 CANON_SIMPLE, 0, LAYOUT},
	{"one address, folded", "From: Alice\r\n <a@example.com>\r\n", "",
	 CANON_SIMPLE, 0, 0},
	{"spaces in front", "From:   a@example.com\r\n", "", CANON_SIMPLE, 0,
	 0},
	{"a tab in front", "From: \ta@example.com\r\n", "", CANON_SIMPLE, 0,
	 LAYOUT},
	{"a space behind", "From: a@example.com \r\n", "", CANON_SIMPLE, 0,
	 LAYOUT},
	{"a space behind, relaxed", "From: a@example.com \r\n", "",
	 CANON_RELAXED, 0, 0},
	{"a name with a dot", "From: Alice B. C <a@example.com>\r\n", "",
	 CANON_RELAXED, 0, PHRASE},
	{"with an apostrophe", "From: O'Hara <a@example.com>\r\n", "",
	 CANON_RELAXED, 0, PHRASE},
	{"a dot in an address only", "From: a.b@example.com\r\n", "",
	 CANON_RELAXED, 0, 0},
	{"quotes that match", "Content-Type: text/plain; charset=\"x(\\\"\" ((a)"
	 " b\"\\))\r\n", "", CANON_RELAXED, 0, 0},
	{"quotes that do not", "Content-type: text/plain; charset=\"x\r\n", "",
	 CANON_RELAXED, 0, MIME},
	{"one that is escaped", "Content-type: text/plain; charset=\"x\\\"\r\n",
	 "", CANON_RELAXED, 0, MIME},
	{"a comment that does not end", "Content-Type: text/plain (x\r\n", "",
	 CANON_RELAXED, 0, MIME},
	{"the end of none", "Content-Type: text/plain x)\r\n", "",
	 CANON_RELAXED, 0, MIME},
	{"a very long MIME field", "Content-Type: text/plain; x=\r\n " X980 "\r\n "
	 X100 "\r\n", "", CANON_RELAXED, 0, MIME},
	{"a MIME field that is not signed", "MIME-Version: 1.0 (\r\n", "",
	 CANON_RELAXED, 0, 0},
	{"a list that is not signed", "Cc: root,x\r\n", "", CANON_SIMPLE, 0, 0},
};

static void
feed(struct lint *lint, const char *header, const char *body, size_t step)
{
	struct header_reader reader;
	struct slice rest = SLICE(header), field, name, value;

	header_reader_init(&reader, 10000);
	while (header_read(&reader, &rest, &field) == HEADER_FIELD ||
	       header_read_last(&reader, &field) == HEADER_FIELD)
		if (header_field_parse(field, &name, &value) == NULL)
			lint_header(lint, name, value);
	header_reader_done(&reader);
	for (rest = SLICE(body); rest.len > 0; rest = slice_from(rest, step))
		lint_body(lint, slice_sub(rest, 0, step));
}

static unsigned
judge(const char *header, const char *body, enum canonicalization canon,
      enum lint_mta mta, size_t step)
{
	const struct slice names[] = {SLICE("from"), SLICE("To"), SLICE("Date"),
				      SLICE("Message-ID"),
				      SLICE("Content-Type")};
	const struct lint_signature signature = {.header_canon = canon,
						 .names = names,
						 .names_count = COUNT(names)};
	CLEAN(lint_done) struct lint lint;

	lint_init(&lint);
	feed(&lint, header, body, step);
	return lint_judge(&lint, mta, &signature);
}

Test(lint, judge)
{
	for (size_t i = 0; i < COUNT(lint_rows); i++) {
		const struct lint_row *row = &lint_rows[i];
		CLEAN(text_done) struct text header = {0};

		text_addf(&header, DATED "%s", row->header);
		for (size_t step = 1; step < 3; step++) {
			cr_expect_eq(judge(text_string(&header), row->body,
					   row->canon, LINT_POSTFIX, step),
				     row->postfix, "%s: Postfix", row->name);
			cr_expect_eq(judge(text_string(&header), row->body,
					   row->canon, LINT_SENDMAIL, step),
				     row->sendmail, "%s: Sendmail", row->name);
		}
	}
}

/* Only where the signature says that there is none. */
Test(lint, missing)
{
	const struct slice names[] = {SLICE("From"), SLICE("Date")};
	const struct lint_signature signature = {.names = names,
						 .names_count = COUNT(names)};
	CLEAN(lint_done) struct lint lint;

	cr_expect_eq(judge("", "", CANON_RELAXED, LINT_POSTFIX, 1),
		     NO_DATE | NO_ID);
	lint_init(&lint);
	cr_expect_eq(lint_judge(&lint, LINT_SENDMAIL, &signature), NO_DATE);
}

Test(lint, mta)
{
	cr_expect_eq(lint_mta_of(SLICE("Postfix 3.7.11")), LINT_POSTFIX);
	cr_expect_eq(lint_mta_of(SLICE("8.17.1.9/8.17.1.9")), LINT_SENDMAIL);
	cr_expect_eq(lint_mta_of(SLICE_NONE), LINT_SENDMAIL);
}

/* Each has a sentence for an MTA at least, and each fits a line of a log. */
Test(lint, sentences)
{
	for (unsigned i = 0; i < LINT_WARNINGS; i++) {
		const char *postfix = lint_sentence(LINT_POSTFIX, i);
		const char *sendmail = lint_sentence(LINT_SENDMAIL, i);

		cr_expect(postfix != NULL || sendmail != NULL, "%u", i);
		cr_expect(postfix == NULL || strlen(postfix) < 256, "%u", i);
		cr_expect(sendmail == NULL || strlen(sendmail) < 256, "%u", i);
	}
}

Test(lint, many_long_fields)
{
	CLEAN(text_done) struct text header = {0};

	for (int i = 0; i < 100; i++)
		text_add_string(&header, "X: " X990 "\r\n");
	text_add_string(&header, "To: " X990 "12345678@example.org\r\n");
	judge(text_string(&header), "", CANON_RELAXED, LINT_POSTFIX, 1);
}

Test(lint, due)
{
	static struct lint_history history;

	struct slice one = SLICE("192.0.2.1"), other = SLICE("192.0.2.2");

	cr_expect_eq(lint_due(&history, one, LONG_BODY | PHRASE, 1000),
		     LONG_BODY | PHRASE);
	cr_expect_eq(lint_due(&history, one, LONG_BODY | BARE_CR, 2000),
		     BARE_CR);
	cr_expect_eq(lint_due(&history, one, LONG_BODY, 999 + LINT_PAUSE_MS),
		     0);
	cr_expect_eq(lint_due(&history, other, LONG_BODY, 3000), LONG_BODY);
	cr_expect_eq(lint_due(&history, SLICE_NONE, LONG_BODY, 3000),
		     LONG_BODY);
	cr_expect_eq(lint_due(&history, one, LONG_BODY | BARE_CR,
			      1000 + LINT_PAUSE_MS),
		     LONG_BODY);
}

/* However many clients there are. */
Test(lint, due_is_bounded)
{
	static struct lint_history history;
	unsigned given = 0;

	for (unsigned i = 0; i < 20000; i++) {
		CLEAN(text_done) struct text client = {0};

		text_addf(&client, "10.0.%u.%u", i / 256, i % 256);
		given += lint_due(&history, text_slice(&client), PHRASE,
				  1000) != 0;
	}
	cr_expect_leq(given, LINT_CLIENTS);
	cr_expect_geq(given, LINT_CLIENTS * 3 / 4);
}
