/* What a connection knows of its hosts, and of the way there. */
#include <criterion/criterion.h>

#include "tests/unit/relay/delivery/scripted.h"

static const char header[] = "From: <a@example.com>\r\n\r\n";

/* Each of many messages does not wait for one that was found to be down. */
Test(connection_host, passes_nothing_to_a_host_that_failed_lately, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 2,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {HELLO "C MAIL|S 451 4.3.0 later|"
				       "C MAIL|S 451 4.3.0 later|" BYE}},
			  {.scripts = {"S 220 never"}, .failed_lately = true}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "TT", "%s", run.outcomes);
	cr_expect_str_eq(run.reply, "451 4.3.0 later");
	cr_expect_str_empty(run.hosts[0].wrong, "%s", run.hosts[0].wrong);
	cr_expect_eq(run.hosts[1].connections, 0);
}

/* Another destination found it silent, or the same one, before it was forgotten:
 * it is waited for once, and not once for each message. */
Test(connection_host, asks_who_was_silent_last, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.is_ranked = true,
		.hosts = {{.scripts = {"X"}, .was_silent = true},
			  {.scripts = {HELLO MAIL RCPT0 BODY "X"}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s", run.reply);
	cr_expect_eq(run.hosts[0].connections, 0);
	cr_expect_eq(run.hosts_silent, 1);
	text_done(&run.hosts[1].message);
}

Test(connection_host, believes_who_answers_again, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.is_ranked = true,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY "X"},
			   .was_silent = true},
			  {.scripts = {"X"}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s", run.reply);
	cr_expect_eq(run.hosts[1].connections, 1);
	cr_expect_eq(run.hosts_silent, 0);
	text_done(&run.hosts[0].message);
}

/* And who says something, be it no, is not: that costs no time. */
Test(connection_host, notes_who_is_silent, .timeout = 120)
{
	static const struct {
		const char *script;
		size_t silent;
	} rows[] = {{"C nothing", 1}, {"S 554 no|C QUIT|X", 0}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct run run = {
			.recipients = 1,
			.messages = 1,
			.body = SLICE(header),
			.in_memory = true,
			.hosts_count = 1,
			.deadline_ms = i == 0 ? 1 : MINUTE,
			.hosts = {{.scripts = {rows[i].script}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, "T", "%s", run.reply);
		cr_expect_eq(run.hosts_silent, rows[i].silent, "%s",
			     run.reply);
	}
}

/* Also where the route says where from. */
static void
run_without_files(struct address *source, const char *trouble)
{
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {"S 220 never"}},
			  {.scripts = {"S 220 never"}}},
		.lacks_files = true,
		.source = source,
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "N", "back as it was: %s", run.outcomes);
	cr_expect_str_eq(run.local_trouble, trouble);
	cr_expect_eq(run.hosts_blamed, 0);
	cr_expect_not(run.has_failed);
	cr_expect_eq(run.open, 0);
}

Test(connection_host, blames_no_host_for_want_of_files, .timeout = 120)
{
	struct address source;

	cr_assert(address_parse_host(SLICE("127.0.0.1"), 0, &source));
	run_without_files(NULL, "trouble on this relay (connect: too many open "
				"files)");
	run_without_files(&source, "trouble on this relay (bind 127.0.0.1: too "
				   "many open files)");
}

/* Another host, of the other family, may be one for which there is an address:
 * what this machine does not have now is tried like a host that is down. */
Test(connection_host, goes_on_without_an_address_to_come_from, .timeout = 120)
{
	struct address source;
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {"S 220 never"}},
			  {.scripts = {"S 220 never"}}},
		.source = &source,
	};

	cr_assert(address_parse_host(SLICE("192.0.2.77"), 0, &source));
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "T");
	cr_expect_str_eq(run.reply, "cannot connect (bind 192.0.2.77: this "
				    "machine does not have that address now)");
	cr_expect_eq(run.hosts_blamed, 2);
	cr_expect_eq(run.open, 0);
}

static const char *const aways[] = {
	HELLO "C MAIL|S 421 4.7.1 go away|X",
	HELLO MAIL "C RCPT|S 421 4.7.1 go away|X",
	HELLO MAIL RCPT0 "C DATA|S 421 4.7.1 go away|X",
	HELLO MAIL RCPT0 "C DATA|S 354 go|B|S 421 4.7.28 too many|X",
};

/* To one sender, recipient or message, or to us: the second tells. */
Test(connection_host, a_second_421_is_the_hosts, .timeout = 120)
{
	for (size_t i = 0; i < 2 * COUNT(aways); i++) {
		const char *away = aways[i / 2];
		struct run run = {
			.recipients = 1,
			.messages = 2,
			.one_each = true,
			.body = SLICE(header),
			.in_memory = true,
			.hosts_count = 1 + i % 2,
			.hosts = {{.scripts = {away, away}},
				  {.scripts = {away, away}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, "TT", "%zu: %s", i, run.reply);
		cr_expect(run.has_failed, "%zu", i);
		cr_expect_eq(run.hosts_blamed, run.hosts_count, "%zu: %zu", i,
			     run.hosts_blamed);
		for (size_t j = 0; j < run.hosts_count; j++) {
			cr_expect_str_eq(run.hosts[j].wrong, "", "%zu", i);
			text_done(&run.hosts[j].message);
		}
	}
}

static void
expect_it_is_forgotten(const char *away, bool is_amid_body)
{
	struct run run = {
		.recipients = 1,
		.messages = 3,
		.one_each = true,
		.body = SLICE(header),
		.in_memory = !is_amid_body,
		.hosts_count = 1,
		.other_site = true,
		.hosts = {{.scripts = {away, "G |" HELLO MAIL RCPT0 BODY BYE,
				       away}}},
	};

	store_waits = is_amid_body;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "TDT", "%s: %s", away, run.reply);
	cr_expect_not(run.has_failed, "%s", away);
	cr_expect_eq(run.hosts_blamed, 0, "%s", away);
	cr_expect_str_eq(run.hosts[0].wrong, "", "%s", away);
	text_done(&run.hosts[0].message);
}

Test(connection_host, a_421_is_forgotten_with_a_message_taken, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(aways); i++)
		expect_it_is_forgotten(aways[i], false);
	expect_it_is_forgotten(HELLO MAIL RCPT0 "C DATA|S 354 go|C Received|"
					       "S 421 4.7.1 enough", true);
}
