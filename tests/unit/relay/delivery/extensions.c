/* What a host offers, and what is made of it: SIZE, SMTPUTF8, DSN, CHUNKING,
 * LIMITS. */
#include <criterion/criterion.h>
#include <signal.h>

#include "relay/limits.h"
#include "tests/unit/relay/delivery/scripted.h"

#define UE "\xc3\xbc"
#define EHLO(lines) "S 220 mx|C EHLO|R 250-mx\r\n" lines "|"
#define SMTPUTF8 EHLO("250-8BITMIME\r\n250 SMTPUTF8\r\n")
#define OK "S 250 ok|"

static const char body[] = "From: <a@example.com>\r\n\r\n.dot\r\n";

/* --- messages --- */

static void
sender_utf8(struct message *message)
{
	message->declared_smtputf8 = true;
	message->reverse_path = SLICE(UE "@example.com");
}

static void
sender_domain_utf8(struct message *message)
{
	message->declared_smtputf8 = true;
	message->reverse_path = SLICE("a@b" UE "cher.example");
}

static void
first_utf8(struct message *message)
{
	message->declared_smtputf8 = true;
	message->recipients[0].address = SLICE(UE "@example.net");
}

static void
first_domain_utf8(struct message *message)
{
	message->declared_smtputf8 = true;
	message->recipients[0].address = SLICE("r0@B" UE "cher.example");
}

static void
header_utf8(struct message *message)
{
	message->declared_smtputf8 = true;
	message->body.has_8bit = message->body.has_8bit_header = true;
}

static void
header_8bit_unsaid(struct message *message)
{
	message->body.has_8bit = message->body.has_8bit_header = true;
}

static void
said_for_nothing(struct message *message)
{
	message->declared_smtputf8 = true;
}

static void
dsn_all(struct message *message)
{
	message->ret = RET_HDRS;
	message->envid = SLICE("QQ+2B1");
	message->recipients[0].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
	message->recipients[0].orcpt = SLICE("rfc822;b+2B@example.org");
}

static void
dsn_utf8(struct message *message)
{
	message->recipients[0].orcpt = SLICE("utf-8;" UE "@example.org");
}

static void
dsn_all_utf8(struct message *message)
{
	first_utf8(message);
	dsn_utf8(message);
}

static void
dsn_damaged(struct message *message)
{
	message->recipients[0].orcpt = SLICE("rfc822;b\r\nRSET");
}

static void
envid_damaged(struct message *message)
{
	message->envid = SLICE("QQ\r\nRSET");
}

static void
address_damaged(struct message *message)
{
	message->recipients[0].address = SLICE("r0\x7f@example.net");
}

/* --- the table --- */

