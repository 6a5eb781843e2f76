#include <criterion/criterion.h>

#include "relay/queue/dsn.h"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X490 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10

static const struct {
	const char *name, *value;
	unsigned notify; /* 0: refused */
} notify_rows[] = {
	{"never", "NEVER", NOTIFY_NEVER},
	{"lower case", "success", NOTIFY_SUCCESS},
	{"all", "SUCCESS,FAILURE,DELAY",
	 NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY},
	{"in another order", "DELAY,FAILURE", NOTIFY_DELAY | NOTIFY_FAILURE},
	{"never is alone", "NEVER,FAILURE", 0},
	{"never is alone, behind", "DELAY,NEVER", 0},
	{"twice", "FAILURE,FAILURE", 0},
	{"never twice", "NEVER,NEVER", 0},
	{"nothing", "", 0},
	{"an empty word", "SUCCESS,,DELAY", 0},
	{"a comma behind", "SUCCESS,", 0},
	{"a comma before", ",SUCCESS", 0},
	{"another word", "RELAY", 0},
	{"a space", "SUCCESS, DELAY", 0},
};

Test(dsn, notify)
{
	for (size_t i = 0; i < COUNT(notify_rows); i++) {
		unsigned notify = 0;

		cr_expect_eq(dsn_notify_parse(SLICE(notify_rows[i].value),
					      &notify),
			     notify_rows[i].notify != 0, "%s",
			     notify_rows[i].name);
		cr_expect_eq(notify, notify_rows[i].notify, "%s",
			     notify_rows[i].name);
	}
}

static const struct {
	const char *name, *value;
	bool is_good;
} envid_rows[] = {
	{"plain", "QQ314159", true},
	{"every character of the edge", "!*,-<>~", true},
	{"a plus and an equals sign", "a+2B+3Db", true},
	{"a space", "a+20b", true},
	{"100 octets", X100, true},
	{"101 octets", X100 "x", false},
	{"nothing", "", false},
	{"a bare plus", "a+b", false},
	{"a plus at the end", "a+", false},
	{"a plus and one digit", "a+2", false},
	{"lower case digits", "a+2b", false},
	{"a line end", "a+0D+0A", false},
	{"a NUL", "a+00", false},
	{"DEL", "a+7F", false},
	{"8-bit", "a+C3+A4", false},
	{"UTF-8 as it is", "a\xc3\xa4", false},
	{"an equals sign", "a=b", false},
	{"a space as it is", "a b", false},
};

Test(dsn, envid)
{
	for (size_t i = 0; i < COUNT(envid_rows); i++)
		cr_expect_eq(dsn_envid_check(SLICE(envid_rows[i].value)),
			     envid_rows[i].is_good, "%s", envid_rows[i].name);
}

