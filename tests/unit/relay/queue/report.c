#include <criterion/criterion.h>

#include <stdlib.h>

#include "relay/queue/report.h"
#include "tests/unit/relay/queue/queue.h"

#define NOW_MS 1700000000000u
#define EXPIRES_MS (NOW_MS + 86400000u)

/* One refused, one delivered, one given up; all that a row may change. */
struct given {
	const char *from;
	const char *first; /* the first recipient's address; NULL: a@x.example */
	const char *orcpt, *envid;
	const char *original;
	size_t header_len; /* 0: all of it */
	bool is_whole, declared_smtputf8;
	const char *copy_to;
	unsigned notify; /* of the first recipient */
	enum notice notices[3];
};

static const struct given usual = {
	.from = "from@example.org",
	.original = "Subject: the original one\r\n\r\n",
	.notices = {NOTICE_FAILED, NOTICE_NONE, NOTICE_FAILED},
};

static void
states_fill(struct delivery *delivery)
{
	struct delivery_recipient *states =
		arena_array(&delivery->arena, 3, sizeof(*states));

	states[0] = (struct delivery_recipient){
		.index = 0,
		.reply = SLICE("550 5.1.1 no such user \xc3\xa9\r\nX: y"),
		.status = SLICE("5.1.1"),
		.mx = SLICE("mx.example.net"),
		.outcome = OUTCOME_FAILED,
	};
	states[1] = (struct delivery_recipient){
		.index = 1,
		.reply = SLICE("250 2.6.0 taken"),
		.status = SLICE("2.6.0"),
		.mx = SLICE("mx.example.net"),
		.outcome = OUTCOME_DELIVERED,
	};
	states[2] = (struct delivery_recipient){
		.index = 2,
		.reply = SLICE("4.4.1 cannot connect: 192.0.2.1:25: refused"),
		.status = SLICE("4.4.7"),
		.outcome = OUTCOME_FAILED,
	};
	delivery->recipients = states;
	delivery->recipients_count = 3;
}

static struct delivery *
delivery_make(const struct given *given)
{
	struct message *message = message_make(
		given->from, "a@x.example b@x.example c@x.example", 0);
	struct delivery *delivery = memory_new(sizeof(*delivery));

	delivery->message = message;
	delivery->destination = SLICE("x.example");
	delivery->last_attempt_ms = NOW_MS;
	message->received_ms = MINUTE; /* of a clock that was set since */
	message->declared_smtputf8 = given->declared_smtputf8;
	message->envid = SLICE(given->envid);
	message->prefix = SLICE("DKIM-Signature: v=1; ours\r\n"
				"Received: from client.example.org "
				"([192.0.2.7])\r\n\tby relay.example.com; x\r\n"
				"Message-ID: <ours@relay.example.com>\r\n");
	message->body.size = strlen(given->original);
	message->body.header_len = given->header_len != 0 ? given->header_len
							  : message->body.size;
	if (given->first != NULL)
		message->recipients[0].address = SLICE(given->first);
	message->recipients[0].orcpt = SLICE(given->orcpt);
	message->recipients[0].notify = given->notify;
	states_fill(delivery);
	return delivery;
}

static struct message *
make(const struct delivery *delivery, const struct given *given)
{
	return report_make(&(struct report_setup){
		.delivery = delivery,
		.notices = given->notices,
		.original = SLICE(given->original),
		.is_whole = given->is_whole,
		.hostname = SLICE("relay.example.com"),
		.copy_to = SLICE(given->copy_to),
		.now_ms = NOW_MS,
		.expires_ms = EXPIRES_MS,
		.age_ms = 5 * DAY,
		.attempt_ms = delivery->last_attempt_ms,
	});
}

static struct text
bytes_of(const struct message *report)
{
	struct text bytes = {0};

	for (size_t i = 0; i < report->body.chunks_count; i++)
		text_add(&bytes, report->body.chunks[i]);
	cr_expect_eq(bytes.len, report->body.size);
	return bytes;
}

static void
expect(const char *name, struct text *bytes, const char *words, bool is_there)
{
	cr_expect_eq(strstr(text_string(bytes), words) != NULL, is_there,
		     "%s: '%s' is%s in\n%s", name, words,
		     is_there ? " not" : "", text_string(bytes));
}

/* --- what it says --- */

