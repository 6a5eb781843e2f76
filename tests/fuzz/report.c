/*
 * Reports: whatever is in a reply, an address, a parameter or the original, the
 * report is a message of three parts, its fields are those that we write, its
 * lines may be sent, and it is ASCII where it has to be.
 *
 * The first octet says what kind of report; the rest are texts, each ended by
 * LF LF: reply, status, host, recipient, ORCPT, ENVID, prefix; then the
 * original.
 */
#include <stdlib.h>

#include "relay/queue/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define IS_WHOLE 1u
#define IS_SMTPUTF8 2u
#define IS_COPY 4u
#define IS_UTF8_SENDER 8u
#define NOTICE_SHIFT 4u
#define FIELDS_OF_HEADER 8 /* and Content-Transfer-Encoding */

static struct slice
take_text(struct slice *rest)
{
	struct slice text = *rest;

	for (size_t i = 0; i + 1 < rest->len; i++)
		if (rest->bytes[i] == '\n' && rest->bytes[i + 1] == '\n') {
			text = slice_sub(*rest, 0, i);
			*rest = slice_from(*rest, i + 2);
			return text;
		}
	*rest = SLICE_NONE;
	return text;
}

static bool
is_8bit(struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if ((unsigned char)bytes.bytes[i] > 0x7f)
			return true;
	return false;
}

/* Lines that may be sent; counts those that begin like this. */
static size_t
check_lines(struct slice rest, struct slice beginning)
{
	size_t count = 0;
	struct slice line;

	while (slice_split(&rest, '\n', &line)) {
		ASSERT(line.len > 0);
		ASSERT(line.bytes[line.len - 1] == '\r');
		ASSERT(line.len - 1 <= 998);
		ASSERT(slice_find(slice_sub(line, 0, line.len - 1), '\r') < 0);
		ASSERT(slice_find(line, '\0') < 0);
		count += slice_starts(line, beginning);
	}
	return count;
}

static size_t
count_fields(struct slice rest)
{
	size_t count = 0;
	struct slice line;

	while (slice_split(&rest, '\n', &line) && line.len > 1)
		count += !ascii_is_wsp(line.bytes[0]);
	return count;
}

/* The part for programs has two groups, of fields that we know. */
static void
check_status(struct slice part)
{
	static const char *const names[] = {
		"Content-Type: message/", "Content-Transfer-Encoding: 8bit",
		"Original-Envelope-Id: ", "Reporting-MTA: dns; ",
		"Received-From-MTA: dns; ", "Arrival-Date: ",
		"Original-Recipient: ", "Final-Recipient: ", "Action: ",
		"Status: ", "Remote-MTA: dns; ", "Diagnostic-Code: ",
		"Last-Attempt-Date: ", "Will-Retry-Until: "};
	size_t empty = 0;
	struct slice line;

	while (slice_split(&part, '\n', &line)) {
		bool is_known = line.len == 1;

		empty += line.len == 1;
		for (size_t i = 0; i < COUNT(names); i++)
			is_known |= slice_starts(line, SLICE(names[i]));
		ASSERT(is_known);
	}
	/* Behind the part's header, between the groups, before the boundary. */
	ASSERT(empty == 3);
}

static void
check_parts(struct slice body, struct slice boundary)
{
	struct slice rest = body;
	size_t starts[4], count = 0;

	ASSERT(check_lines(body, boundary) == 4);
	for (size_t i = 0; i + boundary.len <= rest.len && count < 4; i++)
		if ((i == 0 || rest.bytes[i - 1] == '\n') &&
		    slice_starts(slice_from(rest, i), boundary))
			starts[count++] = i;
	ASSERT(count == 4);
	check_status(slice_sub(body, starts[1] + boundary.len + 2,
			       starts[2] - starts[1] - boundary.len - 2));
}

static void
check_report(const struct message *report, bool may_be_8bit)
{
	struct text bytes = {0}, boundary = {0};
	char id[MESSAGE_ID_TEXT + 1];
	struct slice header;
	size_t fields;

	for (size_t i = 0; i < report->body.chunks_count; i++)
		text_add(&bytes, report->body.chunks[i]);
	ASSERT(bytes.len == report->body.size);
	header = slice_sub(text_slice(&bytes), 0,
			   (size_t)report->body.header_len);
	fields = count_fields(header);
	ASSERT(fields == FIELDS_OF_HEADER ||
	       (report->declared_8bit && fields == FIELDS_OF_HEADER + 1));
	ASSERT(report->declared_8bit == is_8bit(text_slice(&bytes)));
	ASSERT(may_be_8bit || !report->declared_8bit);
	message_id_write(&report->id, id);
	text_addf(&boundary, "--=_%s", id);
	check_parts(slice_from(text_slice(&bytes),
			       (size_t)report->body.header_len),
		    text_slice(&boundary));
	text_done(&bytes);
	text_done(&boundary);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const enum notice kinds[] = {NOTICE_FAILED, NOTICE_DELAYED,
					    NOTICE_RELAYED, NOTICE_FAILED};
	struct slice rest = slice_of(bytes, len), prefix;
	struct message *message, *report;
	struct delivery delivery = {0};
	struct delivery_recipient state = {0};
	enum notice notice;
	unsigned flags;

	if (len == 0)
		return 0;
	flags = bytes[0];
	rest = slice_from(rest, 1);
	notice = kinds[flags >> NOTICE_SHIFT & 3];
	message = message_new((flags & IS_UTF8_SENDER) != 0
				      ? SLICE("\xc3\xbc@example.org")
				      : SLICE("from@example.org"));
	state.reply = take_text(&rest);
	state.status = take_text(&rest);
	state.mx = take_text(&rest);
	message_add_recipient(message, take_text(&rest), SLICE("x.example"));
	message->recipients[0].orcpt = take_text(&rest);
	message->envid = take_text(&rest);
	prefix = take_text(&rest);
	/* Ours, and so of whole lines. */
	if (prefix.len > 0 && slice_ends_nocase(prefix, SLICE("\r\n")))
		message->prefix = prefix;
	message->body.size = message->body.header_len = rest.len;
	message->declared_smtputf8 = (flags & IS_SMTPUTF8) != 0;
	delivery.message = message;
	delivery.recipients = &state;
	delivery.recipients_count = 1;
	delivery.last_attempt_ms = 1;
	report = report_make(&(struct report_setup){
		.delivery = &delivery,
		.attempt_ms = delivery.last_attempt_ms,
		.notices = &notice,
		.original = rest,
		.is_whole = (flags & IS_WHOLE) != 0,
		.hostname = SLICE("relay.example.com"),
		.copy_to = (flags & IS_COPY) != 0
				   ? SLICE("postmaster@example.com")
				   : SLICE_NONE,
	});
	check_report(report, (flags & (IS_WHOLE | IS_UTF8_SENDER)) != 0);
	message_unref(report);
	message_unref(message);
	return 0;
}
