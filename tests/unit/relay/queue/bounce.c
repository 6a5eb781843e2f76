#include <criterion/criterion.h>

#include <stdlib.h>

#include "relay/queue/bounce.h"
#include "tests/unit/relay/queue/queue.h"

static const struct bounce_options options = {
	.hostname = SLICE_LITERAL("relay.example.com"),
	.now_ms = 1700000000000,
};

/* One refused, one delivered, one expired. */
static struct delivery *
delivery_make(const char *from)
{
	struct message *message = message_make(
		from, "a@x.example b@x.example c@x.example", 100);
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct delivery_recipient *states;

	delivery->message = message;
	delivery->destination = SLICE("x.example");
	delivery->last_attempt_ms = options.now_ms;
	delivery->recipients_count = 3;
	states = arena_array(&delivery->arena, 3, sizeof(*states));
	delivery->recipients = states;
	states[0] = (struct delivery_recipient){
		.index = 0,
		.reply = SLICE("550 5.1.1 no such user \xc3\xa9\r\nX: y"),
		.status = SLICE("5.1.1"),
		.mx = SLICE("mx.example.net"),
		.outcome = OUTCOME_FAILED,
	};
	states[1] = (struct delivery_recipient){
		.index = 1, .outcome = OUTCOME_DELIVERED};
	states[2] = (struct delivery_recipient){
		.index = 2,
		.reply = SLICE("cannot connect: 192.0.2.1:25: refused"),
		.status = SLICE("4.4.7"),
		.outcome = OUTCOME_FAILED,
	};
	return delivery;
}

static struct text
bytes_of(const struct message *report)
{
	struct text bytes = {0};

	for (size_t i = 0; i < report->body.chunks_count; i++)
		text_add(&bytes, report->body.chunks[i]);
	return bytes;
}

static const struct said_row {
	const char *text;
	bool is_there;
} said_rows[] = {
	{"From: Mail Delivery System <MAILER-DAEMON@relay.example.com>\r\n",
	 true},
	{"To: <from@example.org>\r\n", true},
	{"Auto-Submitted: auto-replied\r\n", true},
	{"MIME-Version: 1.0\r\n", true},
	{"Content-Type: multipart/report; report-type=delivery-status;", true},
	{"\r\nReporting-MTA: dns; relay.example.com\r\n", true},
	{"\r\n\r\nFinal-Recipient: rfc822; a@x.example\r\n"
	 "Action: failed\r\nStatus: 5.1.1\r\n"
	 "Remote-MTA: dns; mx.example.net\r\n"
	 "Diagnostic-Code: smtp; 550 5.1.1 no such user ??? X: y\r\n",
	 true},
	{"\r\n\r\nFinal-Recipient: rfc822; c@x.example\r\n"
	 "Action: failed\r\nStatus: 4.4.7\r\n"
	 "Diagnostic-Code: x-signet; cannot connect: 192.0.2.1:25: refused\r\n",
	 true},
	{"b@x.example", false},
	{"\r\nX: y", false},
	{"Content-Type: text/rfc822-headers\r\n", true},
	{"\r\nSubject: the original one\r\n", true},
	{"not in the header", false},
	{"8bit", false},
};

Test(bounce, says_what_is_needed)
{
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_make("from@example.org");
	CLEAN(message_unref_clean) struct message *report = bounce_make(
		delivery,
		SLICE("Subject: the original one\r\n\r\nnot in the header"),
		&options);
	CLEAN(text_done) struct text bytes = bytes_of(report);

	for (size_t i = 0; i < COUNT(said_rows); i++)
		cr_expect_eq(strstr(text_string(&bytes), said_rows[i].text) !=
				     NULL,
			     said_rows[i].is_there, "'%s' in\n%s",
			     said_rows[i].text, text_string(&bytes));
	cr_expect_eq(bytes.len, report->body.size);
	cr_expect_eq(memcmp(bytes.bytes + report->body.header_len - 4,
			    "\r\n\r\n", 4),
		     0);
	cr_expect_eq(report->reverse_path.len, 0);
	cr_expect(report->is_report);
	cr_assert_eq(report->recipients_count, 1);
	cr_expect(slice_eq(report->recipients[0].address,
			   SLICE("from@example.org")));
	cr_expect(slice_eq(report->recipients[0].destination,
			   SLICE("example.org")));
}

/* Only CRLF ends a line, and none is longer than it may be. */
Test(bounce, lines_are_well_formed)
{
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_make("from@example.org");
	CLEAN(text_done) struct text header = {0};
	struct message *report;
	size_t line = 0, longest = 0, bare = 0;

	text_add_string(&header, "Subject: ");
	for (int i = 0; i < 5000; i++)
		text_add_byte(&header, (char)0xe9);
	text_add_string(&header, "\r\nTo: a@x.example\r\n\r\n");
	report = bounce_make(delivery, text_slice(&header), &options);
	CLEAN(text_done) struct text bytes = bytes_of(report);
	for (size_t i = 0; i < bytes.len; i++) {
		bool is_cr = bytes.bytes[i] == '\r';

		if (bytes.bytes[i] == '\n')
			bare += i == 0 || bytes.bytes[i - 1] != '\r';
		if (is_cr)
			bare += bytes.bytes[i + 1] != '\n';
		line = bytes.bytes[i] == '\n' ? 0 : line + !is_cr;
		longest = line > longest ? line : longest;
	}
	cr_expect_eq(bare, 0);
	cr_expect_leq(longest, 998);
	cr_expect(report->body.has_8bit);
	cr_expect(report->declared_8bit);
	cr_expect_neq(strstr(text_string(&bytes),
			     "Content-Transfer-Encoding: 8bit\r\n"),
		      NULL);
	message_unref(report);
}

static const struct reader_row {
	const char *from;
	bool is_report, has_reader;
	const char *destination; /* NULL: nowhere to send it */
} reader_rows[] = {
	{"from@example.org", false, true, "example.org"},
	{"from@EXAMPLE.Org", false, true, "example.org"},
	{"from@b\xc3\xbc" "cher.example", false, true,
	 "xn--bcher-kva.example"},
	{"from@[192.0.2.1]", false, true, "[192.0.2.1]"},
	{"nobody", false, true, NULL},
	{"from@", false, true, NULL},
	{"from@example.org", true, false, NULL},
	{"", false, false, NULL},
};

Test(bounce, who_is_told)
{
	for (size_t i = 0; i < COUNT(reader_rows); i++) {
		const struct reader_row *row = &reader_rows[i];
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make(row->from);
		struct message *report;

		delivery->message->is_report = row->is_report;
		cr_expect_eq(bounce_has_reader(delivery->message),
			     row->has_reader, "%s", row->from);
		if (!row->has_reader)
			continue;
		report = bounce_make(delivery, SLICE_NONE, &options);
		cr_expect_eq(report->recipients_count,
			     row->destination != NULL, "%s", row->from);
		if (report->recipients_count > 0)
			cr_expect(slice_eq(report->recipients[0].destination,
					   SLICE(row->destination)),
				  "%s", row->from);
		message_unref(report);
	}
}