#define SAID_MAX 12
static const struct said_row {
	const char *name;
	struct given given;
	const char *said[SAID_MAX], *not_said[SAID_MAX];
} said_rows[] = {
	{"a failure",
	 {.from = "from@example.org",
	  .original = "Subject: the original one\r\n\r\nthe body\r\n",
	  .header_len = 29,
	  .notices = {NOTICE_FAILED, NOTICE_NONE, NOTICE_FAILED}},
	 {"From: Mail Delivery System <MAILER-DAEMON@relay.example.com>\r\n"
	  "To: <from@example.org>\r\n"
	  "Subject: Your message could not be delivered\r\n",
	  "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	  "Content-Type: multipart/report; report-type=delivery-status;",
	  "charset=us-ascii",
	  "The mail server mx.example.net answered:",
	  "Check how the address is written",
	  "It was tried for 5 days",
	  "\r\nReporting-MTA: dns; relay.example.com\r\n"
	  "Received-From-MTA: dns; client.example.org ([192.0.2.7])\r\n"
	  "Arrival-Date: ",
	  "\r\n\r\nFinal-Recipient: rfc822; a@x.example\r\n"
	  "Action: failed\r\nStatus: 5.1.1\r\n"
	  "Remote-MTA: dns; mx.example.net\r\n"
	  "Diagnostic-Code: smtp; 550 5.1.1 no such user ??? X: y\r\n"
	  "Last-Attempt-Date: ",
	  "\r\n\r\nFinal-Recipient: rfc822; c@x.example\r\n"
	  "Action: failed\r\nStatus: 4.4.7\r\n"
	  "Diagnostic-Code: x-signet; 4.4.1 cannot connect: 192.0.2.1:25: "
	  "refused\r\n",
	  "Content-Type: text/rfc822-headers\r\n\r\nReceived: from "
	  "client.example.org",
	  "Message-ID: <ours@relay.example.com>\r\n"
	  "Subject: the original one\r\n\r\n--=_"},
	 {"b@x.example", "\r\nX: y", "the body", "8bit", "DKIM-Signature",
	  "Original-", "Will-Retry-Until", "message/rfc822"}},
	{"the whole message",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\nthe body\r\n",
	  .header_len = 14,
	  .is_whole = true,
	  .notices = {NOTICE_FAILED}},
	 {"Content-Type: message/rfc822\r\n\r\nReceived: ",
	  "Subject: s\r\n\r\nthe body\r\n\r\n--=_"},
	 {"text/rfc822-headers", "8bit", "c@x.example"}},
	{"a delay",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\n",
	  .notices = {NOTICE_NONE, NOTICE_NONE, NOTICE_DELAYED}},
	 {"Subject: Your message is delayed\r\n",
	  "\r\nAuto-Submitted: auto-generated\r\n",
	  "You need not do anything", "Should it fail, you will be told.",
	  "Action: delayed\r\nStatus: 4.4.7\r\n",
	  "\r\nWill-Retry-Until: "},
	 {"a@x.example", "could not be delivered", "It was tried for"}},
	{"a delay, and no failure is to be told",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\n",
	  .notify = NOTIFY_SUCCESS | NOTIFY_DELAY,
	  .notices = {NOTICE_DELAYED}},
	 {"You need not do anything"},
	 {"you will be told"}},
	{"passed on",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\n",
	  .notices = {NOTICE_NONE, NOTICE_RELAYED, NOTICE_NONE}},
	 {"Subject: Your message was passed on\r\n",
	  "Final-Recipient: rfc822; b@x.example\r\nAction: relayed\r\n"
	  "Status: 2.6.0\r\n"
	  "Remote-MTA: dns; mx.example.net\r\n"
	  "Diagnostic-Code: smtp; 250 2.6.0 taken\r\n"},
	 {"a@x.example", "c@x.example", "could not be", "Will-Retry-Until"}},
	{"all at once",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\n",
	  .notices = {NOTICE_FAILED, NOTICE_RELAYED, NOTICE_DELAYED}},
	 {"Subject: Your message could not be delivered\r\n",
	  "Action: failed\r\n", "Action: relayed\r\n", "Action: delayed\r\n"},
	 {NULL}},
	{"a copy",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\n",
	  .copy_to = "postmaster@example.com",
	  .notices = {NOTICE_FAILED}},
	 {"To: <postmaster@example.com>\r\n"
	  "Subject: Undeliverable mail: copy for the postmaster\r\n",
	  "A message from <from@example.org>\r\n"},
	 {"Your message"}},
	{"a copy of what nobody sent",
	 {.from = "",
	  .original = "Subject: s\r\n\r\n",
	  .copy_to = "postmaster@example.com",
	  .notices = {NOTICE_FAILED}},
	 {"A message from <>\r\n"},
	 {NULL}},
	{"parameters as the sender gave them",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\n",
	  .envid = "QQ+2B1+0D+0AX: y+ZZ",
	  .orcpt = "rfc822;A+2Bb+3D@x.example+0D+0AX: y",
	  .notices = {NOTICE_FAILED}},
	 {"\r\nOriginal-Envelope-Id: QQ+1? X: y+ZZ\r\nReporting-MTA: ",
	  "\r\n\r\nOriginal-Recipient: rfc822; A+b=@x.example? X: y\r\n"
	  "Final-Recipient: "},
	 {"\r\nX: y"}},
	{"a recipient beyond ASCII, an ASCII sender",
	 {.from = "from@example.org",
	  .first = "b\xc3\xbc" "cher+\\\xe4\xb8\xad@x.example",
	  .orcpt = "utf-8;b\\x{FC}cher@x.example",
	  .original = "Subject: \xc3\xbc\r\nTo: b=c\r\n\r\n",
	  .declared_smtputf8 = true,
	  .notices = {NOTICE_FAILED}},
	 {"report-type=delivery-status;",
	  "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
	  "<b=C3=BCcher+\\=E4=B8=AD@x.example>",
	  "Content-Type: message/delivery-status\r\n\r\n",
	  "Original-Recipient: utf-8; b\\x{FC}cher@x.example\r\n"
	  "Final-Recipient: utf-8; b\\x{FC}cher\\x{2B}\\x{5C}\\x{4E2D}"
	  "@x.example\r\n",
	  "Content-Type: message/global-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
	  "Subject: =C3=BC\r\nTo: b=3Dc\r\n"},
	 {"\xc3", "8bit", "b??cher"}},
	{"the whole of it",
	 {.from = "from@example.org",
	  .original = "Subject: \xc3\xbc\r\n\r\nb\xc3\xb6" "dy\r\n",
	  .header_len = 15,
	  .is_whole = true,
	  .declared_smtputf8 = true,
	  .notices = {NOTICE_FAILED}},
	 {"Content-Type: message/global\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
	  "Subject: =C3=BC\r\n\r\nb=C3=B6dy\r\n"},
	 {"\xc3", "8bit"}},
	{"a sender beyond ASCII",
	 {.from = "\xc3\xbc@example.org",
	  .first = "b\xc3\xbc" "cher=@x.example",
	  .original = "Subject: \xc3\xbc\r\n\r\n",
	  .declared_smtputf8 = true,
	  .notices = {NOTICE_FAILED}},
	 {"To: <\xc3\xbc@example.org>\r\n",
	  "report-type=global-delivery-status;",
	  "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
	  "Content-Type: message/global-delivery-status\r\n"
	  "Content-Transfer-Encoding: 8bit\r\n",
	  "Final-Recipient: utf-8; b\xc3\xbc" "cher\\x{3D}@x.example\r\n",
	  "Content-Type: message/global-headers\r\n"
	  "Content-Transfer-Encoding: 8bit\r\n\r\n"},
	 {"quoted-printable"}},
	{"8-bit text in a header that nobody announced",
	 {.from = "from@example.org",
	  .original = "Subject: \xfc\r\n\r\nbody\r\n",
	  .header_len = 14,
	  .is_whole = true,
	  .notices = {NOTICE_FAILED}},
	 {"Content-Type: text/rfc822-headers\r\n"
	  "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
	  "Subject: =FC\r\n"},
	 {"\xfc", "8bit", "body\r\n", "message/rfc822"}},
	{"an 8-bit body",
	 {.from = "from@example.org",
	  .original = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
		      "Content-Transfer-Encoding: 8bit\r\n\r\nb\xfc\r\n",
	  .header_len = 79,
	  .is_whole = true,
	  .notices = {NOTICE_FAILED}},
	 {"Content-Type: message/rfc822\r\n"
	  "Content-Transfer-Encoding: 8bit\r\n\r\n",
	  "b\xfc\r\n"},
	 {"quoted-printable"}},
	{"an 8-bit body that somebody has signed",
	 {.from = "from@example.org",
	  .original = "DKIM-Signature: v=1; theirs\r\nMIME-Version: 1.0\r\n"
		      "Content-Type: text/plain\r\n"
		      "Content-Transfer-Encoding: 8bit\r\n\r\nb\xfc\r\n",
	  .header_len = 108,
	  .is_whole = true,
	  .notices = {NOTICE_FAILED}},
	 {"Content-Type: text/rfc822-headers\r\n\r\n",
	  "DKIM-Signature: v=1; theirs\r\n"},
	 {"b\xfc\r\n", "message/rfc822"}},
	{"a bare CR",
	 {.from = "from@example.org",
	  .original = "Subject: s\r\n\r\na\rb\r\n",
	  .header_len = 14,
	  .is_whole = true,
	  .notices = {NOTICE_FAILED}},
	 {"Content-Type: text/rfc822-headers\r\n"},
	 {"message/rfc822", "a\rb"}},
};