static const struct extension_row {
	const char *name;
	void (*envelope)(struct message *message);
	const char *hosts[SCRIPTS_MAX]; /* one, on each of its connections */
	unsigned recipients;
	const char *outcomes, *status, *reply;
	bool dsn_passed_on;
	const char *next; /* another host; NULL: there is none */
	bool in_turns;    /* not all in one go */
	bool is_worse;    /* the other host */
} rows[] = {
	/* SMTPUTF8: RFC 6531 3.4 */
	{ "UTF-8 to a host that takes it", sender_utf8,
	  {SMTPUTF8 "C MAIL FROM:<" UE "@example.com> SMTPUTF8\r\n|" OK RCPT0
	   BODY "X"}, 1, "D", "2.0.0", NULL, false },
	{ "a recipient in UTF-8", first_utf8,
	  {SMTPUTF8 "C MAIL FROM:<a@example.com> SMTPUTF8\r\n|" OK
	   "C RCPT TO:<" UE "@example.net>\r\n|" OK BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "a header in UTF-8", header_utf8,
	  {SMTPUTF8 "C MAIL FROM:<a@example.com> BODY=8BITMIME SMTPUTF8\r\n|"
	   OK RCPT0 BODY "X"}, 1, "D", "2.0.0", NULL, false },
	{ "declared for nothing, and not said again", said_for_nothing,
	  {SMTPUTF8 "C MAIL FROM:<a@example.com>\r\n|" OK RCPT0 BODY "X"}, 1,
	  "D", "2.0.0", NULL, false },
	{ "declared for nothing, to a host without", said_for_nothing,
	  {HELLO MAIL RCPT0 BODY "X"}, 1, "D", "2.0.0", NULL, false },
	{ "an 8-bit header of which nothing was said", header_8bit_unsaid,
	  {EHLO("250 8BITMIME\r\n")
	   "C MAIL FROM:<a@example.com> BODY=8BITMIME\r\n|" OK RCPT0 BODY
	   "X"}, 1, "D", "2.0.0", NULL, false },
	{ "a sender in UTF-8 to a host without", sender_utf8, {HELLO BYE}, 2,
	  "FF", "5.6.7",
	  "the addresses need SMTPUTF8, which the peer does not offer",
	  false },
	{ "all of the recipients to a host without", first_utf8, {HELLO BYE},
	  1, "F", "5.6.7", NULL, false },
	{ "a header in UTF-8 to a host without", header_utf8,
	  {EHLO("250 8BITMIME\r\n") BYE}, 1, "F", "5.6.7", NULL, false },
	{ "one of two in UTF-8 to a host without", first_utf8,
	  {HELLO MAIL RCPT1 OK BODY "X"}, 2, "FD", "5.6.7", NULL, false },
	{ "but the next host has it", first_utf8, {HELLO BYE}, 2, "DD",
	  "2.0.0", NULL, false,
	  SMTPUTF8 "C MAIL FROM:<a@example.com> SMTPUTF8\r\n|" OK
	  "C RCPT TO:<" UE "@example.net>\r\n|" OK RCPT1 OK BODY "X" },
	{ "the next host is down: the first has who needs it not",
	  first_utf8, {HELLO BYE, HELLO MAIL RCPT1 OK BODY "X"}, 2, "FD",
	  "5.6.7", "the addresses need SMTPUTF8, which the peer does not offer",
	  false, "X" },
	{ "a better host is down: who needs it waits", first_utf8, {"X"}, 2,
	  "TD", "4.6.7", "the addresses need SMTPUTF8, which the peer does not "
	  "offer; a host that is preferred to it may take it later", false,
	  HELLO MAIL RCPT1 OK BODY "X", false, true },
	{ "a domain alone goes in A-labels", first_domain_utf8,
	  {HELLO MAIL "C RCPT TO:<r0@xn--bcher-kva.example>\r\n|" OK BODY
	   "X"}, 1, "D", "2.0.0", NULL, false },
	{ "the sender's domain, too", sender_domain_utf8,
	  {HELLO "C MAIL FROM:<a@xn--bcher-kva.example>\r\n|" OK RCPT0 BODY
	   "X"}, 1, "D", "2.0.0", NULL, false },
	{ "but not where UTF-8 is taken", first_domain_utf8,
	  {SMTPUTF8 "C MAIL FROM:<a@example.com> SMTPUTF8\r\n|" OK
	   "C RCPT TO:<r0@B" UE "cher.example>\r\n|" OK BODY "X"}, 1, "D",
	  "2.0.0", NULL, false },

	/* DSN: RFC 3461 5.2 */
	{ "DSN passed on", dsn_all,
	  {EHLO("250 DSN\r\n")
	   "C MAIL FROM:<a@example.com> RET=HDRS ENVID=QQ+2B1\r\n|" OK
	   "C RCPT TO:<r0@example.net> NOTIFY=SUCCESS,DELAY "
	   "ORCPT=rfc822;b+2B@example.org\r\n|" OK
	   "C RCPT TO:<r1@example.net>\r\n|" OK BODY "X"}, 2, "DD", "2.0.0",
	  NULL, true },
	{ "DSN to a host without", dsn_all,
	  {HELLO "C MAIL FROM:<a@example.com>\r\n|" OK
	   "C RCPT TO:<r0@example.net>\r\n|" OK BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "an ORCPT in UTF-8 becomes ASCII", dsn_utf8,
	  {EHLO("250 DSN\r\n") MAIL
	   "C RCPT TO:<r0@example.net> ORCPT=utf-8;\\x{FC}@example.org\r\n|"
	   OK BODY "X"}, 1, "D", "2.0.0", NULL, true },
	{ "an ORCPT in UTF-8 stays with SMTPUTF8", dsn_all_utf8,
	  {EHLO("250-DSN\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
	   "C MAIL FROM:<a@example.com> SMTPUTF8\r\n|" OK
	   "C RCPT TO:<" UE "@example.net> ORCPT=utf-8;" UE
	   "@example.org\r\n|" OK BODY "X"}, 1, "D", "2.0.0", NULL, true },
	{ "a damaged record says no commands", dsn_damaged,
	  {EHLO("250 DSN\r\n") BYE}, 1, "F", "5.3.0", NULL, false },
	{ "wherever it is", envid_damaged, {EHLO("250 DSN\r\n") BYE}, 1, "F",
	  "5.3.0", NULL, false },
	{ "and no control characters", address_damaged, {HELLO BYE}, 1, "F",
	  "5.3.0", NULL, false },

	{ "DSN offered and refused at MAIL: without", dsn_all,
	  {EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|"
	   "S 555 5.5.4 no such parameter|C QUIT|X",
	   EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com>\r\n|" OK
	   "C RCPT TO:<r0@example.net>\r\n|" OK BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "DSN offered and refused at RCPT: without", dsn_all,
	  {EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|" OK
	   "C RCPT TO:<r0@example.net> NOTIFY|S 501 what|X",
	   EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com>\r\n|" OK
	   "C RCPT TO:<r0@example.net>\r\n|" OK BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "DSN refused in a pipeline: without", dsn_all,
	  {EHLO("250-DSN\r\n250 PIPELINING\r\n")
	   AHEAD "R 250 ok\r\n504 5.5.4 no\r\n250 ok\r\n354 go\r\n|X",
	   EHLO("250-DSN\r\n250 PIPELINING\r\n") AHEAD
	   "R 250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n|B|S 250 ok|X"},
	  2, "DD", "2.0.0", NULL, false },
	{ "refused without, too: that is the answer", dsn_all,
	  {EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|"
	   "S 501 5.5.4 no|C QUIT|X",
	   EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com>\r\n|"
	   "S 501 5.5.4 still no|X"}, 1, "F", "5.5.4", "501 5.5.4 still no",
	  false },
	{ "an address that is refused is no parameter", dsn_all,
	  {EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|" OK
	   "C RCPT TO:<r0@example.net> NOTIFY|S 501 5.1.3 bad address|"
	   "C RSET|" OK "X"}, 1, "F", "5.1.3", "501 5.1.3 bad address",
	  false },
	{ "no parameter was said, so none was refused", NULL,
	  {EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com>\r\n|"
	   "S 555 5.5.4 no|X"}, 1, "F", "5.5.4", "555 5.5.4 no", false },

	/* CHUNKING: RFC 3030 */
	{ "BDAT", NULL,
	  {EHLO("250 CHUNKING\r\n") MAIL RCPT0 "D |S 250 2.0.0 taken|X"}, 1,
	  "D", "2.0.0", "250 2.0.0 taken", false },
	{ "BDAT behind an envelope in one write", NULL,
	  {EHLO("250-CHUNKING\r\n250 PIPELINING\r\n")
	   "C MAIL|C RCPT|C RCPT|R 250 ok\r\n550 5.1.1 no\r\n250 ok\r\n|"
	   "D |S 250 2.0.0 taken|X"}, 2, "FD", "5.1.1", NULL, false },
	{ "no BDAT to nobody", NULL,
	  {EHLO("250-CHUNKING\r\n250 PIPELINING\r\n")
	   "C MAIL|C RCPT|R 250 ok\r\n550 5.1.1 no\r\n|C RSET|" OK "X"}, 1,
	  "F", "5.1.1", NULL, false },
	{ "nor where MAIL is refused", NULL,
	  {EHLO("250-CHUNKING\r\n250 PIPELINING\r\n")
	   "C MAIL|C RCPT|R 550 5.7.1 no\r\n503 no\r\n|C RSET|" OK "X"}, 1,
	  "F", "5.7.1", NULL, false },
	{ "BDAT is refused", NULL,
	  {EHLO("250 CHUNKING\r\n") MAIL RCPT0 "D |S 554 5.7.1 spam|X"}, 1,
	  "F", "5.7.1", "554 5.7.1 spam", false },
	{ "BDAT is not known: DATA", NULL,
	  {EHLO("250 CHUNKING\r\n") MAIL RCPT0 "D |S 502 what|X",
	   EHLO("250 CHUNKING\r\n") MAIL RCPT0 BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "BDAT is not known, and so are its octets", NULL,
	  {EHLO("250 CHUNKING\r\n") MAIL RCPT0
	   "D |R 500 what\r\n500 what\r\n500 what\r\n|X",
	   EHLO("250 CHUNKING\r\n") MAIL RCPT0 BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "BDAT is not expected: DATA", NULL,
	  {EHLO("250 CHUNKING\r\n") MAIL RCPT0 "D |S 503 5.5.1 DATA first|X",
	   EHLO("250 CHUNKING\r\n") MAIL RCPT0 BODY "X"}, 1, "D", "2.0.0",
	  NULL, false },
	{ "lost behind BDAT: not to be sent again at once", NULL,
	  {EHLO("250 CHUNKING\r\n") MAIL RCPT0 "D |X"}, 1, "T", "4.4.2",
	  "the connection was lost while waiting for the final reply; the "
	  "message may be sent twice", false },
	{ "the next message behind BDAT goes with BDAT", NULL,
	  {EHLO("250-CHUNKING\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=1\r\n")
	   "C MAIL|C RCPT TO:<r0|R 250 ok\r\n250 ok\r\n|D |S 250 one|"
	   "C MAIL|C RCPT TO:<r1|R 250 ok\r\n250 ok\r\n|D |S 250 two|X"},
	  2, "DD", "2.0.0", "250 one", false },

	/* LIMITS: RFC 9422 */
	{ "RCPTMAX", NULL,
	  {EHLO("250 LIMITS RCPTMAX=2\r\n") MAIL RCPT0 RCPT1 OK BODY MAIL
	   "C RCPT TO:<r2|" OK BODY "X"}, 3, "DDD", "2.0.0", NULL, false },
	{ "MAILMAX: another connection", NULL,
	  {EHLO("250 LIMITS MAILMAX=1 RCPTMAX=1\r\n") MAIL RCPT0 BODY
	   "C QUIT|S 221 bye|X",
	   EHLO("250 LIMITS MAILMAX=1 RCPTMAX=1\r\n") MAIL RCPT1 OK BODY
	   "C QUIT|S 221 bye|X"}, 2, "DD", "2.0.0", NULL, false },
	/* the same, not said */
	{ "421 between two transactions: another connection", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT0 BODY
	   "C MAIL|S 421 4.7.0 too many messages|X",
	   HELLO MAIL RCPT1 OK BODY "X"}, 2, "DD", "2.0.0", NULL, false },
	{ "gone between two transactions: another connection", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT0 BODY "C MAIL|X",
	   HELLO MAIL RCPT1 OK BODY "X"}, 2, "DD", "2.0.0", NULL, false },
	{ "421 to RSET: another connection", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL
	   "C RCPT TO:<r0|S 550 5.1.1 no|C RSET|S 421 4.7.0 too many bad ones|X",
	   HELLO MAIL RCPT1 OK BODY "X"}, 2, "FD", "5.1.1", NULL, false },
	{ "gone at RSET: another connection", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL
	   "C RCPT TO:<r0|S 550 5.1.1 no|C RSET|X",
	   HELLO MAIL RCPT1 OK BODY "X"}, 2, "FD", "5.1.1", NULL, false },
	{ "421 between two: it is others' turn", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT0 BODY
	   "C MAIL|S 421 4.7.0 too many messages|X"}, 2, "DN", "2.0.0", NULL,
	  false, .in_turns = true },
	{ "gone at RSET: it is others' turn", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL
	   "C RCPT TO:<r0|S 550 5.1.1 no|C RSET|X"}, 2, "FN", "5.1.1", NULL,
	  false, .in_turns = true },
	{ "gone between two again and again", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT0 BODY "C MAIL|X",
	   EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT1 OK BODY "C MAIL|X",
	   HELLO MAIL "C RCPT TO:<r2|" OK BODY "X"}, 3, "DDD", "2.0.0", NULL,
	  false },
	{ "421 between two, and then at once: the others wait", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT0 BODY
	   "C MAIL|S 421 4.7.0 too many messages|X",
	   HELLO "C MAIL|S 421 4.7.0 go away|X"}, 2, "DT", "2.0.0", NULL,
	  false },
	{ "gone within the second: that is another matter", NULL,
	  {EHLO("250 LIMITS RCPTMAX=1\r\n") MAIL RCPT0 BODY
	   "C MAIL|S 250 ok|" RCPT1 OK "C DATA|S 354 go|B|X"}, 2, "DT",
	  "2.0.0", NULL, false, .next = "S 220 never" },
	{ "limits that are none", NULL,
	  {EHLO("250 LIMITS RCPTMAX=0 MAILMAX=x RCPTMAX MAILMAX=0 OTHER=1\r\n")
	   MAIL RCPT0 RCPT1 OK BODY "X"}, 2, "DD", "2.0.0", NULL, false },
	{ "too many recipients: the rest at once", NULL,
	  {HELLO MAIL RCPT0 RCPT1 "S 452 4.5.3 too many|C RCPT TO:<r2|"
	   "S 452 4.5.3 too many|" BODY MAIL RCPT1 OK BODY MAIL
	   "C RCPT TO:<r2|" OK BODY "X"}, 3, "DDD", "2.0.0", NULL, false },

	/* SIZE: RFC 1870 6.1 */
	{ "too big, and nothing is said", NULL,
	  {EHLO("250 SIZE 10\r\n") BYE}, 1, "F", "5.3.4", NULL, false },
	{ "SIZE is declared", NULL,
	  {EHLO("250 SIZE 1000\r\n") "C MAIL FROM:<a@example.com> SIZE=47\r\n|"
	   OK RCPT0 BODY "X"}, 1, "D", "2.0.0", NULL, false },
};

