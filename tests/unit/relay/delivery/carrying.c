/* What a connection carries: one message after another, small and large. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/limits.h"
#include "tests/unit/relay/delivery/scripted.h"

static const char header[] = "From: <a@example.com>\r\n\r\n";

Test(carrying, sends_the_prefix_and_stuffs_dots, .timeout = 120)
{
	static const char *const bodies[][2] = {
		{"Subject: x\r\n\r\n.\r\n..a\r\nb.\r\n",
		 "Received: here\r\nSubject: x\r\n\r\n..\r\n...a\r\nb.\r\n"
		 ".\r\n"},
		{"", "Received: here\r\n.\r\n"},
		{"no line end", "Received: here\r\nno line end\r\n.\r\n"},
	};

	for (size_t i = 0; i < 2 * COUNT(bodies); i++) {
		struct run run = {
			.recipients = 1,
			.messages = 1,
			.body = SLICE(bodies[i / 2][0]),
			.in_memory = i % 2 == 0,
			.hosts_count = 1,
			.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY BYE}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, "D");
		cr_expect_str_eq(text_string(&run.hosts[0].message),
				 bodies[i / 2][1], "%zu", i);
		text_done(&run.hosts[0].message);
	}
}

/* The peer takes two on one connection: the third is tried again on a fresh one,
 * and nobody is deferred for it. */
Test(carrying, keeps_the_conversation_for_the_next_message, .timeout = 120)
{
	static const char *const firsts[] = {
		HELLO MAIL RCPT0 BODY MAIL RCPT0 BODY "C MAIL|S 421 enough|X",
		HELLO MAIL RCPT0 BODY MAIL RCPT0 BODY
		"C MAIL|S 452 4.5.3 too many messages|C QUIT|X",
	};

	for (size_t i = 0; i < COUNT(firsts); i++) {
		struct run run = {
			.recipients = 1,
			.messages = 3,
			.body = SLICE(header),
			.in_memory = true,
			.hosts_count = 1,
			.hosts = {{.scripts = {firsts[i],
					       HELLO MAIL RCPT0 BODY BYE}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, "DDD", "%s: %s", run.outcomes,
				 run.reply);
		cr_expect_str_eq(run.hosts[0].wrong, "");
		text_done(&run.hosts[0].message);
	}
}

/* Nor is the peer asked again and again who takes none of that sender's. */
Test(carrying, asks_once_more_and_no_more, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 3,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY
				       "C MAIL|S 451 4.7.1 later|C QUIT|X",
				       HELLO "C MAIL|S 451 4.7.1 later|"
				       "C MAIL|S 451 4.7.1 later|" BYE}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DTT", "%s", run.reply);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	text_done(&run.hosts[0].message);
}

/* The next message is not the first one's to spoil. */
Test(carrying, carries_on_after_an_odd_yes, .timeout = 120)
{
	static const char odd[] = HELLO MAIL RCPT0 "C DATA|S 354 go|B|"
				  "R 250-ok\r\nqueued as 17\r\n|";
	struct run run = {
		.recipients = 1,
		.messages = 2,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {odd, odd}},
			  {.scripts = {"S 220 never"}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DD", "%s", run.reply);
	cr_expect_eq(run.hosts_blamed, 0);
	cr_expect_eq(run.hosts[0].connections, 2);
	cr_expect_eq(run.hosts[1].connections, 0);
	text_done(&run.hosts[0].message);
}

/* A host that passes on one message may take the others: they are not deferred
 * because its fellow is down. */
Test(carrying, gives_back_what_was_not_asked_for, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 2,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {HELLO "C MAIL|S 451 4.3.0 later|X"}},
			  {.scripts = {"X"}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "TN", "%s", run.outcomes);
	cr_expect_not(run.has_failed);
}

/* Many destinations have one smarthost: it sees one client, not hundreds. */
Test(carrying, goes_on_with_what_another_destination_has_left, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 3,
		.one_each = true,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY MAIL RCPT0 BODY
				       MAIL RCPT0 BODY BYE}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DDD", "%s", run.reply);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	cr_expect_eq(run.hosts[0].connections, 1);
	cr_expect_eq(run.adopted, 2);
	cr_expect_eq(run.open, 1, "the place goes with the conversation");
	text_done(&run.hosts[0].message);
}

/* Other names of hosts, another policy, another login: another site. */
Test(carrying, keeps_nothing_for_another_site, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 2,
		.one_each = true,
		.other_site = true,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY BYE,
				       HELLO MAIL RCPT0 BODY BYE}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DD", "%s", run.reply);
	cr_expect_eq(run.adopted, 0);
	text_done(&run.hosts[0].message);
}

static void
second_needs_smtputf8(struct message *message)
{
	static unsigned messages;

	message->declared_smtputf8 = messages++ > 0;
	message->body.has_8bit = message->body.has_8bit_header =
		message->declared_smtputf8;
}

/* It began when there was no other host that seemed well; now there is one, and
 * what this one lacks is no reason to bounce. */