/* In its own header. */
static bool
says_8bit(const char *bytes)
{
	const char *said = strstr(bytes, ": 8bit\r\n");

	return said != NULL && said < strstr(bytes, "\r\n\r\n");
}

Test(report, says_what_is_needed)
{
	for (size_t i = 0; i < COUNT(said_rows); i++) {
		const struct said_row *row = &said_rows[i];
		CLEAN(delivery_free_clean) struct delivery *delivery =
			delivery_make(&row->given);
		CLEAN(message_unref_clean) struct message *report =
			make(delivery, &row->given);
		CLEAN(text_done) struct text bytes = bytes_of(report);

		for (size_t j = 0; j < SAID_MAX && row->said[j] != NULL; j++)
			expect(row->name, &bytes, row->said[j], true);
		for (size_t j = 0; j < SAID_MAX && row->not_said[j] != NULL;
		     j++)
			expect(row->name, &bytes, row->not_said[j], false);
		cr_expect_eq(memcmp(bytes.bytes + report->body.header_len - 4,
				    "\r\n\r\n", 4),
			     0, "%s", row->name);
		cr_expect_eq(report->body.has_8bit,
			     says_8bit(text_string(&bytes)), "%s", row->name);
		cr_expect_eq(report->declared_8bit, report->body.has_8bit);
		cr_expect_eq(report->body.has_8bit_header,
			     row->given.from[0] == '\xc3', "%s", row->name);
		cr_expect_eq(report->declared_smtputf8,
			     row->given.from[0] == '\xc3', "%s", row->name);
		cr_expect(report->is_report);
		cr_expect_eq(report->reverse_path.len, 0);
		cr_assert_eq(report->recipients_count, 1);
		cr_expect_eq(report->recipients[0].notify, NOTIFY_NEVER);
	}
}

