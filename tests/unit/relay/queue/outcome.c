#include <criterion/criterion.h>

#include "relay/queue/outcome.h"

static const struct reply_row {
	const char *name;
	enum outcome_stage stage;
	unsigned code;
	const char *reply_status;
	enum outcome outcome;
	enum outcome_scope scope;
	bool next;
	const char *status;
} reply_rows[] = {
	{"greeting", STAGE_GREETING, 220, "", OUTCOME_NONE, SCOPE_MESSAGE,
	 false, ""},
	{"no service here", STAGE_GREETING, 554, "", OUTCOME_DEFERRED,
	 SCOPE_HOST, true, "4.3.2"},
	{"greeting says later", STAGE_GREETING, 421, "4.3.2",
	 OUTCOME_DEFERRED, SCOPE_HOST, true, "4.3.2"},
	{"EHLO refused", STAGE_EHLO, 550, "5.7.1", OUTCOME_DEFERRED,
	 SCOPE_HOST, true, "4.7.1"},
	{"STARTTLS refused", STAGE_STARTTLS, 454, "4.7.0", OUTCOME_DEFERRED,
	 SCOPE_HOST, true, "4.7.0"},
	{"a challenge of AUTH", STAGE_AUTH, 334, "", OUTCOME_NONE,
	 SCOPE_MESSAGE, false, ""},
	{"wrong password", STAGE_AUTH, 535, "5.7.8", OUTCOME_DEFERRED,
	 SCOPE_HOST, true, "4.7.8"},
	{"MAIL taken", STAGE_MAIL, 250, "2.1.0", OUTCOME_NONE, SCOPE_MESSAGE,
	 false, ""},
	{"MAIL refused", STAGE_MAIL, 550, "5.7.1", OUTCOME_FAILED,
	 SCOPE_MESSAGE, false, "5.7.1"},
	{"MAIL refused for now", STAGE_MAIL, 451, "", OUTCOME_DEFERRED,
	 SCOPE_MESSAGE, true, "4.0.0"},
	{"RCPT taken", STAGE_RCPT, 250, "", OUTCOME_NONE, SCOPE_RECIPIENT,
	 false, ""},
	{"RCPT forwarded", STAGE_RCPT, 251, "", OUTCOME_NONE,
	 SCOPE_RECIPIENT, false, ""},
	{"no such user", STAGE_RCPT, 550, "5.1.1", OUTCOME_FAILED,
	 SCOPE_RECIPIENT, false, "5.1.1"},
	{"no such user, no enhanced code", STAGE_RCPT, 550, "",
	 OUTCOME_FAILED, SCOPE_RECIPIENT, false, "5.0.0"},
	{"a code of the wrong class", STAGE_RCPT, 550, "4.1.1",
	 OUTCOME_FAILED, SCOPE_RECIPIENT, false, "5.1.1"},
	{"greylisted", STAGE_RCPT, 450, "4.2.0", OUTCOME_DEFERRED,
	 SCOPE_RECIPIENT, false, "4.2.0"},
	{"too many recipients, as RFC 821 said it", STAGE_RCPT, 552, "",
	 OUTCOME_DEFERRED, SCOPE_RECIPIENT, false, "4.0.0"},
	{"too many recipients, and both codes say it", STAGE_RCPT, 552, "5.5.3",
	 OUTCOME_DEFERRED, SCOPE_RECIPIENT, false, "4.5.3"},
	{"mailbox full", STAGE_RCPT, 552, "5.2.2", OUTCOME_FAILED,
	 SCOPE_RECIPIENT, false, "5.2.2"},
	{"closing at RCPT", STAGE_RCPT, 421, "", OUTCOME_DEFERRED,
	 SCOPE_HOST, true, "4.0.0"},
	{"DATA goes on", STAGE_DATA, 354, "", OUTCOME_NONE, SCOPE_MESSAGE,
	 false, ""},
	{"DATA with 250 is no go-ahead", STAGE_DATA, 250, "",
	 OUTCOME_DEFERRED, SCOPE_HOST, true, "4.5.0"},
	{"nor is a challenge", STAGE_DATA, 334, "", OUTCOME_DEFERRED,
	 SCOPE_HOST, true, "4.5.0"},
	{"DATA refused", STAGE_DATA, 554, "5.5.1", OUTCOME_FAILED,
	 SCOPE_MESSAGE, false, "5.5.1"},
	{"delivered", STAGE_END_OF_DATA, 250, "2.6.0", OUTCOME_DELIVERED,
	 SCOPE_MESSAGE, false, "2.6.0"},
	{"delivered, no enhanced code", STAGE_END_OF_DATA, 250, "",
	 OUTCOME_DELIVERED, SCOPE_MESSAGE, false, "2.0.0"},
	{"content refused", STAGE_END_OF_DATA, 554, "5.7.1", OUTCOME_FAILED,
	 SCOPE_MESSAGE, false, "5.7.1"},
	{"too large for them", STAGE_END_OF_DATA, 552, "", OUTCOME_FAILED,
	 SCOPE_MESSAGE, false, "5.0.0"},
	{"disk full there", STAGE_END_OF_DATA, 452, "4.3.1",
	 OUTCOME_DEFERRED, SCOPE_MESSAGE, true, "4.3.1"},
	{"disk full there, no enhanced code", STAGE_DATA, 452, "",
	 OUTCOME_DEFERRED, SCOPE_MESSAGE, true, "4.0.0"},
	{"a lookup fails there", STAGE_RCPT, 451, "4.3.0",
	 OUTCOME_DEFERRED, SCOPE_RECIPIENT, true, "4.3.0"},
	{"a full mailbox, for now", STAGE_RCPT, 452, "4.2.2",
	 OUTCOME_DEFERRED, SCOPE_RECIPIENT, false, "4.2.2"},
	{"the message is not wanted now", STAGE_END_OF_DATA, 451, "4.7.1",
	 OUTCOME_DEFERRED, SCOPE_MESSAGE, false, "4.7.1"},
	{"closing after the data", STAGE_END_OF_DATA, 421, "",
	 OUTCOME_DEFERRED, SCOPE_HOST, true, "4.0.0"},
	{"354 after the data", STAGE_END_OF_DATA, 354, "", OUTCOME_DEFERRED,
	 SCOPE_HOST, false, "4.5.0"},
	{"a status that is none", STAGE_RCPT, 550, "5.1.1234",
	 OUTCOME_FAILED, SCOPE_RECIPIENT, false, "5.0.0"},
};

