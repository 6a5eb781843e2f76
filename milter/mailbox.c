#include "milter/mailbox.h"

/* A display name that is longer says nothing. */
#define NAME_MAX_OCTETS 200

/* RFC 5322 3.2.3. */
static bool
is_atext(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

bool
mailbox_is_dot_atom(struct slice text)
{
	char before = '.';

	for (size_t i = 0; i < text.len; i++) {
		char c = text.bytes[i];

		if (!is_atext(c) && (c != '.' || before == '.'))
			return false;
		before = c;
	}
	return before != '.';
}

static bool
is_phrase_byte(char c)
{
	return is_atext(c) || (unsigned char)c >= 0x80 || ascii_is_wsp(c);
}

/* The length of the quoted string at the front, 0: it does not end. */
static size_t
quoted_len(struct slice text)
{
	for (size_t i = 1; i < text.len; i++) {
		if (text.bytes[i] == '\\')
			i++;
		else if (text.bytes[i] == '"')
			return i + 1;
	}
	return 0;
}

bool
mailbox_is_quoted(struct slice local)
{
	for (size_t i = 0; i < local.len; i++)
		if (local.bytes[i] < ' ' || local.bytes[i] > '~')
			return false;
	return local.len > 0 && local.bytes[0] == '"' &&
	       quoted_len(local) == local.len;
}

void
mailbox_unquote(struct slice local, struct text *out)
{
	if (local.len < 2 || local.bytes[0] != '"' ||
	    local.bytes[local.len - 1] != '"') {
		text_add(out, local);
		return;
	}
	for (size_t i = 1; i + 1 < local.len; i++) {
		if (local.bytes[i] == '\\' && i + 2 < local.len)
			i++;
		text_add_byte(out, local.bytes[i]);
	}
}

/* RFC 5322 3.2.5, without what is obsolete. */
static bool
is_phrase(struct slice text)
{
	while (text.len > 0) {
		size_t len = 1;

		if (text.bytes[0] == '"')
			len = quoted_len(text);
		else if (!is_phrase_byte(text.bytes[0]))
			return false;
		if (len == 0)
			return false;
		text = slice_from(text, len);
	}
	return true;
}

/* What is no phrase as it stands. Within quotes nobody decodes encoded words
 * (RFC 2047 5); so where there are any, what cannot stand beside them goes. */
static void
phrase_mend(struct slice words, struct text *out)
{
	CLEAN(text_done) struct text plain = {0};
	bool is_encoded = false;

	for (size_t i = 0; i + 1 < words.len; i++)
		is_encoded |=
			words.bytes[i] == '=' && words.bytes[i + 1] == '?';
	for (size_t i = 0; i < words.len; i++) {
		char c = words.bytes[i];

		if (is_encoded && !is_phrase_byte(c))
			text_add_byte(&plain, ' ');
		else if (c != '"' && c != '\\')
			text_add_byte(&plain, c);
	}
	words = slice_trim(text_slice(&plain));
	if (words.len > 0 && is_encoded)
		text_add(out, words);
	else if (words.len > 0)
		text_addf(out, "\"%.*s\"", SLICE_ARG(words));
}

/* Where the address begins, "<", or the comment that is a name, "(". Behind a
 * quotation mark that nothing ends there are only escaped ones, which nothing
 * ends either: to look again would take the square of the length. */
static size_t
name_end(struct slice value, char wanted)
{
	bool is_open = false;

	for (size_t i = 0; i < value.len; i++) {
		if (value.bytes[i] == wanted)
			return i;
		if (value.bytes[i] == '"' && !is_open) {
			size_t len = quoted_len(slice_from(value, i));

			is_open = len == 0;
			if (len > 0)
				i += len - 1;
		}
	}
	return value.len;
}

void
mailbox_unfold(struct slice value, struct text *out)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (c == '\t')
			c = ' ';
		if ((unsigned char)c >= ' ' && c != 0x7f)
			text_add_byte(out, c);
	}
}

void
mailbox_name_write(struct slice value, struct text *out)
{
	CLEAN(text_done) struct text line = {0};
	struct slice name;
	size_t end;

	mailbox_unfold(value, &line);
	value = text_slice(&line);
	end = name_end(value, '<');
	name = slice_trim(slice_sub(value, 0, end));
	if (end == value.len) {
		end = name_end(value, '(');
		name = slice_from(value, end + (end < value.len));
		end = name_end(name, ')');
		name = slice_trim(slice_sub(name, 0, end));
	}
	if (name.len == 0 || name.len > NAME_MAX_OCTETS ||
	    slice_find(name, '@') >= 0)
		return;
	if (is_phrase(name) && slice_find(value, '<') >= 0)
		text_add(out, name);
	else
		phrase_mend(name, out);
}

struct slice
mailbox_local(struct slice value)
{
	size_t end = name_end(value, '<');
	ptrdiff_t at;

	if (end < value.len) {
		value = slice_from(value, end + 1);
		value = slice_sub(value, 0, name_end(value, '>'));
	} else {
		value = slice_sub(value, 0, name_end(value, '('));
	}
	at = slice_find_last(value, '@');
	return slice_trim(at < 0 ? value : slice_sub(value, 0, (size_t)at));
}