/* --- that it is a message --- */

static void
expect_good_lines(struct slice bytes)
{
	size_t line = 0, longest = 0, bare = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		bool is_cr = bytes.bytes[i] == '\r';

		cr_expect_neq(bytes.bytes[i], '\0');
		if (bytes.bytes[i] == '\n')
			bare += i == 0 || bytes.bytes[i - 1] != '\r';
		if (is_cr)
			bare += bytes.bytes[i + 1] != '\n';
		line = bytes.bytes[i] == '\n' ? 0 : line + !is_cr;
		longest = line > longest ? line : longest;
	}
	cr_expect_eq(bare, 0);
	cr_expect_leq(longest, 998, "a line of %zu", longest);
}

/* Only CRLF ends a line, and none is longer than it may be, whatever is in the
 * original's header, the replies and the addresses. */
Test(report, lines_are_well_formed)
{
	static const char *const parts[] = {
		"x", "\xe9", "\xc3\xbc", "\xe4\xb8\xad", "\r", "=", " x"};

	for (size_t i = 0; i < COUNT(parts); i++) {
		CLEAN(text_done) struct text original = {0}, address = {0};
		struct given given = usual;
		struct delivery *delivery;
		struct message *report;

		text_add_string(&original, "Subject: ");
		for (int n = 0; n < 5000; n++)
			text_add_string(&original, parts[i]);
		text_add_string(&original, "\r\nTo: a@x.example\nCc: b\r\n");
		while (address.len < 250)
			text_add_string(&address, parts[i]);
		text_add_string(&address, "@x.example");
		given.original = text_string(&original);
		given.first = text_string(&address);
		given.orcpt = "utf-8;\xc3\xbc";
		given.declared_smtputf8 = i % 2 == 0;
		delivery = delivery_make(&given);
		delivery->recipients[0].reply = text_slice(&original);
		report = make(delivery, &given);
		CLEAN(text_done) struct text bytes = bytes_of(report);
		expect_good_lines(text_slice(&bytes));
		cr_expect_not(report->body.has_8bit);
		message_unref(report);
		delivery_free(delivery);
	}
}