static void
row_run(const struct extension_row *row)
{
	struct run run = {
		.recipients = row->recipients,
		.messages = 1,
		.envelope = row->envelope,
		.body = SLICE(body),
		.in_memory = true,
		.without_8bitmime = WITHOUT_8BITMIME_BOUNCE,
		.hosts_count = row->next != NULL ? 2 : 1,
		.in_one_go = !row->in_turns,
		.is_ranked = row->is_worse,
	};
	struct scripted *host = &run.hosts[0];

	for (size_t i = 0; i < SCRIPTS_MAX; i++)
		host->scripts[i] = row->hosts[i];
	run.hosts[1].scripts[0] = row->next;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s, %s", row->name,
			 run.outcomes, run.reply);
	cr_expect_str_eq(run.status, row->status, "%s: %s", row->name,
			 run.status);
	if (row->reply != NULL)
		cr_expect_str_eq(run.reply, row->reply, "%s: '%s'", row->name,
				 run.reply);
	if (row->outcomes[0] == 'D')
		cr_expect_eq(run.dsn_passed_on, row->dsn_passed_on, "%s",
			     row->name);
	for (size_t i = 0; i < run.hosts_count; i++) {
		cr_expect_str_eq(run.hosts[i].wrong, "", "%s: host %zu: %s",
				 row->name, i, run.hosts[i].wrong);
		text_done(&run.hosts[i].message);
	}
}

