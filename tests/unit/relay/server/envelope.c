#include <criterion/criterion.h>

#include "relay/server/envelope.h"

#define UE "\xc3\xbc"

static const struct {
	const char *name, *args;
	unsigned code; /* 0: taken */
	const char *status;
} mail_rows[] = {
	{"null", "FROM:<>", 0, ""},
	{"in lower case", "from:<a@example.com>", 0, ""},
	{"nothing", "FROM:", 501, "5.5.4"},
	{"a space alone", "FROM: ", 501, "5.5.4"},
	{"a space before the colon", "FROM :<a@example.com>", 501, "5.5.4"},
	{"half of the brackets", "FROM:a@example.com>", 553, "5.1.7"},
	{"everything",
	 "FROM:<a@example.com> size=1 body=8bitmime smtputf8 ret=full "
	 "envid=x",
	 0, ""},
	{"UTF-8", "FROM:<" UE "@b" UE "cher.example> SMTPUTF8", 0, ""},
	{"the parameter for nothing", "FROM:<a@example.com> SMTPUTF8", 0, ""},
	{"A-labels need no parameter", "FROM:<a@xn--bcher-kva.example>", 0,
	 ""},
	{"no word", "<a@example.com>", 501, "5.5.4"},
	{"another word", "FORM:<a@example.com>", 501, "5.5.4"},
	{"UTF-8 without", "FROM:<" UE "@example.com>", 553, "5.6.7"},
	{"a domain in UTF-8 without", "FROM:<a@b" UE "cher.example>", 553,
	 "5.6.7"},
	{"no domain that IDNA knows",
	 "FROM:<a@\xe2\x80\x8e.example> SMTPUTF8", 553, "5.1.7"},
	{"a label of 64 once it is in A-labels",
	 "FROM:<a@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" UE
	 ".example> SMTPUTF8",
	 553, "5.1.7"},
	{"what becomes an underscore",
	 "FROM:<a@x\xef\xbc\xbfy.example> SMTPUTF8", 0, ""},
	{"of a host with an underscore", "FROM:<root@web_1>", 0, ""},
	{"malformed", "FROM:<a", 553, "5.1.7"},
	{"no domain", "FROM:<postmaster>", 553, "5.1.7"},
	{"SIZE of 21 digits", "FROM:<> SIZE=100000000000000000000", 501,
	 "5.5.4"},
	{"SIZE twice", "FROM:<> SIZE=1 SIZE=1", 501, "5.5.4"},
	{"SIZE of UTF-8", "FROM:<> SIZE=" UE, 501, "5.5.4"},
	{"BODY of 7 bits", "FROM:<> BODY=7BIT", 0, ""},
	{"AUTH", "FROM:<> AUTH=<>", 0, ""},
	{"AUTH without a value", "FROM:<> AUTH", 501, "5.5.4"},
	{"BODY twice", "FROM:<> BODY=7BIT BODY=7BIT", 501, "5.5.4"},
	{"BODY of another sort", "FROM:<> BODY=BINARYMIME", 501, "5.5.4"},
	{"SMTPUTF8 with a value", "FROM:<> SMTPUTF8=YES", 501, "5.5.4"},
	{"SMTPUTF8 twice", "FROM:<> SMTPUTF8 SMTPUTF8", 501, "5.5.4"},
	{"RET without a value", "FROM:<> RET", 501, "5.5.4"},
	{"RET twice", "FROM:<> RET=HDRS RET=FULL", 501, "5.5.4"},
	{"ENVID twice", "FROM:<> ENVID=a ENVID=a", 501, "5.5.4"},
	{"unknown", "FROM:<> XWHAT=1", 555, "5.5.4"},
	{"of RCPT", "FROM:<> NOTIFY=NEVER", 555, "5.5.4"},
};

Test(envelope, mail)
{
	for (size_t i = 0; i < COUNT(mail_rows); i++) {
		CLEAN(text_done) struct text room = {0};
		struct envelope_mail mail;
		const struct reply *reply =
			envelope_mail_parse(SLICE(mail_rows[i].args), false,
					    SLICE_NONE, &room, &mail);

		cr_expect_eq(reply == NULL ? 0 : reply->code,
			     mail_rows[i].code, "%s: %u", mail_rows[i].name,
			     reply == NULL ? 0 : reply->code);
		if (reply != NULL)
			cr_expect_str_eq(reply->status, mail_rows[i].status,
					 "%s", mail_rows[i].name);
	}
}

