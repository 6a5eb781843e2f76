#include "relay/queue/bounce.h"

#include "base/clock.h"
#include "milter/idn.h"
#include "relay/limits.h"

/* RFC 5322 2.1.1, without CRLF. */
#define LINE_MAX_OCTETS 998
/* Of what others said, in one line of a report. */
#define QUOTE_MAX 800

bool
bounce_has_reader(const struct message *message)
{
	return message->reverse_path.len > 0 && !message->is_report;
}

/* What came from outside goes in as printable ASCII, on one line. */
static void
add_quoted(struct text *out, struct slice bytes)
{
	bytes = slice_sub(bytes, 0, QUOTE_MAX);
	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.bytes[i];

		if (c == '\n' || c == '\t')
			c = ' ';
		text_add_byte(out, c < 0x20 || c > 0x7e ? '?' : c);
	}
}

static void
add_line(struct text *out, const char *name, struct slice value)
{
	text_add_string(out, name);
	add_quoted(out, value);
	text_add_string(out, "\r\n");
}

static void
add_date(struct text *out, const char *name, uint64_t wall_ms)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(wall_ms, date);
	add_line(out, name, SLICE(date));
}

static const struct recipient *
recipient_of(const struct delivery *delivery,
	     const struct delivery_recipient *state)
{
	ASSERT(state->index < delivery->message->recipients_count);
	return &delivery->message->recipients[state->index];
}

static bool
has_8bit(struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if ((unsigned char)bytes.bytes[i] > 0x7f)
			return true;
	return false;
}

/* --- the report's own header --- */

static void
add_header(struct text *out, const struct message *report,
	   const struct delivery *delivery, struct slice boundary,
	   bool is_8bit, const struct bounce_options *options)
{
	char id[MESSAGE_ID_TEXT + 1];

	message_id_write(&report->id, id);
	add_date(out, "Date: ", options->now_ms);
	if (options->from.len > 0)
		add_line(out, "From: ", options->from);
	else
		text_addf(out,
			  "From: Mail Delivery System "
			  "<MAILER-DAEMON@%.*s>\r\n",
			  SLICE_ARG(options->hostname));
	text_addf(out, "To: <%.*s>\r\n",
		  SLICE_ARG(delivery->message->reverse_path));
	text_add_string(out, "Subject: Your message could not be "
			     "delivered\r\n");
	text_addf(out, "Message-ID: <%s@%.*s>\r\n", id,
		  SLICE_ARG(options->hostname));
	text_add_string(out, "Auto-Submitted: auto-replied\r\n"
			     "MIME-Version: 1.0\r\n");
	if (is_8bit)
		text_add_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	text_addf(out,
		  "Content-Type: multipart/report; "
		  "report-type=delivery-status;\r\n\tboundary=\"%.*s\"\r\n\r\n",
		  SLICE_ARG(boundary));
}

/* --- for people --- */

static void
add_words(struct text *out, const struct delivery *delivery,
	  const struct bounce_options *options)
{
	char id[MESSAGE_ID_TEXT + 1];

	message_id_write(&delivery->message->id, id);
	text_addf(out,
		  "This is the mail relay at %.*s.\r\n\r\n"
		  "Your message could not be delivered to the following "
		  "recipients.\r\nIt will not be tried again.\r\n",
		  SLICE_ARG(options->hostname));
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *state =
			&delivery->recipients[i];

		if (state->outcome != OUTCOME_FAILED)
			continue;
		text_add_string(out, "\r\n  <");
		add_quoted(out, recipient_of(delivery, state)->address);
		text_add_string(out, ">\r\n");
		if (slice_eq(state->status, SLICE("4.4.7")))
			text_add_string(out, "    could not be delivered in "
					     "time; the last answer was:\r\n");
		if (state->mx.len > 0)
			add_line(out, "    mail server: ", state->mx);
		add_line(out, "    ",
			 state->reply.len > 0 ? state->reply
					      : SLICE("no answer"));
	}
	text_addf(out, "\r\nYour message was accepted here as %s.\r\n", id);
}

/* --- for machines: RFC 3464 2.2, 2.3 --- */