Test(extensions, rows, .timeout = 120)
{
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT(rows); i++)
		row_run(&rows[i]);
}

/* What a host offers in vain is not asked of it again by the next connection,
 * which there is because the host wants no second message of one. */
static const struct lapse_row {
	const char *name;
	void (*envelope)(struct message *message);
	const char *outcomes, *first, *second, *third;
} lapse_rows[] = {
	{ "BDAT", NULL, "DD",
	  EHLO("250 CHUNKING\r\n") MAIL RCPT0 "D |S 502 what|X",
	  EHLO("250-CHUNKING\r\n250 LIMITS MAILMAX=1\r\n") MAIL RCPT0 BODY
	  "C QUIT|X",
	  EHLO("250 CHUNKING\r\n") MAIL RCPT0 BODY "X" },
	{ "DSN", dsn_all, "DD",
	  EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|S 555 no|"
	  "C QUIT|X",
	  EHLO("250-DSN\r\n250 LIMITS MAILMAX=1\r\n")
	  "C MAIL FROM:<a@example.com>\r\n|" OK
	  "C RCPT TO:<r0@example.net>\r\n|" OK BODY "C QUIT|X",
	  EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com>\r\n|" OK
	  "C RCPT TO:<r0@example.net>\r\n|" OK BODY "X" },
	{ "DSN, and it was not that", dsn_all, "FD",
	  EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|S 501 no|"
	  "C QUIT|X",
	  EHLO("250-DSN\r\n250 LIMITS MAILMAX=1\r\n")
	  "C MAIL FROM:<a@example.com>\r\n|S 501 no|C QUIT|X",
	  EHLO("250 DSN\r\n") "C MAIL FROM:<a@example.com> RET|" OK
	  "C RCPT TO:<r0@example.net> NOTIFY|" OK BODY "X" },
};

