#include "milter/encode.h"

#include "base/base64.h"

/* RFC 5322 2.1.1, without the CRLF. */
#define LINE_OCTETS_MAX 998
/* What is longer and cannot be broken does not fit behind the last place where
 * a line may end. */
#define BREAK_RUN_MAX (LINE_OCTETS_MAX - ENCODE_REFOLD_MAX - 1)

/* How a mailbox says where a message begins. */
#define ENCODE_FROM "From"

static_assert(ENCODE_LINE_MAX % 4 == 0, "whole groups of base64");
static_assert(ENCODE_REFOLD_MAX > ENCODE_LINE_MAX,
	      "lines as RFC 2045 has them stay");

const char *
encode_name(enum encode_kind kind)
{
	switch (kind) {
	case ENCODE_QUOTED_PRINTABLE:
		return "quoted-printable";
	case ENCODE_BASE64:
		return "base64";
	case ENCODE_NONE:
	case ENCODE_REFOLD_QUOTED:
	case ENCODE_REWRAP_BASE64:
		return NULL;
	}
	return NULL;
}

void
encode_init(struct encoder *encoder, enum encode_kind kind)
{
	*encoder = (struct encoder){.kind = kind};
}

/* --- quoted-printable --- */

static void
octet_escape(char c, struct text *out)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char octet = (unsigned char)c;

	text_add_byte(out, '=');
	text_add_byte(out, digits[octet >> 4]);
	text_add_byte(out, digits[octet & 15]);
}

/* Whether a line that goes on so would be changed on the way: with "-" it might
 * turn into a boundary; "From " becomes ">From " in a mailbox (RFC 2049 3). */
static bool
is_mistaken(size_t column, size_t from_len, char c)
{
	return (column == 0 && c == '-') ||
	       (column == strlen(ENCODE_FROM) && c == ' ' &&
		from_len == strlen(ENCODE_FROM));
}

/* How much of "From" the line begins with, now that it goes on so. */
static size_t
from_pass(size_t column, size_t from_len, char c)
{
	if (column == 0)
		from_len = 0;
	return from_len < strlen(ENCODE_FROM) && column == from_len &&
			       c == ENCODE_FROM[from_len]
		       ? from_len + 1
		       : from_len;
}

/* One octet, escaped or not; before it a soft line break where the line has no
 * room for it and for the "=" of the next one. */
static void
quoted_put(struct encoder *encoder, char c, bool is_escaped, struct text *out)
{
	if (encoder->column + (is_escaped ? 3 : 1) > ENCODE_LINE_MAX - 1) {
		text_add_string(out, "=\r\n");
		encoder->column = 0;
	}
	encoder->from_len = from_pass(encoder->column, encoder->from_len, c);
	if (is_escaped || is_mistaken(encoder->column, encoder->from_len, c)) {
		octet_escape(c, out);
		encoder->column += 3;
	} else {
		text_add_byte(out, c);
		encoder->column++;
	}
}

static void
quoted_put_held(struct encoder *encoder, bool ends_line, struct text *out)
{
	if (encoder->held_space != '\0')
		quoted_put(encoder, encoder->held_space, ends_line, out);
	encoder->held_space = '\0';
}

static void
quoted_feed(struct encoder *encoder, char c, struct text *out)
{
	if (encoder->has_cr) {
		encoder->has_cr = false;
		quoted_put_held(encoder, c == '\n', out);
		if (c == '\n') {
			text_add_string(out, "\r\n");
			encoder->column = 0;
			return;
		}
		quoted_put(encoder, '\r', true, out);
	}
	if (c == '\r') {
		encoder->has_cr = true;
		return;
	}
	quoted_put_held(encoder, false, out);
	if (ascii_is_wsp(c))
		encoder->held_space = c;
	else
		quoted_put(encoder, c, c < '!' || c > '~' || c == '=', out);
}

static void
quoted_finish(struct encoder *encoder, struct text *out)
{
	quoted_put_held(encoder, !encoder->has_cr, out);
	if (encoder->has_cr)
		quoted_put(encoder, '\r', true, out);
}