static void
add_status(struct text *out, const struct delivery *delivery,
	   const struct bounce_options *options)
{
	const struct message *message = delivery->message;

	add_line(out, "Reporting-MTA: dns; ", options->hostname);
	add_date(out, "Arrival-Date: ", message->received_ms);
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		const struct delivery_recipient *state =
			&delivery->recipients[i];
		const struct recipient *rcpt = recipient_of(delivery, state);

		if (state->outcome != OUTCOME_FAILED)
			continue;
		text_add_string(out, "\r\n");
		if (rcpt->orcpt.len > 0)
			add_line(out, "Original-Recipient: ", rcpt->orcpt);
		add_line(out, "Final-Recipient: rfc822; ", rcpt->address);
		add_line(out, "Action: ", SLICE("failed"));
		add_line(out, "Status: ",
			 state->status.len > 0 ? state->status
					       : SLICE("5.0.0"));
		if (state->mx.len > 0)
			add_line(out, "Remote-MTA: dns; ", state->mx);
		if (state->reply.len > 0)
			add_line(out,
				 outcome_is_reply(state->reply)
					 ? "Diagnostic-Code: smtp; "
					 : "Diagnostic-Code: x-signet; ",
				 state->reply);
		if (delivery->last_attempt_ms > 0)
			add_date(out, "Last-Attempt-Date: ",
				 delivery->last_attempt_ms);
	}
}

/* --- what it was about --- */

/* Up to the empty line; no line longer than a line may be. */
static void
add_original(struct text *out, struct slice header)
{
	struct slice line;

	while (slice_split(&header, '\n', &line)) {
		if (line.len > 0 && line.bytes[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0)
			return;
		text_add(out, slice_sub(line, 0, LINE_MAX_OCTETS));
		text_add_string(out, "\r\n");
	}
}

static void
add_parts(struct text *out, const struct delivery *delivery,
	  struct slice boundary, struct slice header, bool is_8bit,
	  const struct bounce_options *options)
{
	text_addf(out,
		  "--%.*s\r\nContent-Type: text/plain; "
		  "charset=us-ascii\r\n\r\n",
		  SLICE_ARG(boundary));
	add_words(out, delivery, options);
	text_addf(out,
		  "\r\n--%.*s\r\nContent-Type: "
		  "message/delivery-status\r\n\r\n",
		  SLICE_ARG(boundary));
	add_status(out, delivery, options);
	text_addf(out, "\r\n--%.*s\r\nContent-Type: text/rfc822-headers\r\n",
		  SLICE_ARG(boundary));
	if (is_8bit)
		text_add_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	text_add_string(out, "\r\n");
	add_original(out, header);
	text_addf(out, "\r\n--%.*s--\r\n", SLICE_ARG(boundary));
}

/* --- the message --- */

/* Where mail for the path goes: its domain in A-labels, or an address literal
 * in lower case; "" where it has neither. */
static struct slice
path_destination(struct arena *arena, struct slice path)
{
	ptrdiff_t at = slice_find_last(path, '@');
	struct slice domain = slice_from(path, (size_t)(at + 1)), ascii;
	char *lower;

	if (at < 0 || domain.len == 0 || domain.len > DOMAIN_MAX)
		return SLICE_NONE;
	if (domain.bytes[0] != '[')
		return idn_to_ascii(domain, arena, &ascii, NULL) ? ascii
								 : SLICE_NONE;
	lower = arena_new(arena, domain.len);
	for (size_t i = 0; i < domain.len; i++)
		lower[i] = ascii_lower(domain.bytes[i]);
	return slice_of(lower, domain.len);
}

static void
body_take(struct message *report, struct slice bytes)
{
	struct body *body = &report->body;
	size_t count = (bytes.len + BODY_CHUNK - 1) / BODY_CHUNK;

	body->size = bytes.len;
	body->chunks_count = count;
	body->chunks = arena_array(&report->arena, count,
				   sizeof(*body->chunks));
	for (size_t i = 0; i < count; i++)
		body->chunks[i] = arena_copy(
			&report->arena,
			slice_sub(bytes, i * BODY_CHUNK, BODY_CHUNK));
}

struct message *
bounce_make(const struct delivery *delivery, struct slice header,
	    const struct bounce_options *options)
{
	const struct message *message = delivery->message;
	struct message *report = message_new(SLICE_NONE);
	CLEAN(text_done) struct text text = {0};
	char id[MESSAGE_ID_TEXT + 1];
	struct slice boundary, destination;
	bool is_8bit;

	ASSERT(bounce_has_reader(message));
	header = slice_sub(header, 0, BOUNCE_HEADER_MAX);
	/* The address goes into To as it is, so it counts too. */
	is_8bit = has_8bit(header) || has_8bit(message->reverse_path);
	message_id_write(&report->id, id);
	/* No line of a header begins like this: "=" is not allowed in a
	 * field's name, and the id is new. */
	boundary = arena_printf(&report->arena, "=_%s", id);
	add_header(&text, report, delivery, boundary, is_8bit, options);
	report->body.header_len = text.len;
	add_parts(&text, delivery, boundary, header, is_8bit, options);
	body_take(report, text_slice(&text));
	report->is_report = true;
	report->declared_8bit = report->body.has_8bit = is_8bit;
	destination = path_destination(&report->arena, message->reverse_path);
	if (destination.len > 0)
		message_add_recipient(report, message->reverse_path,
				      destination);
	return report;
}
