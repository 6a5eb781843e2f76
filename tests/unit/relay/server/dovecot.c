#include "relay/server/dovecot.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "relay/limits.h"
#include "tests/fake/alarm.h"
#include "tests/fake/log.h"
#include "tests/fake/stream.h"

#define HELLO "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tDIGEST-MD5\n"       \
	      "MECH\tLOGIN\tplaintext\nSPID\t7\nDONE\n"

/* Who waits for a verdict. */
struct asker {
	struct dovecot_request *request;
	unsigned answers; /* how many came */
	enum sasl_verdict verdict;
	struct text challenge, user;
};

static struct loop loop;
static struct dovecot *dovecot;
static struct asker askers[DOVECOT_REQUESTS_MAX + 1];
static struct fault fault;

static void
on_answered(void *owner, enum sasl_verdict verdict, struct slice challenge,
	    struct slice user)
{
	struct asker *asker = owner;

	asker->answers++;
	asker->verdict = verdict;
	text_clear(&asker->challenge);
	text_add(&asker->challenge, challenge);
	text_clear(&asker->user);
	text_add(&asker->user, user);
	if (verdict != SASL_CHALLENGE)
		asker->request = NULL;
}

static bool
ask(struct asker *asker)
{
	struct dovecot_question question = {
		.mechanism = SLICE("PLAIN"),
		.has_initial = true,
		.initial = slice_of("\0user\0secret", 12),
		.timeout_ms = 5 * SECOND,
		.answered = on_answered,
		.owner = asker,
	};

	return dovecot_ask(dovecot, &question, &asker->request, &fault);
}

static void
say(const char *bytes)
{
	fake_stream_send(SLICE(bytes));
}

static void
pass(uint64_t ms)
{
	fake_stream_pass(ms);
	fake_alarm_turn();
}

static bool
has_said(const char *text)
{
	struct slice said = fake_stream_output();

	return memmem(said.bytes, said.len, text, strlen(text)) != NULL;
}

static void
forget_said(void)
{
	fake_stream_consume(fake_stream_output().len);
}

static void
open_it(void)
{
	cr_assert(dovecot_open(&loop, SLICE("/run/auth"), &dovecot, &fault));
	fake_stream_connect();
	cr_expect(has_said("VERSION\t1\t1\nCPID\t"));
}

static void
come_up(void)
{
	open_it();
	say(HELLO);
	forget_said();
}

static void
close_it(void)
{
	for (size_t i = 0; i < COUNT(askers); i++) {
		dovecot_cancel(&askers[i].request);
		text_done(&askers[i].challenge);
		text_done(&askers[i].user);
	}
	dovecot_close(&dovecot);
	cr_expect_not(fake_stream_is_open());
	fake_stream_forget();
	fake_log_clear();
}

static void
expect_mechanisms(const char *wanted)
{
	CLEAN(text_done) struct text mechanisms = {0};

	dovecot_mechanisms(dovecot, &mechanisms);
	cr_expect_str_eq(text_string(&mechanisms), wanted);
}

/* What was asked before the greeting is said behind it. */
Test(dovecot, greets)
{
	open_it();
	expect_mechanisms("PLAIN LOGIN");
	cr_assert(ask(&askers[0]));
	cr_expect_not(has_said("AUTH"));
	say("VERSION\t1\t2\nMECH\tSCRAM-SHA-256\nMECH\tEXTERNAL\nMECH\tLOG");
	expect_mechanisms("PLAIN LOGIN");
	say("IN\nDONE\n");
	expect_mechanisms("SCRAM-SHA-256 LOGIN");
	cr_expect(has_said("AUTH\t1\tPLAIN\tservice=smtp\tnologin\t"
			   "resp=AHVzZXIAc2VjcmV0\n"));
	say("OK\t1\tuser=User\n");
	cr_expect_eq(askers[0].answers, 1);
	cr_expect_eq(askers[0].verdict, SASL_IN);
	cr_expect_str_eq(text_string(&askers[0].user), "User");
	close_it();
}