/* What something else will take the place of. */
static const struct {
	const char *args;
	unsigned code; /* 0: taken */
	const char *address, *local, *domain;
} any_rows[] = {
	{"FROM:<a@example.com>", 0, "a@example.com", "a", "example.com"},
	{"FROM:<>", 0, "", "", ""},
	{"FROM:<printer> SIZE=5", 0, "printer", "", ""},
	{"FROM: printer SIZE=5", 0, "printer", "", ""},
	{"FROM:<a..b@example.com>", 0, "\"a..b\"@example.com", "\"a..b\"",
	 "example.com"},
	{"FROM:<Canon iR-ADV>", 0, "Canon iR-ADV", "", ""},
	{"FROM:<a@my_host>", 0, "a@my_host", "a", "my_host"},
	{"FROM:<a@my host>", 0, "a@my host", "", ""},
	{"FROM:<a@\xc3\xbc.com>", 0, "a@\xc3\xbc.com", "", ""},
	{"FROM:<a@\xc3\xbc.com> SMTPUTF8", 0, "a@\xc3\xbc.com", "a",
	 "\xc3\xbc.com"},
	{"FROM:<a <b> c>", 0, "a <b> c", "", ""},
	{"FROM:<a\"b>c\"@d e>", 0, "a\"b>c\"@d e", "", ""},
	{"FROM:<a\tb>", 553, "", "", ""},
	{"FROM:<a", 553, "", "", ""},
	{"FROM:<a b> XWHAT", 555, "a b", "", ""},
};

Test(envelope, mail_from_anybody)
{
	for (size_t i = 0; i < COUNT(any_rows); i++) {
		CLEAN(text_done) struct text room = {0};
		struct envelope_mail mail;
		const struct reply *reply = envelope_mail_parse(
			SLICE(any_rows[i].args), true,
			SLICE("relay.example.net"), &room, &mail);

		cr_expect_eq(reply == NULL ? 0 : reply->code, any_rows[i].code,
			     "%s", any_rows[i].args);
		cr_expect(slice_eq(mail.path.address,
				   SLICE(any_rows[i].address)),
			  "%s: '%.*s'", any_rows[i].args,
			  SLICE_ARG(mail.path.address));
		cr_expect(slice_eq(mail.path.local, SLICE(any_rows[i].local)),
			  "%s", any_rows[i].args);
		cr_expect(slice_eq(mail.path.domain, SLICE(any_rows[i].domain)),
			  "%s", any_rows[i].args);
	}
}

Test(envelope, mail_has_it_all)
{
	struct envelope_mail mail;

	cr_assert_null(envelope_mail_parse(
		SLICE("FROM:<a@example.com> ENVID=x+2B SMTPUTF8 RET=HDRS "
		      "SIZE=42 BODY=8BITMIME"),
		false, SLICE_NONE, NULL, &mail));
	cr_expect(slice_eq(mail.path.address, SLICE("a@example.com")));
	cr_expect(slice_eq(mail.envid, SLICE("x+2B")));
	cr_expect_eq(mail.ret, RET_HDRS);
	cr_expect_eq(mail.size, 42);
	cr_expect(mail.declared_8bit);
	cr_expect(mail.declared_smtputf8);
	cr_assert_null(envelope_mail_parse(
		SLICE("FROM:<> SIZE=99999999999999999999"), false, SLICE_NONE,
		NULL, &mail));
	cr_expect_eq(mail.size, UINT64_MAX, "it is too much, not malformed");
}

static const struct {
	const char *name, *args;
	bool has_smtputf8;
	unsigned code;
	const char *destination; /* of what is taken, else the status */
} rcpt_rows[] = {
	{"plain", "TO:<b@Example.ORG>", false, 0, "example.org"},
	{"literal", "TO:<b@[IPv6:2001:DB8::1]>", false, 0,
	 "[IPv6:2001:DB8::1]"},
	{"underscore", "TO:<b@Mail_1.example.org>", false, 0,
	 "mail_1.example.org"},
	{"postmaster", "TO:<PostMaster>", false, 0, "relay.example.net"},
	{"a dot behind the domain", "TO:<b@example.ORG.>", false, 0,
	 "example.org"},
	{"dots", "TO: b..c.@Example.org", false, 0, "example.org"},
	{"U-label", "TO:<b@b" UE "cher.example>", true, 0,
	 "xn--bcher-kva.example"},
	{"U-label in upper case", "TO:<b@B\xc3\x9c" "CHER.Example>", true, 0,
	 "xn--bcher-kva.example"},
	{"A-label in upper case", "TO:<b@XN--BCHER-KVA.example>", false, 0,
	 "xn--bcher-kva.example"},
	{"a dot of another script", "TO:<b@b" UE "cher\xe3\x80\x82" "example>",
	 true, 0, "xn--bcher-kva.example"},
	{"parameters", "TO:<b@example.org> NOTIFY=DELAY ORCPT=rfc822;b", false,
	 0, "example.org"},
	{"ORCPT in UTF-8", "TO:<b@example.org> ORCPT=utf-8;" UE, true, 0,
	 "example.org"},
	{"ORCPT in UTF-8 without", "TO:<b@example.org> ORCPT=utf-8;" UE, false,
	 501, "5.5.4"},
	{"null", "TO:<>", false, 553, "5.1.3"},
	{"nobody", "TO:<nobody>", false, 553, "5.1.3"},
	{"UTF-8 without", "TO:<" UE "@example.org>", false, 553, "5.6.7"},
	{"a domain in UTF-8 without", "TO:<b@b" UE "cher.example>", false,
	 553, "5.6.7"},
	{"no domain that IDNA knows", "TO:<b@\xe2\x80\x8e.example>", true, 553,
	 "5.1.3"},
	{"NOTIFY twice", "TO:<b@example.org> NOTIFY=DELAY NOTIFY=DELAY", false,
	 501, "5.5.4"},
	{"NOTIFY empty", "TO:<b@example.org> NOTIFY=", false, 501, "5.5.4"},
	{"ORCPT twice", "TO:<b@example.org> ORCPT=rfc822;b ORCPT=rfc822;b",
	 false, 501, "5.5.4"},
	{"of MAIL", "TO:<b@example.org> SIZE=1", false, 555, "5.5.4"},
};

