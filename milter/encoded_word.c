#include "milter/encoded_word.h"

#include "base/base64.h"

static int
hex_value(char c)
{
	c = ascii_lower(c);
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 2047 4.2 */
static bool
q_read(struct text *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		int high, low;

		if (text.bytes[i] != '=') {
			text_add_byte(out, text.bytes[i] == '_'
						   ? ' '
						   : text.bytes[i]);
			continue;
		}
		if (text.len - i < 3)
			return false;
		high = hex_value(text.bytes[i + 1]);
		low = hex_value(text.bytes[i + 2]);
		if (high < 0 || low < 0)
			return false;
		text_add_byte(out, (char)(high * 16 + low));
		i += 2;
	}
	return true;
}

/* Their octets are those of ASCII, which mean something else. */
static bool
is_odd(struct slice charset)
{
	return slice_starts_nocase(charset, SLICE("utf-7")) ||
	       slice_starts_nocase(charset, SLICE("utf-16")) ||
	       slice_starts_nocase(charset, SLICE("utf-32")) ||
	       slice_starts_nocase(charset, SLICE("ucs")) ||
	       slice_starts_nocase(charset, SLICE("iso-10646")) ||
	       slice_starts_nocase(charset, SLICE("unicode"));
}

/* Between ESC $ and ESC ( two octets of ISO 2022 are one character. */
static bool
is_more_than_a_name(struct slice text, bool is_iso_2022)
{
	bool is_wide = false;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.bytes[i];

		if (is_iso_2022 && c == 0x1b && text.len - i > 2) {
			is_wide = text.bytes[i + 1] == '$';
			i += 2;
		} else if (c < 0x20 || c == 0x7f ||
			   (!is_wide && (c == '<' || c == '>' || c == '@'))) {
			return true;
		}
	}
	return false;
}

static bool
word_hides(struct slice charset, char encoding, struct slice encoded)
{
	CLEAN(text_done) struct text text = {0};
	bool is_read = ascii_lower(encoding) == 'b'
			       ? base64_read(&text, encoded)
			       : q_read(&text, encoded);

	return !is_read || is_odd(charset) ||
	       is_more_than_a_name(
		       text_slice(&text),
		       slice_starts_nocase(charset, SLICE("iso-2022-")));
}

/* What begins behind "=?". *end_out: where it ends. */
static bool
word_find(struct slice rest, struct slice *charset, char *encoding,
	  struct slice *encoded, size_t *end_out)
{
	struct slice left = rest;

	if (!slice_split(&left, '?', charset) || left.len < 2 ||
	    left.bytes[1] != '?' ||
	    (ascii_lower(left.bytes[0]) != 'b' &&
	     ascii_lower(left.bytes[0]) != 'q'))
		return false;
	*encoding = left.bytes[0];
	left = slice_from(left, 2);
	for (size_t i = 0; i + 1 < left.len; i++)
		if (left.bytes[i] == '?' && left.bytes[i + 1] == '=') {
			*encoded = slice_sub(left, 0, i);
			*end_out = rest.len - left.len + i + 2;
			return true;
		}
	return false;
}

bool
encoded_words_hide(struct slice value)
{
	for (size_t i = 0; i + 1 < value.len; i++) {
		struct slice charset, encoded;
		char encoding;
		size_t end;

		if (value.bytes[i] != '=' || value.bytes[i + 1] != '?' ||
		    !word_find(slice_from(value, i + 2), &charset, &encoding,
			       &encoded, &end))
			continue;
		if (word_hides(charset, encoding, encoded))
			return true;
		i += 1 + end;
	}
	return false;
}
