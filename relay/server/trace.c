#include "relay/server/trace.h"

#include "base/clock.h"
#include "relay/server/path.h"

/* RFC 3848. */
static const char *
with_keyword(const struct trace *trace)
{
	if (!trace->is_esmtp)
		return "SMTP";
	if (trace->is_secured)
		return trace->is_authenticated ? "ESMTPSA" : "ESMTPS";
	return trace->is_authenticated ? "ESMTPA" : "ESMTP";
}

/* A client may say anything: what could not stand in the field is replaced. */
static void
add_helo(struct text *out, struct slice helo)
{
	if (helo.len == 0) {
		text_add_string(out, "unknown");
		return;
	}
	if (path_domain_check(helo) || path_literal_check(helo)) {
		text_add(out, helo);
		return;
	}
	for (size_t i = 0; i < helo.len; i++) {
		char c = helo.bytes[i];
		bool is_plain = ascii_is_alpha(c) || ascii_is_digit(c) ||
		                c == '-' || c == '.' || c == '_';

		text_add_byte(out, is_plain ? c : '?');
	}
}

static void
add_client(struct text *out, const struct address *client)
{
	char literal[ADDRESS_TEXT_SIZE];

	if (client->any.sa_family != AF_INET &&
	    client->any.sa_family != AF_INET6) {
		text_add_string(out, " (local)");
		return;
	}
	address_write_literal(client, literal);
	text_addf(out, " (%s)", literal);
}

void
trace_received(struct text *out, const struct trace *trace,
               const struct message *message)
{
	char id[MESSAGE_ID_TEXT + 1], date[CLOCK_DATE_SIZE];

	message_id_write(&message->id, id);
	clock_write_date(message->received_ms, date);
	text_add_string(out, "Received: from ");
	add_helo(out, trace->helo);
	add_client(out, trace->client);
	text_addf(out, "\r\n\tby %.*s with %s id %s",
	          SLICE_ARG(trace->hostname), with_keyword(trace), id);
	if (trace->is_secured)
		text_addf(out, "\r\n\t(%.*s)", SLICE_ARG(trace->tls));
	if (message->recipients_count == 1)
		text_addf(out, "\r\n\tfor <%.*s>",
		          SLICE_ARG(message->recipients[0].address));
	text_addf(out, ";\r\n\t%s\r\n", date);
}

void
trace_date(struct text *out, uint64_t wall_ms)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(wall_ms, date);
	text_addf(out, "Date: %s", date);
}

void
trace_message_id(struct text *out, const struct message_id *id,
                 struct slice hostname)
{
	char text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	text_addf(out, "Message-ID: <%s@%.*s>", text, SLICE_ARG(hostname));
}
