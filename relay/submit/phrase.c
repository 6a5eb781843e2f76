#include "relay/submit/phrase.h"

#include "base/base64.h"

#define COLUMNS 76
/* Behind the name of its field it still fits. */
#define PLAIN_WORD_MAX 64
#define WORD_BEGIN "=?utf-8?B?"
#define WORD_END "?="
/* At least of one encoded word: a character, whatever it is. */
#define WORD_OCTETS_MIN 4

/* Octets that an encoded word can carry behind that column. */
static size_t
word_room(size_t column)
{
	size_t used = column + strlen(WORD_BEGIN WORD_END);
	size_t room = used < COLUMNS ? (COLUMNS - used) / 4 * 3 : 0;

	return room > WORD_OCTETS_MIN ? room : WORD_OCTETS_MIN;
}

/* Whole characters: RFC 2047 5 (3). */
static size_t
word_len(struct slice words, size_t room)
{
	size_t len = 0;

	while (len < words.len) {
		size_t next = slice_utf8_length(words, len);

		if (next == 0)
			next = 1; /* not UTF-8: what it is unknown */
		if (len + next > room)
			break;
		len += next;
	}
	return len;
}

static void
encoded_words_write(struct slice words, size_t column, struct text *out)
{
	while (words.len > 0) {
		size_t len = word_len(words, word_room(column));

		text_add_string(out, WORD_BEGIN);
		base64_write(out, slice_sub(words, 0, len));
		text_add_string(out, WORD_END);
		words = slice_from(words, len);
		if (words.len > 0)
			text_add_string(out, "\r\n ");
		column = strlen(" ");
	}
}

static bool
is_atoms(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alpha(name.bytes[i]) &&
		    !ascii_is_digit(name.bytes[i]) &&
		    (name.bytes[i] == '\0' ||
		     strchr(" -'_", name.bytes[i]) == NULL))
			return false;
	return true;
}

void
phrase_write(struct slice name, size_t column, struct text *out)
{
	if (!slice_is_ascii(name)) {
		encoded_words_write(name, column, out);
		return;
	}
	if (is_atoms(name)) {
		text_add(out, name);
		return;
	}
	text_add_byte(out, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.bytes[i] == '"' || name.bytes[i] == '\\')
			text_add_byte(out, '\\');
		if (name.bytes[i] >= ' ' && name.bytes[i] != 0x7f)
			text_add_byte(out, name.bytes[i]);
	}
	text_add_byte(out, '"');
}

/* ---- unstructured ---- */

/* Where it can be folded, and what comes of it is the same: not if it begins or
 * ends with a space, if a line would be of spaces alone, if a word is too long
 * for a line, or if it looks as if it was encoded already. */
static bool
is_plain(struct slice words)
{
	size_t run = 0;

	if (!slice_is_ascii(words))
		return false;
	if (words.len > 0 && (words.bytes[0] == ' ' ||
			      words.bytes[words.len - 1] == ' '))
		return false;
	for (size_t i = 0; i < words.len; i++) {
		struct slice rest = slice_from(words, i);

		run = words.bytes[i] == ' ' ? 0 : run + 1;
		if (run > PLAIN_WORD_MAX || slice_starts(rest, SLICE("=?")) ||
		    slice_starts(rest, SLICE("  ")))
			return false;
	}
	return true;
}

void
phrase_write_value(struct slice words, size_t column, struct text *out)
{
	if (is_plain(words))
		phrase_fold(words, column, out);
	else
		encoded_words_write(words, column, out);
}

void
phrase_fold(struct slice words, size_t column, struct text *out)
{
	struct slice word;
	bool is_first = true;

	while (slice_split(&words, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (is_first) {
			text_add(out, word);
		} else if (column + 1 + word.len > COLUMNS) {
			text_add_string(out, "\r\n ");
			text_add(out, word);
			column = 0;
		} else {
			text_add_byte(out, ' ');
			text_add(out, word);
		}
		column += !is_first + word.len;
		is_first = false;
	}
}
