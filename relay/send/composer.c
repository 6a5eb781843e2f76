#include "relay/send/composer.h"

#include "base/clock.h"
#include "milter/encode.h"
#include "relay/send/media_type.h"
#include "relay/submit/phrase.h"

/* RFC 5322 2.1.1: what a line should not exceed. */
#define COLUMNS 78
/* Of a parameter's value in one line (RFC 2231 3). */
#define VALUE_PIECE_MAX 54

static void
line_add(struct text *out, const char *name, struct slice value)
{
	if (value.len == 0)
		return;
	text_addf(out, "%s: %.*s\r\n", name, SLICE_ARG(value));
}

/* ---- text ---- */

/* With CRLF at the end of each line, the last one too. */
static void
lines_write(struct slice text, struct text *out)
{
	struct slice line;

	while (slice_split(&text, '\n', &line)) {
		if (line.len > 0 && line.bytes[line.len - 1] == '\r')
			line.len--;
		text_add(out, line);
		text_add_string(out, "\r\n");
	}
}

/* Whether each line may go as it stands: ASCII, not too long, nothing in it that
 * hosts change. */
static bool
lines_are_plain(struct slice lines)
{
	struct slice line;

	while (slice_split(&lines, '\n', &line)) {
		if (line.len - 1 > COLUMNS || !slice_is_ascii(line) ||
		    slice_starts(line, SLICE("From ")) ||
		    slice_find(line, '\0') >= 0 ||
		    (size_t)slice_find(line, '\r') != line.len - 1)
			return false;
	}
	return true;
}

/* Fields and content of a part of text. */
static bool
text_write(const char *subtype, struct slice text, struct text *out,
	   struct fault *fault)
{
	CLEAN(text_done) struct text lines = {0};
	struct encode_measure measure;
	struct encoder encoder;
	enum encode_kind kind = ENCODE_NONE;

	lines_write(text, &lines);
	encode_measure_init(&measure);
	encode_measure_feed(&measure, text_slice(&lines));
	if (!encode_measure_is_utf8(&measure))
		return fault_set(fault, FAULT_INPUT,
				 "the text is not UTF-8; attach it, or convert "
				 "it (iconv -t UTF-8)");
	if (!lines_are_plain(text_slice(&lines)) &&
	    encode_choose(&measure, ENCODE_GIVEN_NONE, true, &kind) != NULL)
		kind = ENCODE_BASE64;
	text_addf(out, "Content-Type: text/%s; charset=%s\r\n", subtype,
		  measure.has_8bit ? "utf-8" : "us-ascii");
	line_add(out, "Content-Transfer-Encoding",
		 SLICE(kind == ENCODE_NONE ? "7bit" : encode_name(kind)));
	text_add_string(out, "\r\n");
	encode_init(&encoder, kind);
	encode_feed(&encoder, text_slice(&lines), out);
	encode_finish(&encoder, out);
	if (kind == ENCODE_BASE64)
		text_add_string(out, "\r\n");
	return true;
}

/* ---- parameters: RFC 2045 5.1, RFC 2231 ---- */

/* RFC 2231 7: attribute-char. */
static bool
is_attribute_char(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) ||
	       (c != '\0' && strchr("!#$&+-.^_`{|}~", c) != NULL);
}

static bool
is_plain_value(struct slice value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.bytes[i] < ' ' || value.bytes[i] > '~')
			return false;
	return value.len <= VALUE_PIECE_MAX;
}

/* As many octets as fit, encoded; never none. */
static void
piece_encode(struct slice *value, struct text *out)
{
	size_t used = 0, i = 0;

	for (; i < value->len && used < VALUE_PIECE_MAX; i++) {
		char c = value->bytes[i];

		if (is_attribute_char(c)) {
			text_add_byte(out, c);
			used++;
		} else {
			text_addf(out, "%%%02X", (unsigned char)c);
			used += strlen("%XX");
		}
	}
	*value = slice_from(*value, i);
}

/* Each on a line of its own, behind what stands there. */
static void
parameter_write(const char *name, struct slice value, struct text *out)
{
	if (is_plain_value(value)) {
		text_addf(out, ";\r\n %s=", name);
		text_add_quoted(out, value);
		return;
	}
	for (unsigned i = 0; i == 0 || value.len > 0; i++) {
		text_addf(out, ";\r\n %s*%u*=%s", name, i,
			  i == 0 ? "utf-8''" : "");
		piece_encode(&value, out);
	}
}

/* ---- attachments ---- */

static bool
is_utf8_text(struct slice bytes)
{
	struct encode_measure measure;

	encode_measure_init(&measure);
	encode_measure_feed(&measure, bytes);
	return encode_measure_is_utf8(&measure) &&
	       slice_find(bytes, '\0') < 0;
}