/* Each has its own, whenever it comes, and one only. */
Test(dovecot, answers_in_any_order)
{
	come_up();
	for (size_t i = 0; i < 4; i++)
		cr_assert(ask(&askers[i]));
	dovecot_cancel(&askers[3].request);
	cr_expect(has_said("CANCEL\t4\n"));
	say("FAIL\t3\tuser=c\nOK\t4\tuser=d\nOK\t99\tuser=x\nCONT\t0\t\n");
	cr_expect_eq(askers[0].answers + askers[1].answers, 0);
	cr_expect_eq(askers[2].verdict, SASL_REFUSED);
	say("OK\t3\tuser=c\nOK\t1\tuser=a\nFAIL\t1\nOK\t2\tuser=b\n");
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(askers[i].answers, 1, "%zu", i);
	cr_expect_eq(askers[3].answers, 0);
	cr_expect_eq(askers[0].verdict, SASL_IN);
	cr_expect_str_eq(text_string(&askers[1].user), "b");
	close_it();
}

static const struct {
	const char *line;
	enum sasl_verdict verdict;
	const char *user;
} verdict_rows[] = {
	{"OK\t1\tuser=user", SASL_IN, "user"},
	{"OK\t1", SASL_TROUBLE, ""},
	{"OK\t1\tuser=", SASL_TROUBLE, ""},
	{"OK\t1\tuser=a\1nb", SASL_TROUBLE, ""},
	{"OK\t1\tuser=user\tnologin", SASL_REFUSED, "user"},
	{"OK\t1\tuser=user\tnologin\tproxy", SASL_IN, "user"},
	{"FAIL\t1", SASL_REFUSED, ""},
	{"FAIL\t1\tuser=user", SASL_REFUSED, "user"},
	{"FAIL\t1\tuser=user\ttemp", SASL_TROUBLE, "user"},
	{"FAIL\t1\tcode=temp_fail", SASL_TROUBLE, ""},
};

Test(dovecot, verdicts)
{
	for (size_t i = 0; i < COUNT(verdict_rows); i++) {
		CLEAN(text_done) struct text line = {0};

		memset(askers, 0, sizeof(askers));
		come_up();
		cr_assert(ask(&askers[0]));
		text_addf(&line, "%s\n", verdict_rows[i].line);
		say(text_string(&line));
		cr_expect_eq(askers[0].answers, 1, "%s", verdict_rows[i].line);
		cr_expect_eq(askers[0].verdict, verdict_rows[i].verdict, "%s",
			     verdict_rows[i].line);
		cr_expect_str_eq(text_string(&askers[0].user),
				 verdict_rows[i].user);
		close_it();
	}
}

/* A client that has not been asked for a response again is not asked twice. */
Test(dovecot, goes_on)
{
	come_up();
	cr_assert(ask(&askers[0]));
	say("CONT\t1\tVXNlcm5hbWU6\nCONT\t1\tAAAA\n");
	cr_expect_eq(askers[0].answers, 1);
	cr_expect_eq(askers[0].verdict, SASL_CHALLENGE);
	cr_expect_str_eq(text_string(&askers[0].challenge), "Username:");
	say("OK\t1\tuser=user\n");
	cr_expect_eq(askers[0].answers, 1, "nothing was owed");
	/* A client may take its time. */
	pass(10 * MINUTE);
	cr_expect(dovecot_respond(askers[0].request, SLICE("user"), &fault));
	cr_expect(has_said("CONT\t1\tdXNlcg==\n"));
	say("OK\t1\tuser=user\n");
	cr_expect_eq(askers[0].verdict, SASL_IN);
	close_it();
}

