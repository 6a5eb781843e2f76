/* What a connection makes of 8-bit messages for hosts without 8BITMIME. */
#include <criterion/criterion.h>

#include "tests/unit/relay/delivery/scripted.h"

static const char header[] = "From: <a@example.com>\r\n\r\n";

#define HELLO_8BIT "S 220 mx|C EHLO|R 250-mx\r\n250 8BITMIME\r\n|"
#define MAIL_8BIT "C MAIL FROM:<a@example.com> BODY=8BITMIME|S 250 ok|"

static const struct convert_row {
	const char *name;
	enum without_8bitmime policy;
	const char *host0[SCRIPTS_MAX], *host1;
	unsigned messages;
	bool waits;         /* until a host's G */
	enum outcome_trouble fails;
	const char *outcomes, *status, *reply;
	unsigned conversions, changes;
	const char *sent; /* to the first host */
} convert_rows[] = {
	{ "not where it is offered", WITHOUT_8BITMIME_CONVERT,
	  {HELLO_8BIT MAIL_8BIT RCPT0 BODY "X"}, NULL, 1, false, 0, "D", NULL,
	  NULL, 0, 0, "Received: here\r\n" },
	{ "converted", WITHOUT_8BITMIME_CONVERT, {HELLO MAIL RCPT0 BODY "X"},
	  NULL, 1, false, 0, "D", NULL, NULL, 1, 1, "Received: again\r\n" },
	{ "bounced", WITHOUT_8BITMIME_BOUNCE, {HELLO BYE}, NULL, 1, false, 0,
	  "F", "5.6.3",
	  "the message is 8-bit and the peer does not offer 8BITMIME", 0, 0,
	  "" },
	{ "sent", WITHOUT_8BITMIME_SEND, {HELLO MAIL RCPT0 BODY "X"}, NULL, 1,
	  false, 0, "D", NULL, NULL, 0, 0, "Received: here\r\n" },
	{ "each for itself, on one connection", WITHOUT_8BITMIME_CONVERT,
	  {HELLO MAIL RCPT0 BODY MAIL RCPT0 BODY "X"}, NULL, 2, false, 0, "DD",
	  NULL, NULL, 2, 2, "Received: again\r\n" },
	{ "it cannot be converted", WITHOUT_8BITMIME_CONVERT, {HELLO BYE},
	  NULL, 2, false, TROUBLE_NO_8BITMIME, "FF", "5.6.3",
	  "the message is 8-bit and the peer does not offer 8BITMIME; so it "
	  "is", 0, 0, "" },
	{ "the next host need not have it converted", WITHOUT_8BITMIME_CONVERT,
	  {HELLO}, HELLO_8BIT MAIL_8BIT RCPT0 BODY "X", 1, false,
	  TROUBLE_NO_8BITMIME, "D", NULL, NULL, 0, 0, "" },
	{ "nor bounced", WITHOUT_8BITMIME_BOUNCE, {HELLO BYE},
	  HELLO_8BIT MAIL_8BIT RCPT0 BODY MAIL_8BIT RCPT0 BODY "X", 2, false, 0,
	  "DD", NULL, NULL, 0, 0, "" },
	{ "no host has it", WITHOUT_8BITMIME_CONVERT, {HELLO}, HELLO BYE,
	  1, false, TROUBLE_NO_8BITMIME, "F", "5.6.3", NULL, 0, 0, "" },
	{ "it cannot be converted, and the next host is down",
	  WITHOUT_8BITMIME_CONVERT, {HELLO, HELLO BYE}, "X", 1, false,
	  TROUBLE_NO_8BITMIME, "F", "5.6.3",
	  "the message is 8-bit and the peer does not offer 8BITMIME; so it "
	  "is", 0, 0, "" },
	{ "it cannot be signed", WITHOUT_8BITMIME_CONVERT, {HELLO BYE}, NULL,
	  1, false, TROUBLE_UNSIGNED, "T", "4.7.5",
	  "the message could not be signed again; so it is", 0, 0, "" },
	{ "again for the next host", WITHOUT_8BITMIME_CONVERT,
	  {HELLO "C MAIL|S 421 bye|X"}, HELLO MAIL RCPT0 BODY "X", 1, false, 0,
	  "D", NULL, NULL, 2, 1, "" },
	{ "but not where that offers it", WITHOUT_8BITMIME_CONVERT,
	  {HELLO "C MAIL|S 421 bye|X"}, HELLO_8BIT MAIL_8BIT RCPT0 BODY "X", 1,
	  false, 0, "D", NULL, NULL, 1, 0, "" },
	{ "gone meanwhile", WITHOUT_8BITMIME_CONVERT, {HELLO "X", HELLO "X"},
	  HELLO "G |" MAIL RCPT0 BODY "X", 1, true, 0, "D", NULL, NULL, 1, 1,
	  "" },
	/* Which may come before the conversion has begun. */
	{ "421 meanwhile", WITHOUT_8BITMIME_CONVERT,
	  {HELLO "S 421 slow|X", HELLO "S 421 slow|X"},
	  HELLO "G |" MAIL RCPT0 BODY "X", 1, true, 0, "D", NULL, NULL, 1, 1,
	  "" },
	{ "SIZE counts what is sent", WITHOUT_8BITMIME_CONVERT,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 1000\r\n|" BYE}, NULL, 1,
	  false, 0, "F", "5.3.4", NULL, 1, 0, "" },
};

