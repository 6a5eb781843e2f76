#include "relay/queue/report_private.h"

#include "base/clock.h"
#include "milter/header.h"
#include "milter/mime.h"

/* Of a reply, and of one where there are many. */
#define QUOTE_MAX 800
#define QUOTE_MANY_MAX 120
/* From here on there are many. */
#define STATUS_LARGE (128 * KIB)
/* An address in its longest form stays within a line, with the field's name and
 * the type. */
#define ADDRESS_MAX (REPORT_LINE_MAX - 64)
#define TYPE_MAX 32

static void
add_line(struct text *out, const char *name, struct slice value)
{
	text_add_string(out, name);
	report_add_ascii(out, value, QUOTE_MAX);
	text_add_string(out, "\r\n");
}

static void
add_date(struct text *out, const char *name, uint64_t wall_ms)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(wall_ms, date);
	add_line(out, name, SLICE(date));
}

/* --- addresses --- */

static uint32_t
code_point(struct slice utf8)
{
	uint32_t point = (uint8_t)utf8.bytes[0];

	if (utf8.len > 1)
		point &= (1u << (7 - utf8.len)) - 1;
	for (size_t i = 1; i < utf8.len; i++)
		point = point << 6 | ((uint8_t)utf8.bytes[i] & 0x3f);
	return point;
}

/* RFC 6533 3: utf-8-addr-unitext, or utf-8-addr-xtext where it has to be ASCII.
 * is_given: it has been quoted before, as a parameter. */
static void
add_utf8_address(struct text *out, struct slice address, bool is_utf8,
		 bool is_given)
{
	size_t start = out->len, len;

	for (size_t i = 0; i < address.len && out->len - start < ADDRESS_MAX;
	     i += len) {
		char c = address.bytes[i];

		len = slice_utf8_length(address, i);
		if (len == 0) {
			len = 1;
			text_add_byte(out, '?');
		} else if (len > 1 && is_utf8) {
			text_add(out, slice_sub(address, i, len));
		} else if (len > 1 || c <= ' ' || c == 0x7f || c == '+' ||
			   c == '=' || (c == '\\' && !is_given)) {
			text_addf(out, "\\x{%02X}",
				  code_point(slice_sub(address, i, len)));
		} else {
			text_add_byte(out, c);
		}
	}
}

/* RFC 3461 4: "+" and two digits for what would not pass as a parameter. */
static void
xtext_decode(struct slice xtext, struct text *out)
{
	for (size_t i = 0; i < xtext.len; i++) {
		char c = xtext.bytes[i];
		int high, low;

		if (c == '+' && i + 2 < xtext.len &&
		    (high = ascii_hex_upper(xtext.bytes[i + 1])) >= 0 &&
		    (low = ascii_hex_upper(xtext.bytes[i + 2])) >= 0) {
			c = (char)(high << 4 | low);
			i += 2;
		}
		text_add_byte(out, c);
	}
}

static void
add_final(struct text *out, const struct report_form *form,
	  struct slice address)
{
	if (report_has_8bit(address)) {
		text_add_string(out, "Final-Recipient: utf-8; ");
		add_utf8_address(out, address, form->is_utf8, false);
	} else {
		text_add_string(out, "Final-Recipient: rfc822; ");
		report_add_ascii(out, address, ADDRESS_MAX);
	}
	text_add_string(out, "\r\n");
}

/* As the sender wrote it: RFC 3461 6.3 d. */
static void
add_original_recipient(struct text *out, const struct report_form *form,
		       struct slice orcpt)
{
	CLEAN(text_done) struct text decoded = {0};
	struct slice rest = orcpt, type;

	if (!slice_split(&rest, ';', &type) || rest.len == 0)
		return;
	text_add_string(out, "Original-Recipient: ");
	report_add_ascii(out, type, TYPE_MAX);
	text_add_string(out, "; ");
	if (slice_eq_nocase(type, SLICE("utf-8"))) {
		add_utf8_address(out, rest, form->is_utf8, true);
	} else {
		xtext_decode(rest, &decoded);
		report_add_ascii(out, text_slice(&decoded), ADDRESS_MAX);
	}
	text_add_string(out, "\r\n");
}

/* --- the message: RFC 3464 2.2 --- */

