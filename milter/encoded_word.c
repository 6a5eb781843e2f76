#include "milter/encoded_word.h"

#include "base/base64.h"
#include "milter/charset.h"
#include "milter/mailbox.h"
#include "milter/senders.h"

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
		high = ascii_hex(text.bytes[i + 1]);
		low = ascii_hex(text.bytes[i + 2]);
		if (high < 0 || low < 0)
			return false;
		text_add_byte(out, (char)(high * 16 + low));
		i += 2;
	}
	return true;
}

/* Some leave the padding out. */
static bool
b_read(struct text *out, struct slice encoded)
{
	CLEAN(text_done) struct text padded = {0};

	if (base64_read(out, encoded))
		return true;
	text_add(&padded, encoded);
	while (padded.len % 4 != 0)
		text_add_byte(&padded, '=');
	return base64_read(out, text_slice(&padded));
}

/* Encoded twice is for those who decode twice. */
static bool
is_more_than_a_name(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.bytes[i];

		if (c < 0x20 || c == 0x7f || c == '<' || c == '>' ||
		    c == '@' || slice_starts(slice_from(text, i), SLICE("=?")))
			return true;
	}
	return false;
}

static bool
is_allowed_address(struct slice text, const struct slice *allowed,
		   size_t allowed_count)
{
	ptrdiff_t at = slice_find(text, '@');
	struct slice local, domain;

	if (at < 0)
		return false;
	local = slice_sub(text, 0, (size_t)at);
	domain = slice_from(text, (size_t)at + 1);
	return mailbox_is_dot_atom(local) && slice_find(local, '?') < 0 &&
	       mailbox_is_dot_atom(domain) &&
	       senders_any_matches(allowed, allowed_count, local, domain);
}

enum word { WORD_NONE, WORD_FOUND, WORD_ENDLESS };

/* What begins behind "=?". *end_out: where it ends. ENDLESS: there is no "?="
 * from here on, for others no more than for this one. */
static enum word
word_find(struct slice rest, struct slice *charset, char *encoding,
	  struct slice *encoded, size_t *end_out)
{
	struct slice left = rest;

	if (!slice_split(&left, '?', charset) || left.len < 2 ||
	    left.bytes[1] != '?' ||
	    (ascii_lower(left.bytes[0]) != 'b' &&
	     ascii_lower(left.bytes[0]) != 'q'))
		return WORD_NONE;
	*encoding = left.bytes[0];
	left = slice_from(left, 2);
	for (size_t i = 0; i + 1 < left.len; i++)
		if (left.bytes[i] == '?' && left.bytes[i + 1] == '=') {
			*encoded = slice_sub(left, 0, i);
			*end_out = rest.len - left.len + i + 2;
			return WORD_FOUND;
		}
	return WORD_ENDLESS;
}

/* Appends it with nothing in ASCII's octets but ASCII. */
static bool
word_read(struct slice charset, char encoding, struct slice encoded,
	  struct text *out)
{
	return (ascii_lower(encoding) == 'b' ? b_read(out, encoded)
					     : q_read(out, encoded)) &&
	       charset_mask(charset, out);
}

/* Whether what stands around a word joins nothing to it. */
static bool
is_alone(struct slice before, struct slice behind)
{
	return slice_trim(before).len == 0 &&
	       slice_starts(slice_trim(behind), SLICE("<"));
}

const char *
encoded_words_problem(struct slice value, const struct slice *allowed,
		      size_t allowed_count)
{
	for (size_t i = 0; i + 1 < value.len; i++) {
		CLEAN(text_done) struct text text = {0};
		struct slice charset, encoded;
		char encoding;
		size_t end;
		enum word word;

		if (value.bytes[i] != '=' || value.bytes[i + 1] != '?')
			continue;
		word = word_find(slice_from(value, i + 2), &charset, &encoding,
				 &encoded, &end);
		if (word == WORD_ENDLESS)
			break;
		if (word == WORD_NONE)
			continue;
		end += i + 2;
		if (!word_read(charset, encoding, encoded, &text))
			return "an encoded word that cannot be read here";
		if (is_more_than_a_name(text_slice(&text)) &&
		    !(is_alone(slice_sub(value, 0, i),
			       slice_from(value, end)) &&
		      is_allowed_address(text_slice(&text), allowed,
					 allowed_count)))
			return "an encoded word that is more than a name";
		i = end - 1;
	}
	return NULL;
}