/* Takes the next octet; whether it stays with the one before. */
static bool
break_is_barred(struct encode_break *rule, char c)
{
	bool is_space = ascii_is_wsp(c);
	bool is_barred = rule->guard > 0 || (is_space && rule->behind_space);

	if (c == '=' || (is_space && rule->guard > 0))
		rule->guard = 2;
	else if (rule->guard > 0)
		rule->guard--;
	rule->behind_space = is_space;
	return is_barred;
}

static void
refold_put(struct encoder *encoder, char c, struct text *out)
{
	bool is_barred = break_is_barred(&encoder->rule, c);

	if (encoder->column >= ENCODE_REFOLD_MAX && !is_barred) {
		text_add_string(out, "=\r\n");
		encoder->column = 0;
		/* "F", of "From ", perhaps. */
		if (c == '-' || c == ENCODE_FROM[0]) {
			octet_escape(c, out);
			encoder->column = 3;
			return;
		}
	}
	text_add_byte(out, c);
	encoder->column++;
}

static void
refold_feed(struct encoder *encoder, char c, struct text *out)
{
	if (encoder->has_cr) {
		encoder->has_cr = false;
		if (c == '\n') {
			text_add_string(out, "\r\n");
			encoder->column = 0;
			encoder->rule = (struct encode_break){0};
			return;
		}
		refold_put(encoder, '\r', out);
	}
	if (c == '\r')
		encoder->has_cr = true;
	else
		refold_put(encoder, c, out);
}

/* --- base64 --- */

/* A line begins when there is something to write on it. */
static void
line_begin(struct encoder *encoder, struct text *out)
{
	if (encoder->column >= ENCODE_LINE_MAX) {
		text_add_string(out, "\r\n");
		encoder->column = 0;
	}
}

static void
base64_flush(struct encoder *encoder, struct text *out)
{
	if (encoder->group_len == 0)
		return;
	line_begin(encoder, out);
	base64_write(out, slice_of(encoder->group, encoder->group_len));
	encoder->column = ENCODE_LINE_MAX;
	encoder->group_len = 0;
}

static void
base64_feed(struct encoder *encoder, struct slice bytes, struct text *out)
{
	while (bytes.len > 0) {
		size_t len = sizeof(encoder->group) - encoder->group_len;

		if (len > bytes.len)
			len = bytes.len;
		memcpy(encoder->group + encoder->group_len, bytes.bytes, len);
		encoder->group_len += len;
		bytes = slice_from(bytes, len);
		if (encoder->group_len == sizeof(encoder->group))
			base64_flush(encoder, out);
	}
}

static void
rewrap_feed(struct encoder *encoder, char c, struct text *out)
{
	if (c == '\r' || c == '\n' || ascii_is_wsp(c))
		return;
	line_begin(encoder, out);
	text_add_byte(out, c);
	encoder->column++;
}

/* --- all --- */

void
encode_feed(struct encoder *encoder, struct slice bytes, struct text *out)
{
	size_t i;

	switch (encoder->kind) {
	case ENCODE_NONE:
		text_add(out, bytes);
		break;
	case ENCODE_BASE64:
		base64_feed(encoder, bytes, out);
		break;
	case ENCODE_QUOTED_PRINTABLE:
		for (i = 0; i < bytes.len; i++)
			quoted_feed(encoder, bytes.bytes[i], out);
		break;
	case ENCODE_REFOLD_QUOTED:
		for (i = 0; i < bytes.len; i++)
			refold_feed(encoder, bytes.bytes[i], out);
		break;
	case ENCODE_REWRAP_BASE64:
		for (i = 0; i < bytes.len; i++)
			rewrap_feed(encoder, bytes.bytes[i], out);
		break;
	}
}

void
encode_finish(struct encoder *encoder, struct text *out)
{
	switch (encoder->kind) {
	case ENCODE_NONE:
	case ENCODE_REWRAP_BASE64:
		break;
	case ENCODE_BASE64:
		base64_flush(encoder, out);
		break;
	case ENCODE_QUOTED_PRINTABLE:
		quoted_finish(encoder, out);
		break;
	case ENCODE_REFOLD_QUOTED:
		if (encoder->has_cr)
			refold_put(encoder, '\r', out);
		break;
	}
}

/* --- measuring --- */

void
encode_measure_init(struct encode_measure *measure)
{
	*measure = (struct encode_measure){.is_utf8 = true};
}