/* From the Received field that we put on top: "from NAME (ADDRESS)". */
static bool
find_client(const struct message *message, struct slice *client_out)
{
	struct slice rest = message->prefix, field, name, value;
	ptrdiff_t end;

	while (mime_field_next(&rest, &field)) {
		if (field.len <= 2 ||
		    header_field_parse(slice_sub(field, 0, field.len - 2),
				       &name, &value) != NULL ||
		    !slice_eq_nocase(name, SLICE("Received")))
			continue;
		value = slice_trim(value);
		end = slice_find(value, '\r');
		if (!slice_starts(value, SLICE("from ")) || end < 0)
			return false;
		*client_out = slice_from(slice_sub(value, 0, (size_t)end),
					 sizeof("from ") - 1);
		return client_out->len > 0;
	}
	return false;
}

static void
add_message_fields(struct text *out, const struct report_form *form)
{
	const struct message *message = form->message;
	CLEAN(text_done) struct text envid = {0};
	struct slice client;

	if (message->envid.len > 0) {
		xtext_decode(message->envid, &envid);
		add_line(out, "Original-Envelope-Id: ", text_slice(&envid));
	}
	add_line(out, "Reporting-MTA: dns; ", form->setup->hostname);
	if (find_client(message, &client))
		add_line(out, "Received-From-MTA: dns; ", client);
	add_date(out, "Arrival-Date: ", message->received_ms);
}

/* --- each recipient: RFC 3464 2.3 --- */

static const struct notice_row {
	const char *action;
	char status_class;
	const char *status; /* where there is none, or one of another class */
} notice_rows[] = {
	[NOTICE_FAILED] = {"failed", '5', "5.0.0"},
	[NOTICE_DELAYED] = {"delayed", '4', "4.0.0"},
	[NOTICE_RELAYED] = {"relayed", '2', "2.0.0"},
};

/* What failed for having waited too long keeps its 4.4.7 (RFC 3463 3.5). */
static struct slice
status_of(enum notice notice, struct slice status)
{
	const struct notice_row *row = &notice_rows[notice];

	if (status.len == 0 || outcome_find_status(status).len != status.len)
		return SLICE(row->status);
	if (status.bytes[0] == row->status_class ||
	    (notice == NOTICE_FAILED && status.bytes[0] == '4'))
		return status;
	return SLICE(row->status);
}

static void
add_diagnostic(struct text *out, struct slice reply)
{
	size_t max = out->len < STATUS_LARGE ? QUOTE_MAX : QUOTE_MANY_MAX;

	if (reply.len == 0)
		return;
	text_add_string(out, outcome_is_reply(reply)
				     ? "Diagnostic-Code: smtp; "
				     : "Diagnostic-Code: x-signet; ");
	report_add_ascii(out, reply, max);
	text_add_string(out, "\r\n");
}

static void
add_recipient_fields(struct text *out, const struct report_form *form,
		     size_t i)
{
	const struct delivery *delivery = form->setup->delivery;
	const struct delivery_recipient *state = &delivery->recipients[i];
	const struct recipient *recipient = report_recipient(form, i);
	enum notice notice = form->setup->notices[i];

	add_original_recipient(out, form, recipient->orcpt);
	add_final(out, form, recipient->address);
	add_line(out, "Action: ", SLICE(notice_rows[notice].action));
	add_line(out, "Status: ", status_of(notice, state->status));
	if (state->mx.len > 0)
		add_line(out, "Remote-MTA: dns; ", state->mx);
	add_diagnostic(out, state->reply);
	if (form->setup->attempt_ms > 0)
		add_date(out, "Last-Attempt-Date: ", form->setup->attempt_ms);
	if (notice == NOTICE_DELAYED)
		add_date(out, "Will-Retry-Until: ", form->setup->expires_ms);
}

void
report_add_status(struct text *out, const struct report_form *form)
{
	CLEAN(text_done) struct text fields = {0};

	add_message_fields(&fields, form);
	for (size_t i = 0; i < form->setup->delivery->recipients_count; i++) {
		if (form->setup->notices[i] == NOTICE_NONE)
			continue;
		text_add_string(&fields, "\r\n");
		add_recipient_fields(&fields, form, i);
	}
	text_addf(out, "Content-Type: message/%s\r\n",
		  form->is_utf8 ? "global-delivery-status"
				: "delivery-status");
	if (report_has_8bit(text_slice(&fields)))
		text_add_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	text_add_string(out, "\r\n");
	text_add(out, text_slice(&fields));
}
