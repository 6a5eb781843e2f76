#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "relay/server/prepare.h"

static const struct {
	const char *name, *helo, *client;
	bool is_esmtp, is_secured, is_authenticated;
	const char *recipients[3];
	const char *written; /* ID stands for the id */
} received_rows[] = {
	{"SMTP", "client.example.com", "192.0.2.1", false, false, false,
	 {"a@example.org"},
	 "Received: from client.example.com ([192.0.2.1])\r\n"
	 "\tby mail.example.net with SMTP id ID\r\n"
	 "\tfor <a@example.org>;\r\n"
	 "\tSat, 21 Nov 2026 20:00:00 +0000\r\n"},
	{"ESMTP over IPv6, two recipients", "[IPv6:2001:db8::1]",
	 "2001:db8::1", true, false, false, {"a@example.org", "b@example.org"},
	 "Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n"
	 "\tby mail.example.net with ESMTP id ID;\r\n"
	 "\tSat, 21 Nov 2026 20:00:00 +0000\r\n"},
	{"TLS", "x", "192.0.2.1", true, true, false, {NULL},
	 "Received: from x ([192.0.2.1])\r\n"
	 "\tby mail.example.net with ESMTPS id ID\r\n"
	 "\t(TLSv1.3 SUITE);\r\n"
	 "\tSat, 21 Nov 2026 20:00:00 +0000\r\n"},
	{"TLS and AUTH", "x", "192.0.2.1", true, true, true, {NULL},
	 "Received: from x ([192.0.2.1])\r\n"
	 "\tby mail.example.net with ESMTPSA id ID\r\n"
	 "\t(TLSv1.3 SUITE);\r\n"
	 "\tSat, 21 Nov 2026 20:00:00 +0000\r\n"},
	{"a name that would break the field", "a(b;c<d>\"e\\_f", "192.0.2.1",
	 false, false, false, {NULL},
	 "Received: from a?b?c?d??e?_f ([192.0.2.1])\r\n"
	 "\tby mail.example.net with SMTP id ID;\r\n"
	 "\tSat, 21 Nov 2026 20:00:00 +0000\r\n"},
};

static void
put_id(struct text *out, const char *pattern, const struct message_id *id)
{
	const char *at = strstr(pattern, " ID");
	char text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	text_add(out, slice_of(pattern, (size_t)(at - pattern) + 1));
	text_add_string(out, text);
	text_add_string(out, at + 3);
}

Test(prepare, received)
{
	setenv("TZ", "UTC", 1);
	tzset();
	for (size_t i = 0; i < COUNT(received_rows); i++) {
		CLEAN(text_done) struct text out = {0}, expected = {0};
		struct message *message = message_new(SLICE_NONE);
		struct address client;
		struct trace trace = {
			.helo = SLICE(received_rows[i].helo),
			.client = &client,
			.hostname = SLICE("mail.example.net"),
			.is_esmtp = received_rows[i].is_esmtp,
			.is_secured = received_rows[i].is_secured,
			.is_authenticated = received_rows[i].is_authenticated,
			.tls = SLICE("TLSv1.3 SUITE"),
		};

		cr_assert(address_parse_host(SLICE(received_rows[i].client),
					     25, &client));
		for (size_t j = 0; received_rows[i].recipients[j] != NULL; j++)
			message_add_recipient(
				message,
				SLICE(received_rows[i].recipients[j]),
				SLICE("example.org"));
		message->received_ms = 1795291200042u;
		prepare_received(&out, &trace, message);
		put_id(&expected, received_rows[i].written, &message->id);
		cr_expect_str_eq(text_string(&out), text_string(&expected),
				 "%s", received_rows[i].name);
		message_unref(message);
	}
}

Test(prepare, date_and_message_id)
{
	CLEAN(text_done) struct text date = {0}, id = {0};
	struct message *message = message_new(SLICE_NONE);

	setenv("TZ", "UTC", 1);
	tzset();
	prepare_date(&date, 1795291200042u);
	cr_expect_str_eq(text_string(&date),
			 "Date: Sat, 21 Nov 2026 20:00:00 +0000");
	prepare_message_id(&id, &message->id, SLICE("mail.example.net"));
	cr_expect(slice_starts(text_slice(&id), SLICE("Message-ID: <")));
	cr_expect(slice_ends_nocase(text_slice(&id),
				    SLICE("@mail.example.net>")));
	message_unref(message);
}

static const struct facts_row {
	const char *name, *value;
	bool is_signed, locks_from, locks_date;
} facts_rows[] = {
	{"Subject", " x", false, false, false},
	{"DKIM-Signature", " v=1; h=From:To; b=x", true, true, false},
	{"dkim-signature", " v=1; h=from :\r\n DATE; b=x", true, true, true},
	{"ARC-Message-Signature", " i=1; h=Date; b=x", true, false, true},
	{"ARC-Seal", " i=1; cv=none; b=x", true, false, false},
	{"DKIM-Signature", " v=1; b=x", true, true, true},
	{"DKIM-Signature", " none", true, true, true},
};

Test(prepare, signed)
{
	for (size_t i = 0; i < COUNT(facts_rows); i++) {
		const struct facts_row *row = &facts_rows[i];
		CLEAN(prepare_facts_done) struct prepare_facts facts = {0};

		prepare_note(&facts, SLICE(row->name), SLICE(row->value));
		cr_expect_eq(facts.is_signed, row->is_signed, "%s:%s",
			     row->name, row->value);
		cr_expect_eq(prepare_is_locked(&facts, "From"),
			     row->locks_from, "%s:%s", row->name, row->value);
		cr_expect_eq(prepare_is_locked(&facts, "Date"),
			     row->locks_date, "%s:%s", row->name, row->value);
	}
}

/* Each of them counts. */
Test(prepare, signed_by_many)
{
	CLEAN(prepare_facts_done) struct prepare_facts facts = {0};

	prepare_note(&facts, SLICE("DKIM-Signature"), SLICE(" v=1; h=a:b"));
	prepare_note(&facts, SLICE("DKIM-Signature"), SLICE(" v=1; h=c"));
	cr_expect(prepare_is_locked(&facts, "B"));
	cr_expect(prepare_is_locked(&facts, "C"));
	cr_expect_not(prepare_is_locked(&facts, "d"));
}

Test(prepare, fields)
{
	CLEAN(prepare_facts_done) struct prepare_facts facts = {0};

	prepare_note(&facts, SLICE("received"), SLICE(" x"));
	prepare_note(&facts, SLICE("Received"), SLICE(" x"));
	prepare_note(&facts, SLICE("BCC"), SLICE(""));
	prepare_note(&facts, SLICE("Mime-Version"), SLICE(" 1.0"));
	cr_expect_eq(facts.hops, 2);
	cr_expect(facts.has_bcc);
	cr_expect(facts.has_version);
	cr_expect_not(facts.has_date);
	cr_expect_not(facts.has_message_id);
	cr_expect_not(facts.is_signed);
}