static void
utf8_begin(struct encode_measure *measure, unsigned char octet)
{
	measure->utf8_min = 0x80;
	measure->utf8_max = 0xbf;
	if (octet < 0x80) {
		measure->utf8_left = 0;
	} else if (octet >= 0xc2 && octet <= 0xdf) {
		measure->utf8_left = 1;
	} else if (octet >= 0xe0 && octet <= 0xef) {
		measure->utf8_left = 2;
		if (octet == 0xe0)
			measure->utf8_min = 0xa0; /* overlong */
		if (octet == 0xed)
			measure->utf8_max = 0x9f; /* surrogates */
	} else if (octet >= 0xf0 && octet <= 0xf4) {
		measure->utf8_left = 3;
		if (octet == 0xf0)
			measure->utf8_min = 0x90;
		if (octet == 0xf4)
			measure->utf8_max = 0x8f;
	} else {
		measure->is_utf8 = false;
	}
}

/* RFC 3629 4, octet by octet. */
static void
measure_utf8(struct encode_measure *measure, unsigned char octet)
{
	if (measure->utf8_left == 0) {
		utf8_begin(measure, octet);
	} else if (octet < measure->utf8_min || octet > measure->utf8_max) {
		measure->is_utf8 = false;
	} else {
		measure->utf8_left--;
		measure->utf8_min = 0x80;
		measure->utf8_max = 0xbf;
	}
}

static bool
is_base64_byte(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '+' || c == '/' ||
	       c == '=' || ascii_is_wsp(c);
}

static bool
is_escaped(const struct encode_measure *measure, char c)
{
	if (is_mistaken(measure->column, measure->from_len, c))
		return true;
	return !ascii_is_wsp(c) && (c < '!' || c > '~' || c == '=');
}

static void
measure_octet(struct encode_measure *measure, char c)
{
	measure->from_len = from_pass(measure->column, measure->from_len, c);
	if (is_escaped(measure, c))
		measure->escapes++;
	measure->column++;
	if (measure->column > LINE_OCTETS_MAX)
		measure->has_long_line = true;
	measure->run =
		break_is_barred(&measure->rule, c) ? measure->run + 1 : 1;
	if (measure->run > BREAK_RUN_MAX)
		measure->has_long_run = true;
	if (!is_base64_byte(c))
		measure->has_foreign = true;
	if ((unsigned char)c >= 0x80)
		measure->has_8bit = true;
}

static void
measure_feed(struct encode_measure *measure, char c)
{
	measure->size++;
	if (measure->is_utf8)
		measure_utf8(measure, (unsigned char)c);
	if (measure->has_cr) {
		measure->has_cr = false;
		if (c == '\n') {
			measure->escapes += measure->rule.behind_space;
			measure->column = measure->run = 0;
			measure->rule = (struct encode_break){0};
			return;
		}
		measure_octet(measure, '\r');
	}
	if (c == '\r')
		measure->has_cr = true;
	else
		measure_octet(measure, c);
}

void
encode_measure_feed(struct encode_measure *measure, struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		measure_feed(measure, bytes.bytes[i]);
}

bool
encode_measure_is_utf8(const struct encode_measure *measure)
{
	return measure->is_utf8 && measure->utf8_left == 0;
}

/* Quoting makes an octet three, base64 three octets four. */
static bool
quoting_is_shorter(const struct encode_measure *measure)
{
	return measure->escapes * 6 <= measure->size;
}

const char *
encode_choose(const struct encode_measure *measure, enum encode_given given,
	      bool is_text, enum encode_kind *kind_out)
{
	switch (given) {
	case ENCODE_GIVEN_NONE:
		*kind_out = is_text && quoting_is_shorter(measure)
				    ? ENCODE_QUOTED_PRINTABLE
				    : ENCODE_BASE64;
		return NULL;
	case ENCODE_GIVEN_QUOTED_PRINTABLE:
		if (measure->has_long_run)
			return "a quoted-printable part with a long run of "
			       "white space";
		*kind_out = ENCODE_REFOLD_QUOTED;
		return NULL;
	case ENCODE_GIVEN_BASE64:
		if (measure->has_foreign)
			return "a base64 part with other octets in it";
		*kind_out = ENCODE_REWRAP_BASE64;
		return NULL;
	}
	return NULL;
}
