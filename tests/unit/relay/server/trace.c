#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "relay/server/trace.h"

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
	{"a client whom nobody knows", "x", NULL, false, false, false, {NULL},
	 "Received: from x (unknown)\r\n"
	 "\tby mail.example.net with SMTP id ID;\r\n"
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

Test(trace, received)
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

		client.any.sa_family = AF_UNSPEC;
		cr_assert(received_rows[i].client == NULL ||
			  address_parse_host(SLICE(received_rows[i].client),
					     25, &client));
		for (size_t j = 0; received_rows[i].recipients[j] != NULL; j++)
			message_add_recipient(
				message,
				SLICE(received_rows[i].recipients[j]),
				SLICE("example.org"));
		message->received_ms = 1795291200042u;
		trace_received(&out, &trace, message);
		put_id(&expected, received_rows[i].written, &message->id);
		cr_expect_str_eq(text_string(&out), text_string(&expected),
				 "%s", received_rows[i].name);
		message_unref(message);
	}
}

Test(trace, date_and_message_id)
{
	CLEAN(text_done) struct text date = {0}, id = {0};
	struct message *message = message_new(SLICE_NONE);

	setenv("TZ", "UTC", 1);
	tzset();
	trace_date(&date, 1795291200042u);
	cr_expect_str_eq(text_string(&date),
			 "Date: Sat, 21 Nov 2026 20:00:00 +0000");
	trace_message_id(&id, &message->id, SLICE("mail.example.net"));
	cr_expect(slice_starts(text_slice(&id), SLICE("Message-ID: <")));
	cr_expect(slice_ends_nocase(text_slice(&id),
				    SLICE("@mail.example.net>")));
	message_unref(message);
}