static const char *const garbage_rows[] = {
	"\n\xff\nVERSION\n",
	"VERSION\t2\t0\n",
	"CONT\t1\t*\n",
	"CONT\n",
	"OK\n",
	"OK\tx\tuser=user\n",
	"FAIL\t4294967296\n",
	"DONE\n",
	"MECH\tPLAIN\n",
};

/* Whoever waits is told, and it is tried again, later each time. */
Test(dovecot, does_not_understand)
{
	for (size_t i = 0; i < COUNT(garbage_rows); i++) {
		memset(askers, 0, sizeof(askers));
		come_up();
		cr_assert(ask(&askers[0]));
		say(garbage_rows[i]);
		cr_expect_eq(askers[0].answers, 1, "row %zu", i);
		cr_expect_eq(askers[0].verdict, SASL_TROUBLE, "row %zu", i);
		cr_expect_not(fake_stream_is_open(), "row %zu", i);
		cr_expect_not(ask(&askers[0]));
		cr_expect_eq(fault.kind, FAULT_BUSY);
		close_it();
	}
}

/* Answers before the greeting has ended are none. */
Test(dovecot, greets_with_an_answer)
{
	open_it();
	cr_assert(ask(&askers[0]));
	say("VERSION\t1\t2\nOK\t1\tuser=user\n");
	cr_expect_eq(askers[0].verdict, SASL_TROUBLE);
	cr_expect_not(fake_stream_is_open());
	close_it();
}

Test(dovecot, long_lines)
{
	static const struct {
		size_t len;
		bool is_taken;
	} rows[] = {{DOVECOT_LINE_MAX, true}, {DOVECOT_LINE_MAX + 1, false}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text line = {0};

		memset(askers, 0, sizeof(askers));
		come_up();
		cr_assert(ask(&askers[0]));
		while (line.len < rows[i].len)
			text_add_byte(&line, 'x');
		fake_stream_send(text_slice(&line));
		cr_expect_eq(fake_stream_is_open(), rows[i].is_taken);
		cr_expect_eq(askers[0].answers, rows[i].is_taken ? 0 : 1);
		if (rows[i].is_taken)
			say("\nOK\t1\tuser=user\n");
		cr_expect_eq(askers[0].verdict,
			     rows[i].is_taken ? SASL_IN : SASL_TROUBLE);
		close_it();
	}
}

static void
die(void)
{
	fake_stream_end();
	cr_expect_not(fake_stream_is_open());
}

/* Back with other mechanisms; who waited for his client is told when that
 * speaks. */