/* Nothing of it may change, so it is not text to the encoder. */
static void
attachment_write(const struct attachment *attachment, struct text *out)
{
	const char *type = media_type_of(attachment->name);
	bool is_text = slice_starts(SLICE(type), SLICE("text/"));
	struct encoder encoder;

	if (is_text && !is_utf8_text(attachment->bytes)) {
		type = MEDIA_TYPE_NONE;
		is_text = false;
	}
	text_addf(out, "Content-Type: %s%s", type,
		  is_text ? "; charset=utf-8" : "");
	text_add_string(out, "\r\nContent-Disposition: attachment");
	parameter_write("filename", attachment->name, out);
	text_add_string(out, "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
	encode_init(&encoder, ENCODE_BASE64);
	encode_feed(&encoder, attachment->bytes, out);
	encode_finish(&encoder, out);
	if (attachment->bytes.len > 0)
		text_add_string(out, "\r\n");
}

/* ---- the structure ---- */

/* "=_" stands in no quoted-printable text (RFC 2045 6.7), and the ID nowhere. */
static void
boundary_add(const struct composition *composition, char level,
	     struct text *out)
{
	struct slice rest = composition->message_id, id = SLICE_NONE;

	slice_split(&rest, '@', &id);
	text_addf(out, "=_%.*s_%c", SLICE_ARG(id), level);
}

static void
multipart_begin(const struct composition *composition, const char *subtype,
		char level, struct text *out)
{
	text_addf(out, "Content-Type: multipart/%s;\r\n boundary=\"", subtype);
	boundary_add(composition, level, out);
	text_add_string(out, "\"\r\n\r\n");
}

static void
delimiter_add(const struct composition *composition, char level, bool is_last,
	      struct text *out)
{
	text_add_string(out, "\r\n--");
	boundary_add(composition, level, out);
	text_add_string(out, is_last ? "--\r\n" : "\r\n");
}

static bool
alternative_write(const struct composition *composition, struct text *out,
		  struct fault *fault)
{
	multipart_begin(composition, "alternative", 'a', out);
	delimiter_add(composition, 'a', false, out);
	if (!text_write("plain", composition->text, out, fault))
		return fault_within(fault, "text");
	delimiter_add(composition, 'a', false, out);
	if (!text_write("html", composition->html, out, fault))
		return fault_within(fault, "HTML");
	delimiter_add(composition, 'a', true, out);
	return true;
}

/* What is to be read: fields and content. */
static bool
reading_write(const struct composition *composition, struct text *out,
	      struct fault *fault)
{
	if (composition->has_text && composition->has_html)
		return alternative_write(composition, out, fault);
	if (composition->has_html)
		return text_write("html", composition->html, out, fault) ||
		       fault_within(fault, "HTML");
	return text_write("plain", composition->text, out, fault) ||
	       fault_within(fault, "text");
}

static bool
content_write(const struct composition *composition, struct text *out,
	      struct fault *fault)
{
	if (composition->attachments_count == 0)
		return reading_write(composition, out, fault);
	multipart_begin(composition, "mixed", 'm', out);
	if (composition->has_text || composition->has_html) {
		delimiter_add(composition, 'm', false, out);
		if (!reading_write(composition, out, fault))
			return false;
	}
	for (size_t i = 0; i < composition->attachments_count; i++) {
		delimiter_add(composition, 'm', false, out);
		attachment_write(&composition->attachments[i], out);
	}
	delimiter_add(composition, 'm', true, out);
	return true;
}

bool
compose(const struct composition *composition, struct text *out,
	size_t *header_len_out, struct fault *fault)
{
	size_t begin = out->len;
	char date[CLOCK_DATE_SIZE];

	clock_write_date(composition->wall_ms, date);
	line_add(out, "Date", SLICE(date));
	line_add(out, "From", composition->from);
	line_add(out, "To", composition->to);
	line_add(out, "Cc", composition->cc);
	text_add_string(out, "Subject: ");
	phrase_write_value(composition->subject, strlen("Subject: "), out);
	text_addf(out, "\r\nMessage-ID: <%.*s>\r\nMIME-Version: 1.0\r\n",
		  SLICE_ARG(composition->message_id));
	if (!content_write(composition, out, fault))
		return false;
	*header_len_out = out->len;
	for (size_t i = begin + 3; i < out->len; i++)
		if (memcmp(out->bytes + i - 3, "\r\n\r\n", 4) == 0) {
			*header_len_out = i + 1 - begin;
			break;
		}
	return true;
}