Test(carrying, what_was_kept_knows_of_a_host_that_is_well_again, .timeout = 120)
{
	struct run run = {
		.recipients = 1,
		.messages = 2,
		.one_each = true,
		.envelope = second_needs_smtputf8,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY BYE}},
			  {.scripts = {"S 220 mx|C EHLO|R 250-mx\r\n"
				       "250-8BITMIME\r\n250 SMTPUTF8\r\n|"
				       "C MAIL|S 250 ok|" RCPT0 BODY BYE},
			   .failed_lately = true,
			   .gets_well = true}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DD", "%s", run.reply);
	cr_expect_eq(run.adopted, 1);
	cr_expect_eq(run.hosts[1].connections, 1);
	for (size_t i = 0; i < run.hosts_count; i++) {
		cr_expect_str_eq(run.hosts[i].wrong, "", "%zu: %s", i,
				 run.hosts[i].wrong);
		text_done(&run.hosts[i].message);
	}
}

static void
expect_large_body(const char *line, const char *stuffed)
{
	CLEAN(text_done) struct text body = {0}, expected = {0};
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY BYE}}},
	};

	store_reads = store_hits = 0;
	while (body.len < 3 * MIB)
		text_add_string(&body, line);
	run.body = text_slice(&body);
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s", run.reply);
	text_add_string(&expected, "Received: here\r\n");
	for (size_t i = 0; i < body.len / strlen(line); i++)
		text_add_string(&expected, stuffed);
	text_add_string(&expected, ".\r\n");
	cr_expect(slice_eq(text_slice(&expected),
			   text_slice(&run.hosts[0].message)),
		  "%s: %zu bytes, not %zu", line, run.hosts[0].message.len,
		  expected.len);
	text_done(&run.hosts[0].message);
}

Test(carrying, streams_a_large_body_from_the_store, .timeout = 120)
{
	expect_large_body(".line with a dot\r\n", "..line with a dot\r\n");
	cr_expect_gt(store_reads, 3 * MIB / BODY_READ_MAX - 1);
	cr_expect_eq(store_hits, 0);
}

/* What the system has of it in memory is not waited for; that others have their
 * turn costs no read. */
Test(carrying, streams_a_large_body_from_a_file, .timeout = 120)
{
	static const char plain[] = "a line of a usual length, like others\r\n";

	store_file_misses = 7;
	expect_large_body(".line with a dot\r\n", "..line with a dot\r\n");
	expect_large_body(plain, plain);
	cr_expect_leq(store_reads, store_hits / 6 + 1);
	cr_expect_gt(store_reads, 0);
	cr_expect_leq(store_hits_most * BODY_READ_MAX,
		      BODY_TURN_MAX + BODY_READ_MAX);
}

/* What ends a conversation because of one message says nothing of the next. */
Test(carrying, carries_the_next_message_on_another_connection, .timeout = 120)
{
	static const struct {
		const char *name, *first, *outcomes;
	} rows[] = {
		{ "refused before its end", HELLO MAIL RCPT0
		  "C DATA|S 354 go|C Received|S 554 5.7.1 enough", "FD" },
		{ "421 to RSET", HELLO MAIL
		  "C RCPT|S 550 5.1.1 no|C RSET|S 421 too many|X", "FD" },
		{ "gone at RSET", HELLO MAIL "C RCPT|S 550 5.1.1 no|C RSET|X",
		  "FD" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct run run = {
			.recipients = 1,
			.messages = 2,
			.body = SLICE(header),
			.hosts_count = 1,
			.hosts = {{.scripts = {rows[i].first, "G |" HELLO MAIL
					       RCPT0 BODY BYE}}},
		};

		store_waits = true;
		run_it(&run);
		cr_expect_str_eq(run.outcomes, rows[i].outcomes, "%s: %s %s",
				 rows[i].name, run.outcomes, run.reply);
		cr_expect_str_eq(run.hosts[0].wrong, "", "%s: %s",
				 rows[i].name, run.hosts[0].wrong);
		text_done(&run.hosts[0].message);
	}
}

static const struct unreadable_row {
	const char *name;
	enum fault_kind kind;
	const char *outcomes, *reply;
} unreadable_rows[] = {
	{ "damaged, for good", FAULT_INPUT, "FD",
	  "the message was damaged in the queue of this relay (no body)" },
	{ "gone, for good", FAULT_ABSENT, "FD",
	  "the message was damaged in the queue of this relay (no body)" },
	{ "the disk fails, perhaps not always", FAULT_SYSTEM, "TD",
	  "trouble on this relay (no body)" },
	{ "too busy", FAULT_BUSY, "TD", "trouble on this relay (no body)" },
};

Test(carrying, a_message_that_cannot_be_read_is_not_the_hosts_fault,
     .timeout = 120)
{
	for (size_t i = 0; i < COUNT(unreadable_rows); i++) {
		const struct unreadable_row *row = &unreadable_rows[i];
		struct run run = {
			.recipients = 1,
			.messages = 2,
			.body = SLICE(header),
			.hosts_count = 1,
			.hosts = {{.scripts = {HELLO MAIL RCPT0
					       "C DATA|S 354 go",
					       HELLO MAIL RCPT0 BODY BYE}}},
		};

		store_failures = 1;
		store_failure = row->kind;
		run_it(&run);
		cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s %s",
				 row->name, run.outcomes, run.reply);
		cr_expect_str_eq(run.first_reply, row->reply, "%s: %s",
				 row->name, run.first_reply);
		cr_expect_not(run.has_failed);
		text_done(&run.hosts[0].message);
	}
}