Test(dovecot, dies_and_comes_back)
{
	come_up();
	for (size_t i = 0; i < 2; i++)
		cr_assert(ask(&askers[i]));
	say("CONT\t2\t\n");
	die();
	cr_expect_eq(askers[0].verdict, SASL_TROUBLE);
	cr_expect_eq(askers[1].answers, 1);
	expect_mechanisms("PLAIN LOGIN");
	cr_expect_not(ask(&askers[0]));
	pass(DOVECOT_AGAIN_MS);
	cr_assert(fake_stream_is_open());
	fake_stream_connect();
	cr_assert(ask(&askers[0]));
	say("VERSION\t1\t0\nMECH\tSCRAM-SHA-256\nDONE\n");
	expect_mechanisms("SCRAM-SHA-256");
	cr_expect(has_said("AUTH\t3\t"));
	/* Its number may be another's there by now. */
	cr_expect_not(dovecot_respond(askers[1].request, SLICE("x"), &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
	forget_said();
	dovecot_cancel(&askers[1].request);
	cr_expect_not(has_said("CANCEL"));
	say("OK\t2\tuser=user\nOK\t3\tuser=user\n");
	cr_expect_eq(askers[0].verdict, SASL_IN);
	cr_expect_eq(fake_log_count("dovecot", "answers again"), 1);
	close_it();
}

Test(dovecot, tries_again_ever_later)
{
	uint64_t wait_ms = DOVECOT_AGAIN_MS;

	open_it();
	for (unsigned i = 0; i < 12; i++) {
		die();
		pass(wait_ms - 1);
		cr_expect_not(fake_stream_is_open(), "attempt %u", i);
		pass(1);
		cr_assert(fake_stream_is_open(), "attempt %u", i);
		wait_ms = 2 * wait_ms < DOVECOT_AGAIN_MAX_MS
				  ? 2 * wait_ms
				  : DOVECOT_AGAIN_MAX_MS;
	}
	cr_expect_eq(fake_log_count("auth_dovecot", NULL), 1, "told once");
	close_it();
}

/* It is there and says nothing. */
Test(dovecot, is_silent)
{
	open_it();
	cr_assert(ask(&askers[0]));
	pass(DOVECOT_GREETING_MS);
	cr_expect_eq(askers[0].verdict, SASL_TROUBLE);
	pass(DOVECOT_AGAIN_MS);
	fake_stream_connect();
	say(HELLO);
	cr_assert(ask(&askers[0]));
	pass(5 * SECOND - 1);
	cr_expect_eq(askers[0].answers, 1);
	pass(1);
	cr_expect_eq(askers[0].answers, 2);
	cr_expect_eq(askers[0].verdict, SASL_TROUBLE);
	close_it();
}

/* Without work it rests, and comes when it is asked. */
Test(dovecot, rests)
{
	come_up();
	cr_assert(ask(&askers[0]));
	say("OK\t1\tuser=user\n");
	pass(DOVECOT_KEEP_MS);
	cr_expect_not(fake_stream_is_open());
	cr_assert(ask(&askers[0]));
	cr_assert(fake_stream_is_open());
	fake_stream_connect();
	say(HELLO "OK\t2\tuser=user\n");
	cr_expect_eq(askers[0].answers, 2);
	cr_expect_eq(fake_log_count("auth_dovecot", NULL), 0);
	close_it();
}

static void
fill(void)
{
	for (size_t i = 0; i < DOVECOT_REQUESTS_MAX; i++) {
		cr_assert(ask(&askers[i]), "%zu: %s", i, fault.text);
		forget_said();
	}
}

/* Where Dovecot owes an answer to all, one more has to come again. */
Test(dovecot, has_so_many_places)
{
	struct asker *last = &askers[DOVECOT_REQUESTS_MAX];

	come_up();
	fill();
	cr_expect_not(ask(last));
	cr_expect_eq(fault.kind, FAULT_LIMIT);
	say("OK\t7\tuser=user\n");
	cr_expect(ask(last));
	close_it();
}

/* Who waits for his client has no place for ever: of those who do, the one that
 * has done so for longest goes. */
Test(dovecot, gives_places_of_the_silent_away)
{
	struct asker *last = &askers[DOVECOT_REQUESTS_MAX];

	come_up();
	fill();
	say("CONT\t1\t\nCONT\t3\t\nCONT\t2\t\n");
	cr_assert(dovecot_respond(askers[0].request, SLICE("x"), &fault));
	say("CONT\t1\t\n");
	forget_said();
	cr_assert(ask(last));
	cr_expect(has_said("CANCEL\t2\nAUTH\t1025\t"));
	cr_expect_not(dovecot_respond(askers[1].request, SLICE("x"), &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
	forget_said();
	dovecot_cancel(&askers[1].request);
	cr_expect_not(has_said("CANCEL"));
	cr_expect(dovecot_respond(askers[0].request, SLICE("x"), &fault));
	cr_expect(dovecot_respond(askers[2].request, SLICE("x"), &fault));
	say("OK\t1\tuser=a\nOK\t3\tuser=b\nOK\t1025\tuser=c\n");
	cr_expect_eq(askers[0].verdict, SASL_IN);
	cr_expect_eq(askers[2].verdict, SASL_IN);
	cr_expect_eq(last->verdict, SASL_IN);
	close_it();
}
