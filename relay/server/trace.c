#include "relay/server/trace.h"

#include "base/clock.h"
#include "relay/server/path.h"

/* RFC 3848, RFC 6531 4.3. */
static void
add_with(struct text *out, const struct trace *trace, bool is_utf8)
{
	if (is_utf8)
		text_add_string(out, "UTF8");
	else if (trace->is_esmtp)
		text_add_string(out, "E");
	text_add_string(out, "SMTP");
	if (!is_utf8 && !trace->is_esmtp)
		return;
	if (trace->is_secured)
		text_add_byte(out, 'S');
	if (trace->is_authenticated)
		text_add_byte(out, 'A');
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
add_client(struct text *out, const struct trace *trace)
{
	char literal[ADDRESS_TEXT_SIZE];

	text_add_string(out, " (");
	if (trace->client_name.len > 0) {
		text_add(out, trace->client_name);
		text_add_byte(out, ' ');
	}
	switch (trace->client->any.sa_family) {
	case AF_INET:
	case AF_INET6:
		address_write_literal(trace->client, literal);
		text_add_string(out, literal);
		break;
	case AF_UNSPEC:
		text_add_string(out, "unknown");
		break;
	default:
		text_add_string(out, "local");
		break;
	}
	text_add_byte(out, ')');
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
	add_client(out, trace);
	text_add_string(out, "\r\n\tby ");
	text_add(out, trace->hostname);
	text_add_string(out, " with ");
	add_with(out, trace, message->declared_smtputf8);
	text_add_string(out, " id ");
	text_add_string(out, id);
	if (trace->is_secured)
		text_addf(out, "\r\n\t(%.*s)", SLICE_ARG(trace->tls));
	/* One outside ASCII is left out: where it can be delivered to a host
	 * without SMTPUTF8, its domain in A-labels, the header must not be what
	 * needs that. */
	if (message->recipients_count == 1 &&
	    slice_is_ascii(message->recipients[0].address)) {
		text_add_string(out, "\r\n\tfor <");
		text_add(out, message->recipients[0].address);
		text_add_byte(out, '>');
	}
	text_add_string(out, ";\r\n\t");
	text_add_string(out, date);
	text_add_string(out, "\r\n");
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