Test(extensions, offered_in_vain_is_remembered, .timeout = 120)
{
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT(lapse_rows); i++) {
		const struct lapse_row *row = &lapse_rows[i];
		struct run run = {
			.recipients = 1,
			.messages = 2,
			.one_each = true,
			.envelope = row->envelope,
			.body = SLICE(body),
			.in_memory = true,
			.hosts_count = 1,
		};
		struct scripted *host = &run.hosts[0];

		host->scripts[0] = row->first;
		host->scripts[1] = row->second;
		host->scripts[2] = row->third;
		run_it(&run);
		cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s",
				 row->name, run.reply);
		cr_expect_str_eq(host->wrong, "", "%s: %s", row->name,
				 host->wrong);
		text_done(&host->message);
	}
}

/* Larger than what is written at once, and every octet as it is: no dot is
 * stuffed. */
/* The size that BDAT begins with is not that of what is left. */
Test(extensions, no_bdat_where_fields_are_left_out, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.hosts_count = 1,
		.sign = ROUTE_SIGN_STRIP,
		.body = SLICE("DKIM-Signature: v=1\r\nTo: b@example.net\r\n\r\n"),
		.in_memory = true,
	};
	struct scripted *host = &run.hosts[0];

	host->scripts[0] = EHLO("250 CHUNKING\r\n") MAIL RCPT0 BODY "X";
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D");
	cr_expect_str_eq(host->wrong, "");
	cr_expect_str_eq(text_string(&host->message),
			 "Received: here\r\nTo: b@example.net\r\n\r\n"
			 ".\r\n");
	text_done(&host->message);
}

Test(extensions, bdat_of_a_large_message, .timeout = 120)
{
	CLEAN(text_done) struct text large = {0};
	struct run run = {
		.recipients = 1, .messages = 1, .hosts_count = 1,
	};
	struct scripted *host = &run.hosts[0];
	struct slice sent;

	text_add(&large, SLICE(body));
	for (int i = 0; i < 50000; i++)
		text_addf(&large, ".%d\r\n..\r\n", i);
	host->scripts[0] = EHLO("250 CHUNKING\r\n") MAIL RCPT0
		"D |S 250 2.0.0 taken|X";
	run.body = text_slice(&large);
	for (int in_memory = 0; in_memory < 2; in_memory++) {
		run.in_memory = in_memory != 0;
		run.owner = (struct owner){.returned = 0};
		run_it(&run);
		cr_expect_str_eq(run.outcomes, "D");
		cr_expect_str_eq(host->wrong, "");
		sent = text_slice(&host->message);
		cr_expect(slice_starts(sent, SLICE("Received: here\r\n")));
		cr_expect(slice_eq(slice_from(sent, strlen("Received: here"
							   "\r\n")),
				   text_slice(&large)));
		text_done(&host->message);
	}
}