static void
convert_row_run(const struct convert_row *row)
{
	struct run run = {
		.recipients = 1,
		.messages = row->messages,
		.body = SLICE(header),
		.in_memory = true,
		.is_8bit = true,
		.without_8bitmime = row->policy,
		.hosts_count = row->host1 != NULL ? 2 : 1,
	};

	for (size_t i = 0; i < SCRIPTS_MAX; i++)
		run.hosts[0].scripts[i] = row->host0[i];
	run.hosts[1].scripts[0] = row->host1;
	conversions = 0;
	conversion_fails = row->fails;
	conversion_padding = slice_starts(SLICE(row->name), SLICE("SIZE"))
				     ? 2000
				     : 0;
	store_waits = row->waits;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s, %s", row->name,
			 run.outcomes, run.reply);
	if (row->status != NULL)
		cr_expect_str_eq(run.status, row->status, "%s: %s", row->name,
				 run.status);
	if (row->reply != NULL)
		cr_expect_str_eq(run.reply, row->reply, "%s: '%s'", row->name,
				 run.reply);
	cr_expect_eq(conversions, row->conversions, "%s: %u conversions",
		     row->name, conversions);
	cr_expect_eq(run.changes, row->changes, "%s: %u say so", row->name,
		     run.changes);
	cr_expect(slice_starts(text_slice(&run.hosts[0].message),
			       SLICE(row->sent)),
		  "%s: %s", row->name, text_string(&run.hosts[0].message));
	for (size_t i = 0; i < run.hosts_count; i++) {
		cr_expect_str_eq(run.hosts[i].wrong, "", "%s: host %zu: %s",
				 row->name, i, run.hosts[i].wrong);
		text_done(&run.hosts[i].message);
	}
}

Test(without_8bitmime, converts_for_hosts_without_8bitmime, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(convert_rows); i++)
		convert_row_run(&convert_rows[i]);
}

/* It waits for us: who hangs up meanwhile is asked once more. */
Test(without_8bitmime, blames_no_host_for_a_slow_conversion, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.is_8bit = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO "X",
				       HELLO "G |" MAIL RCPT0 BODY "X"}}},
	};

	conversion_fails = TROUBLE_NO_NAME;
	store_waits = true;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s: %s", run.outcomes, run.reply);
	cr_expect_eq(run.hosts[0].connections, 2);
	cr_expect_eq(run.hosts_blamed, 0);
	text_done(&run.hosts[0].message);
}
