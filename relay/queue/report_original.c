#include "relay/queue/report_private.h"

#include "milter/header.h"
#include "milter/mime.h"

/*
 * The original's first lines are the fields that we had put on top, but for our
 * signatures: those are for bytes that may now be encoded anew on their way.
 *
 *	header       returned as
 *	ASCII        text/rfc822-headers, message/rfc822
 *	SMTPUTF8     message/global-headers, message/global (RFC 6533), encoded
 *	             where the report does not need SMTPUTF8 itself
 *	other 8-bit  text/rfc822-headers, encoded (RFC 6522 4)
 */

static void
add_on_top(struct text *out, const struct message *message)
{
	struct slice rest = message->prefix, field, name, value;

	while (mime_field_next(&rest, &field)) {
		if (field.len <= 2 ||
		    header_field_parse(slice_sub(field, 0, field.len - 2),
				       &name, &value) != NULL ||
		    slice_eq_nocase(name, SLICE("DKIM-Signature")))
			continue;
		text_add(out, field);
	}
}

/* --- as a whole --- */

/* CRLF ends each line, none is too long, and there is no NUL. */
static bool
has_good_lines(struct slice bytes)
{
	size_t line = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.bytes[i];
		bool is_end = c == '\n' && i > 0 && bytes.bytes[i - 1] == '\r';

		if (c == '\0' || (c == '\n' && !is_end) ||
		    (c == '\r' &&
		     (i + 1 == bytes.len || bytes.bytes[i + 1] != '\n')))
			return false;
		line = is_end ? 0 : line + 1;
		if (line > REPORT_LINE_MAX + 1) /* and its CR */
			return false;
	}
	return true;
}

bool
report_may_be_whole(const struct report_setup *setup)
{
	return setup->is_whole && has_good_lines(setup->original) &&
	       has_good_lines(setup->delivery->message->prefix);
}

/* --- its header --- */

/* Up to the empty line, on lines that may be sent. A line is cut where nothing
 * encodes it. */
static void
add_header_lines(struct text *out, struct slice header, size_t line_max)
{
	struct slice line;

	while (slice_split(&header, '\n', &line)) {
		if (line.len > 0 && line.bytes[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0)
			return;
		line = slice_sub(line, 0, line_max);
		for (size_t i = 0; i < line.len; i++) {
			char c = line.bytes[i];

			text_add_byte(out, c == '\0' || c == '\r' ? '?' : c);
		}
		text_add_string(out, "\r\n");
	}
}

static bool
is_utf8(struct slice bytes)
{
	struct encode_measure measure;

	encode_measure_init(&measure);
	encode_measure_feed(&measure, bytes);
	return encode_measure_is_utf8(&measure);
}

/* --- the part --- */

/* Where 8-bit text is in the way, as quoted-printable; header fields stay
 * readable. */
static void
add_content(struct text *out, struct slice content, bool is_encoded)
{
	struct encoder encoder;

	if (!is_encoded) {
		if (report_has_8bit(content))
			text_add_string(out, "Content-Transfer-Encoding: "
					     "8bit\r\n");
		text_add_string(out, "\r\n");
		text_add(out, content);
		return;
	}
	text_add_string(out, "Content-Transfer-Encoding: "
			     "quoted-printable\r\n\r\n");
	encode_init(&encoder, ENCODE_QUOTED_PRINTABLE);
	encode_feed(&encoder, content, out);
	encode_finish(&encoder, out);
}

/* message/rfc822 must not be encoded (RFC 2046 5.2.1): where it would have to be,
 * report_make() asks for the header alone. */
static bool
has_to_be_encoded(const struct report_form *form, bool is_global)
{
	return is_global ? !form->is_utf8 : !form->is_whole;
}

static const char *
type_of(const struct report_form *form, bool is_global)
{
	if (form->is_whole)
		return is_global ? "message/global" : "message/rfc822";
	return is_global ? "message/global-headers" : "text/rfc822-headers";
}

void
report_add_original(struct text *out, const struct report_form *form)
{
	CLEAN(text_done) struct text content = {0}, on_top = {0};
	const struct message *message = form->message;
	struct slice original = form->setup->original;
	struct slice header = slice_sub(
		original, 0, (size_t)message->body.header_len);
	bool is_8bit = report_has_8bit(header) ||
		       report_has_8bit(message->prefix);
	bool is_global = is_8bit && message->declared_smtputf8 &&
			 is_utf8(header) && is_utf8(message->prefix);
	bool is_encoded = is_8bit && has_to_be_encoded(form, is_global);
	size_t line_max = is_encoded ? SIZE_MAX : REPORT_LINE_MAX;

	add_on_top(&on_top, message);
	if (form->is_whole) {
		text_add(&content, text_slice(&on_top));
		text_add(&content, original);
	} else {
		add_header_lines(&content, text_slice(&on_top), line_max);
		add_header_lines(&content, header, line_max);
	}
	text_addf(out, "Content-Type: %s\r\n", type_of(form, is_global));
	add_content(out, text_slice(&content), is_encoded);
}