#define MANY 1000

/* A report about many recipients names them all, and is no flood. */
Test(report, many_recipients)
{
	CLEAN(delivery_free_clean) struct delivery *delivery =
		delivery_make(&usual);
	static enum notice notices[MANY];
	static char reply[1000];
	struct delivery_recipient *states = arena_array(
		&delivery->arena, MANY, sizeof(*states));
	size_t count = 0;

	memset(reply, 'x', sizeof(reply) - 1);
	memcpy(reply, "550 ", 4);
	for (unsigned i = 0; i < MANY; i++) {
		char address[32];

		snprintf(address, sizeof(address), "r%u@x.example", i);
		message_add_recipient(delivery->message, SLICE(address),
				      SLICE("x.example"));
		states[i] = (struct delivery_recipient){
			.index = 3 + i,
			.reply = SLICE(reply),
			.status = SLICE("5.0.0"),
			.outcome = OUTCOME_FAILED};
		notices[i] = NOTICE_FAILED;
	}
	delivery->recipients = states;
	delivery->recipients_count = MANY;
	struct message *report = report_make(&(struct report_setup){
		.delivery = delivery,
		.notices = notices,
		.hostname = SLICE("relay.example.com"),
		.now_ms = NOW_MS,
	});
	CLEAN(text_done) struct text bytes = bytes_of(report);
	for (const char *at = text_string(&bytes);
	     (at = strstr(at, "\r\nFinal-Recipient: rfc822; r")) != NULL; at++)
		count++;
	cr_expect_eq(count, MANY);
	expect("many", &bytes, "and 900 more", true);
	cr_expect_lt(bytes.len, 600 * KIB, "%zu bytes", bytes.len);
	message_unref(report);
}

static const struct reader_row {
	const char *from;
	const char *destination; /* NULL: nowhere to send it */
	const char *to;
	bool needs_smtputf8;
} reader_rows[] = {
	{"from@example.org", "example.org", "from@example.org", false},
	{"from@EXAMPLE.Org", "example.org", "from@EXAMPLE.Org", false},
	{"from@b\xc3\xbc" "cher.example", "xn--bcher-kva.example",
	 "from@xn--bcher-kva.example", false},
	{"\xc3\xbc@b\xc3\xbc" "cher.example", "xn--bcher-kva.example",
	 "\xc3\xbc@b\xc3\xbc" "cher.example", true},
	{"from@[192.0.2.1]", "[192.0.2.1]", "from@[192.0.2.1]", false},
	{"nobody", NULL, NULL, false},
	{"from@", NULL, NULL, false},
};

Test(report, where_it_goes)
{
	for (size_t i = 0; i < COUNT(reader_rows); i++) {
		const struct reader_row *row = &reader_rows[i];
		struct given given = usual;
		CLEAN(delivery_free_clean) struct delivery *delivery = NULL;
		CLEAN(message_unref_clean) struct message *report = NULL;

		given.from = row->from;
		delivery = delivery_make(&given);
		report = make(delivery, &given);
		cr_expect_eq(report->recipients_count,
			     row->destination != NULL, "%s", row->from);
		if (report->recipients_count == 0)
			continue;
		cr_expect(slice_eq(report->recipients[0].destination,
				   SLICE(row->destination)),
			  "%s", row->from);
		cr_expect(slice_eq(report->recipients[0].address,
				   SLICE(row->to)),
			  "%s", row->from);
		cr_expect_eq(report->declared_smtputf8, row->needs_smtputf8,
			     "%s", row->from);
	}
}