static const struct {
	const char *name, *value;
	bool is_good, is_good_utf8;
	const char *in_ascii; /* as it goes to a host without SMTPUTF8 */
} orcpt_rows[] = {
	{"rfc822", "rfc822;b@example.org", true, true, "rfc822;b@example.org"},
	{"no address of RFC 5322", "rfc822;+22+20+22", true, true, NULL},
	{"another type", "x400;/C+3DDE/", true, true, NULL},
	{"a type that nobody knows", "X-Own-1;b", true, true, NULL},
	{"500 octets", "rfc822;xxx" X490, true, true, NULL},
	{"501 octets", "rfc822;xxxx" X490, false, false, NULL},
	{"no type", ";b@example.org", false, false, NULL},
	{"no semicolon", "b@example.org", false, false, NULL},
	{"no address", "rfc822;", false, false, NULL},
	{"no address in UTF-8", "utf-8;", false, false, NULL},
	{"a type that is no word", "rfc 822;b", false, false, NULL},
	{"a line end", "rfc822;b+0D+0A", false, false, NULL},
	{"lower case digits", "rfc822;b+3d", false, false, NULL},
	{"8-bit in xtext", "rfc822;\xc3\xa9", false, false, NULL},

	{"utf-8, only ASCII", "utf-8;b@example.org", true, true,
	 "utf-8;b@example.org"},
	{"utf-8, embedded", "UTF-8;jos\\x{E9}@example.org", true, true,
	 "UTF-8;jos\\x{E9}@example.org"},
	{"utf-8, embedded, lower case", "utf-8;\\x{e9}\\x{10ffff}", true, true,
	 NULL},
	{"utf-8, as it is", "utf-8;jos\xc3\xa9@b\xc3\xbc" "cher.example",
	 false, true, "utf-8;jos\\x{E9}@b\\x{FC}cher.example"},
	{"utf-8, three and four octets",
	 "utf-8;\xe7\x94\xa8\xf0\x9f\x93\xa7@example.org", false, true,
	 "utf-8;\\x{7528}\\x{1F4E7}@example.org"},
	{"utf-8, both", "utf-8;\xc3\xa9\\x{2B}", false, true,
	 "utf-8;\\x{E9}\\x{2B}"},
	{"utf-8, not UTF-8", "utf-8;\xe9", false, false, NULL},
	{"utf-8, a control of C1", "utf-8;\xc2\x85", false, false, NULL},
	{"utf-8, an embedded line end", "utf-8;a\\x{0A}", false, false, NULL},
	{"utf-8, an embedded control of C1", "utf-8;a\\x{85}", false, false,
	 NULL},
	{"utf-8, an embedded surrogate", "utf-8;a\\x{D800}", false, false,
	 NULL},
	{"utf-8, beyond Unicode", "utf-8;a\\x{110000}", false, false, NULL},
	{"utf-8, too many digits", "utf-8;a\\x{0000041}", false, false, NULL},
	{"utf-8, one digit", "utf-8;a\\x{9}", false, false, NULL},
	{"utf-8, no digit", "utf-8;a\\x{}", false, false, NULL},
	{"utf-8, not closed", "utf-8;a\\x{E9", false, false, NULL},
	{"utf-8, a backslash", "utf-8;a\\b", false, false, NULL},
	{"utf-8, a plus", "utf-8;a+b", false, false, NULL},
	{"utf-8, a space", "utf-8;a b", false, false, NULL},
};

Test(dsn, orcpt)
{
	for (size_t i = 0; i < COUNT(orcpt_rows); i++) {
		struct slice value = SLICE(orcpt_rows[i].value);

		cr_expect_eq(dsn_orcpt_check(value, false),
			     orcpt_rows[i].is_good, "%s", orcpt_rows[i].name);
		cr_expect_eq(dsn_orcpt_check(value, true),
			     orcpt_rows[i].is_good_utf8, "%s with UTF-8",
			     orcpt_rows[i].name);
	}
}

/* What goes out is what came in, or the same in ASCII, and good again. */
Test(dsn, written)
{
	for (size_t i = 0; i < COUNT(orcpt_rows); i++) {
		CLEAN(text_done) struct text ascii = {0}, utf8 = {0};
		struct recipient rcpt = {.orcpt = SLICE(orcpt_rows[i].value)};
		size_t skip = strlen(" ORCPT=");

		if (orcpt_rows[i].in_ascii == NULL)
			continue;
		dsn_write_rcpt(&utf8, &rcpt, true);
		dsn_write_rcpt(&ascii, &rcpt, false);
		cr_expect(slice_eq(slice_from(text_slice(&utf8), skip),
				   rcpt.orcpt),
			  "%s", orcpt_rows[i].name);
		cr_expect(slice_eq(slice_from(text_slice(&ascii), skip),
				   SLICE(orcpt_rows[i].in_ascii)),
			  "%s: '%s'", orcpt_rows[i].name, text_string(&ascii));
		cr_expect(dsn_orcpt_check(slice_from(text_slice(&ascii), skip),
					  false),
			  "%s", orcpt_rows[i].name);
	}
}

Test(dsn, nothing_given_nothing_written)
{
	CLEAN(text_done) struct text out = {0};
	struct message *message = message_new(SLICE("a@example.com"));
	struct recipient rcpt = {.notify = 0};

	dsn_write_mail(&out, message);
	dsn_write_rcpt(&out, &rcpt, true);
	cr_expect_eq(out.len, 0);
	message->ret = RET_HDRS;
	message->envid = SLICE("QQ+2B");
	rcpt.notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
	dsn_write_mail(&out, message);
	dsn_write_rcpt(&out, &rcpt, true);
	cr_expect(slice_eq(text_slice(&out), SLICE(" RET=HDRS ENVID=QQ+2B"
						   " NOTIFY=SUCCESS,DELAY")));
	message_unref(message);
}