Test(envelope, rcpt)
{
	for (size_t i = 0; i < COUNT(rcpt_rows); i++) {
		CLEAN(text_done) struct text room = {0};
		struct envelope_rcpt rcpt;
		const struct reply *reply = envelope_rcpt_parse(
			SLICE(rcpt_rows[i].args), rcpt_rows[i].has_smtputf8,
			SLICE("Relay.example.net"), &room, &rcpt);

		cr_expect_eq(reply == NULL ? 0 : reply->code,
			     rcpt_rows[i].code, "%s: %u", rcpt_rows[i].name,
			     reply == NULL ? 0 : reply->code);
		cr_expect_str_eq(reply == NULL ? rcpt.destination
					       : reply->status,
				 rcpt_rows[i].destination, "%s",
				 rcpt_rows[i].name);
	}
}

/* What old programs write, and one that knows the grammar is to be told. */
static const struct {
	const char *name, *args;
	const char *address;
	const char *given; /* "": nothing else has taken its place */
} written_rows[] = {
	{"as it should be", "FROM:<a@example.com> SIZE=1", "a@example.com",
	 ""},
	{"a space", "FROM: <a@example.com> SIZE=1", "a@example.com", ""},
	{"a tab", "FROM:\t<a@example.com>\tSIZE=1", "a@example.com", ""},
	{"no brackets", "FROM:a@example.com SIZE=1", "a@example.com", ""},
	{"both", "FROM:  a@example.com", "a@example.com", ""},
	{"a dot behind the domain", "FROM:<a@example.com.>", "a@example.com",
	 ""},
	{"a name", "FROM:<Joe <a@example.com>> SIZE=1", "a@example.com", ""},
	{"dots", "FROM:<.a..b.@example.com>", "\".a..b.\"@example.com", ""},
	{"dots and a name", "FROM:\"Joe\"<a..b@example.com>",
	 "\"a..b\"@example.com", ""},
	{"dots in quotes", "FROM:<\"a..b\"@example.com>",
	 "\"a..b\"@example.com", ""},
	{"no domain", "FROM:<root> SIZE=1", "root@relay.example.net", "root"},
	{"no domain, and dots", "FROM:<a..b>", "\"a..b\"@relay.example.net",
	 "a..b"},
};

Test(envelope, is_written_by_the_grammar)
{
	for (size_t i = 0; i < COUNT(written_rows); i++) {
		CLEAN(text_done) struct text room = {0};
		struct envelope_mail mail;
		const char *name = written_rows[i].name;

		cr_expect_null(envelope_mail_parse(
				       SLICE(written_rows[i].args), false,
				       SLICE("relay.example.net"), &room,
				       &mail),
			       "%s", name);
		cr_expect(slice_eq(mail.path.address,
				   SLICE(written_rows[i].address)),
			  "%s: '%.*s'", name, SLICE_ARG(mail.path.address));
		cr_expect_eq(mail.path.local.len + 1 + mail.path.domain.len,
			     mail.path.address.len, "%s", name);
		cr_expect(slice_eq(mail.given, SLICE(written_rows[i].given)),
			  "%s", name);
	}
}

/* A recipient, who goes out again just so. */
Test(envelope, recipient_is_written_by_the_grammar)
{
	static const char *const rows[][2] = {
		{"TO:<a@example.com>", "a@example.com"},
		{"TO: a@example.com", "a@example.com"},
		{"TO:<.a..b.@Example.com.>", "\".a..b.\"@Example.com"},
		{"TO:<\"a..b\"@example.com>", "\"a..b\"@example.com"},
		{"TO:<postmaster>", "postmaster@relay.example.net"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text room = {0};
		struct envelope_rcpt rcpt;

		cr_expect_null(envelope_rcpt_parse(SLICE(rows[i][0]), false,
						   SLICE("relay.example.net"),
						   &room, &rcpt),
			       "%s", rows[i][0]);
		cr_expect(slice_eq(rcpt.path.address, SLICE(rows[i][1])),
			  "%s: '%.*s'", rows[i][0],
			  SLICE_ARG(rcpt.path.address));
	}
}