Test(outcome, of_reply)
{
	for (size_t i = 0; i < COUNT(reply_rows); i++) {
		const struct reply_row *row = &reply_rows[i];
		struct reply_in reply = {.code = row->code,
					 .status = SLICE(row->reply_status)};
		struct fate fate = outcome_of_reply(row->stage, &reply);

		cr_expect_eq(fate.outcome, row->outcome, "%s: outcome %d",
			     row->name, fate.outcome);
		cr_expect_eq(fate.scope, row->scope, "%s: scope %d",
			     row->name, fate.scope);
		cr_expect_eq(fate.may_try_next_host, row->next, "%s: next",
			     row->name);
		cr_expect_str_eq(fate.status, row->status, "%s: status %s",
				 row->name, fate.status);
	}
}

Test(outcome, of_trouble)
{
	struct fate fate = outcome_of_trouble(TROUBLE_NULL_MX);

	/* RFC 7505 4.1 */
	cr_expect_eq(fate.outcome, OUTCOME_FAILED);
	cr_expect_str_eq(fate.status, "5.1.10");
	fate = outcome_of_trouble(TROUBLE_DNS);
	cr_expect_eq(fate.outcome, OUTCOME_DEFERRED);
	cr_expect_str_eq(fate.status, "4.4.3");
	fate = outcome_of_trouble(TROUBLE_NO_CONNECTION);
	cr_expect(fate.may_try_next_host);
	cr_expect_not(fate.is_damage);
	/* What is left of it is kept. */
	cr_expect(outcome_of_trouble(TROUBLE_DAMAGED).is_damage);
	/* Another host may have what one lacks. */
	fate = outcome_of_trouble(TROUBLE_TOO_BIG);
	cr_expect_eq(fate.outcome, OUTCOME_FAILED);
	cr_expect(fate.may_try_next_host);
}

static const struct status_row {
	const char *text, *status;
} status_rows[] = {
	{"5.1.1 No such user", "5.1.1"},
	{"5.1.1", "5.1.1"},
	{"2.0.0\nmore", "2.0.0"},
	{"4.123.123 x", "4.123.123"},
	{"5.1.1234 x", ""},
	{"3.1.1 x", ""},
	{"5.1", ""},
	{"5..1 x", ""},
	{"5x1.1 x", ""},
	{"5.1x1 x", ""},
	{"5.1.1x", ""},
	{"No such user", ""},
	{"", ""},
};

Test(outcome, find_status)
{
	for (size_t i = 0; i < COUNT(status_rows); i++) {
		struct slice found =
			outcome_find_status(SLICE(status_rows[i].text));

		cr_expect(slice_eq(found, SLICE(status_rows[i].status)),
			  "'%s': '%.*s'", status_rows[i].text,
			  SLICE_ARG(found));
	}
}

static const struct write_row {
	unsigned code;
	const char *status, *text, *written;
} write_rows[] = {
	{550, "5.1.1", "No such user", "550 5.1.1 No such user"},
	{550, "5.1.1", "5.1.1 No such user", "550 5.1.1 No such user"},
	{250, "", "ok", "250 ok"},
	{554, "", "one\ntwo\x01", "554 one two "},
	{250, "", "", "250 "},
	{250, "", "a\x7f" "b c", "250 a b c"},
};

Test(outcome, write_reply)
{
	for (size_t i = 0; i < COUNT(write_rows); i++) {
		const struct write_row *row = &write_rows[i];
		struct reply_in reply = {.code = row->code,
					 .status = SLICE(row->status),
					 .text = SLICE(row->text)};
		CLEAN(text_done) struct text out = {0};

		outcome_write_reply(&out, &reply);
		cr_expect_str_eq(text_string(&out), row->written);
	}
}

Test(outcome, is_reply)
{
	cr_expect(outcome_is_reply(SLICE("250 ")));
	cr_expect(outcome_is_reply(SLICE("550 5.1.1 no")));
	cr_expect_not(outcome_is_reply(SLICE("250")));
	cr_expect_not(outcome_is_reply(SLICE("250-ok")));
	cr_expect_not(outcome_is_reply(SLICE("2500 ok")));
	cr_expect_not(outcome_is_reply(SLICE("25a ok")));
	cr_expect_not(outcome_is_reply(SLICE("2a0 ok")));
	cr_expect_not(outcome_is_reply(SLICE("a50 ok")));
	cr_expect_not(outcome_is_reply(SLICE("the connection was lost")));
}