/* --- a message of several transactions --- */

#define ONE_EACH "S 220 mx|C EHLO|R 250-mx\r\n250 LIMITS RCPTMAX=1\r\n|"

static const struct between_row {
	const char *name;
	bool stops, reloads, is_rated;
	const char *last; /* what the host says to the first message */
	const char *outcomes;
} between_rows[] = {
	{ "a stop", true, false, false, "N |S 250 ok|", "DN" },
	{ "a stop, and the host refuses for now", true, false, false,
	  "N |S 450 later|", "TN" },
	/* The policy may be another now. */
	{ "a reload", false, true, false, "N |S 250 ok|", "DN" },
	{ "the next one has to wait for its turn", false, false, true,
	  "S 250 ok|", "DN" },
};

Test(carrying, goes_no_further_than_a_transaction, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(between_rows); i++) {
		const struct between_row *row = &between_rows[i];
		char script[512];
		struct run run = {
			.recipients = 2,
			.messages = 1,
			.stops_at_n = row->stops,
			.reloads = row->reloads,
			.is_rated = row->is_rated,
			.body = SLICE(header),
			.in_memory = true,
			.hosts_count = 1,
			.hosts = {{.scripts = {script}}},
		};

		snprintf(script, sizeof(script), "%s%s%s",
			 ONE_EACH MAIL RCPT0 "C DATA|S 354 go|B|", row->last,
			 BYE);
		run_it(&run);
		cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s %s",
				 row->name, run.outcomes, run.reply);
		cr_expect_str_eq(run.hosts[0].wrong, "", "%s: %s", row->name,
				 run.hosts[0].wrong);
		cr_expect_not(run.has_failed);
		cr_expect_eq(run.left_open, 0);
		text_done(&run.hosts[0].message);
	}
}

Test(carrying, puts_a_message_of_many_transactions_down, .timeout = 120)
{
	CLEAN(text_done) struct text script = {0};
	struct run run = {
		.recipients = ATTEMPT_TRANSACTIONS_MAX + 2,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
	};

	text_add_string(&script, ONE_EACH);
	for (unsigned i = 0; i < ATTEMPT_TRANSACTIONS_MAX; i++)
		text_addf(&script, MAIL "C RCPT TO:<r%u@|S 250 ok|" BODY, i);
	text_add_string(&script, BYE);
	run.hosts[0].scripts[0] = text_string(&script);
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DDDDDDDDDDNN", "%s", run.outcomes);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	text_done(&run.hosts[0].message);
}

/* The host says no more, but the conversation ends. */
static const struct break_off_row {
	const char *name;
	const char *script;
	const char *outcomes, *reply; /* the first recipient's */
} break_off_rows[] = {
	{ "in the second, behind its last octet",
	  ONE_EACH MAIL RCPT0 BODY MAIL RCPT1 "S 250 ok|C DATA|S 354 go|B|N ",
	  "DTN", "250 2.0.0 taken" },
	{ "in the second, before", ONE_EACH MAIL RCPT0 BODY MAIL RCPT1 "N ",
	  "DNN", "250 2.0.0 taken" },
	{ "in the first, of which some are refused", HELLO MAIL
	  "C RCPT|S 550 5.1.1 no|" RCPT1 "N ", "FNN", "550 5.1.1 no" },
	/* As if it had not been tried: it may have any end. */
	{ "in the first", ONE_EACH MAIL RCPT0 "N |S 421 4.3.2 enough|X", "NNN",
	  "" },
	{ "in the first, behind its last octet", ONE_EACH MAIL RCPT0
	  "C DATA|S 354 go|B|N |S 250 ok|" BYE, "DNN", "250 ok" },
};

Test(carrying, gives_back_its_results_where_no_time_is_left, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(break_off_rows); i++) {
		const struct break_off_row *row = &break_off_rows[i];
		struct run run = {
			.recipients = 3,
			.messages = 1,
			.stops_at_n = true,
			.breaks_off = true,
			.body = SLICE(header),
			.in_memory = true,
			.hosts_count = 1,
			.hosts = {{.scripts = {row->script}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s %s",
				 row->name, run.outcomes, run.reply);
		cr_expect_str_eq(run.reply, row->reply, "%s: %s", row->name,
				 run.reply);
		cr_expect_str_eq(run.hosts[0].wrong, "", "%s: %s", row->name,
				 run.hosts[0].wrong);
		cr_expect_eq(run.left_open, 0, "%s", row->name);
		text_done(&run.hosts[0].message);
	}
}
