#include "base/slice.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lanes.h"

#define TEXT_SIZE_MIN 64
/* What most of what is formatted needs: it is then formatted once. */
#define FORMATTED_GUESS 31

bool
slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

bool
slice_eq_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.bytes[i]) != ascii_lower(b.bytes[i]))
			return false;
	return true;
}

bool
slice_starts(struct slice slice, struct slice prefix)
{
	return slice.len >= prefix.len &&
	       slice_eq(slice_sub(slice, 0, prefix.len), prefix);
}

bool
slice_starts_nocase(struct slice slice, struct slice prefix)
{
	return slice.len >= prefix.len &&
	       slice_eq_nocase(slice_sub(slice, 0, prefix.len), prefix);
}

bool
slice_ends_nocase(struct slice slice, struct slice suffix)
{
	return slice.len >= suffix.len &&
	       slice_eq_nocase(slice_from(slice, slice.len - suffix.len),
			       suffix);
}

int
slice_compare(struct slice a, struct slice b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common == 0 ? 0 : memcmp(a.bytes, b.bytes, common);

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

ptrdiff_t
slice_find(struct slice slice, char byte)
{
	const char *at = slice.len == 0
				 ? NULL
				 : memchr(slice.bytes, byte, slice.len);

	return at == NULL ? -1 : at - slice.bytes;
}

ptrdiff_t
slice_find_last(struct slice slice, char byte)
{
	const char *at = slice.len == 0
				 ? NULL
				 : memrchr(slice.bytes, byte, slice.len);

	return at == NULL ? -1 : at - slice.bytes;
}

static bool
is_space(char c)
{
	return ascii_is_wsp(c) || c == '\r' || c == '\n';
}

/* Four at a time: one alone waits for the one before it. */
#define ASCII_BLOCK (4 * LANES)

bool
slice_is_ascii(struct slice slice)
{
	lanes all[4] = {{0}};
	signed char rest = 0;
	size_t i = 0;

	for (; slice.len - i >= ASCII_BLOCK; i += ASCII_BLOCK)
		for (size_t j = 0; j < COUNT(all); j++)
			all[j] |= lanes_load(slice.bytes + i + j * LANES);
	for (; i < slice.len; i++)
		rest |= (signed char)slice.bytes[i];
	return rest >= 0 &&
	       !lanes_any((all[0] | all[1] | all[2] | all[3]) < 0);
}

struct slice
slice_trim(struct slice slice)
{
	while (slice.len > 0 && is_space(slice.bytes[0]))
		slice = slice_from(slice, 1);
	while (slice.len > 0 && is_space(slice.bytes[slice.len - 1]))
		slice.len--;
	return slice;
}

bool
slice_split(struct slice *rest, char separator, struct slice *part)
{
	ptrdiff_t at;

	if (rest->len == 0)
		return false;
	at = slice_find(*rest, separator);
	if (at < 0) {
		*part = *rest;
		*rest = slice_from(*rest, rest->len);
	} else {
		*part = slice_sub(*rest, 0, (size_t)at);
		*rest = slice_from(*rest, (size_t)at + 1);
	}
	return true;
}

bool
slice_number(struct slice slice, uint64_t *number_out)
{
	uint64_t number = 0;

	if (slice.len == 0)
		return false;
	for (size_t i = 0; i < slice.len; i++) {
		if (!ascii_is_digit(slice.bytes[i]))
			return false;
		if (__builtin_mul_overflow(number, 10u, &number) ||
		    __builtin_add_overflow(
			    number, (uint64_t)(slice.bytes[i] - '0'), &number))
			return false;
	}
	*number_out = number;
	return true;
}

uint64_t
slice_hash(struct slice slice)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < slice.len; i++)
		hash = (hash ^ (unsigned char)slice.bytes[i]) *
		       0x100000001b3u;
	return hash;
}

static bool
is_continuation(struct slice slice, size_t at)
{
	return at < slice.len && ((unsigned char)slice.bytes[at] & 0xc0) == 0x80;
}

size_t
slice_utf8_length(struct slice slice, size_t at)
{
	unsigned char lead = (unsigned char)slice.bytes[at];
	unsigned char second = at + 1 < slice.len
				       ? (unsigned char)slice.bytes[at + 1]
				       : 0;
	size_t len = lead < 0x80	    ? 1
		     : lead < 0xc2	    ? 0
		     : lead < 0xe0	    ? 2
		     : lead < 0xf0	    ? 3
		     : lead < 0xf5	    ? 4
					    : 0;

	for (size_t i = 1; i < len; i++)
		if (!is_continuation(slice, at + i))
			return 0;
	if ((lead == 0xe0 && second < 0xa0) ||
	    (lead == 0xed && second > 0x9f) ||
	    (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
		return 0;
	return len;
}

char *
slice_dup(struct slice slice)
{
	char *copy = memory_new(slice.len + 1);

	if (slice.len > 0)
		memcpy(copy, slice.bytes, slice.len);
	return copy;
}

void
text_done(struct text *text)
{
	free(text->bytes);
	*text = (struct text){0};
}

void
secret_cleanse(struct text *secret)
{
	if (secret->bytes != NULL)
		explicit_bzero(secret->bytes, secret->size);
	text_done(secret);
}

void
text_clear(struct text *text)
{
	text->len = 0;
	if (text->bytes != NULL)
		text->bytes[0] = '\0';
}

void
text_fit(struct text *text)
{
	if (text->size <= text->len + 1)
		return;
	text->size = text->len + 1;
	text->bytes = memory_grow(text->bytes, text->size);
}

char *
text_grow(struct text *text, size_t len)
{
	size_t needed, size = text->size * 2;

	ASSERT(!__builtin_add_overflow(text->len, len, &needed));
	ASSERT(!__builtin_add_overflow(needed, 1u, &needed));
	if (size < TEXT_SIZE_MIN)
		size = TEXT_SIZE_MIN;
	/* For the little that usually follows. */
	if (size < needed)
		size = needed + TEXT_SIZE_MIN;
	text->bytes = memory_grow(text->bytes, size);
	text->size = size;
	return text->bytes + text->len;
}

void
text_add(struct text *text, struct slice bytes)
{
	if (bytes.len == 0)
		return;
	memcpy(text_room(text, bytes.len), bytes.bytes, bytes.len);
	text_added(text, bytes.len);
}

void
text_add_byte(struct text *text, char byte)
{
	*text_room(text, 1) = byte;
	text_added(text, 1);
}

void
text_addf(struct text *text, const char *format, ...)
{
	va_list args, again;
	char *room;
	int length;

	ASSERT(format != NULL);
	va_start(args, format);
	va_copy(again, args);
	room = text_room(text, FORMATTED_GUESS);
	length = vsnprintf(room, text->size - text->len, format, args);
	va_end(args);
	ASSERT(length >= 0);
	if ((size_t)length >= text->size - text->len)
		vsnprintf(text_room(text, (size_t)length), (size_t)length + 1,
			  format, again);
	va_end(again);
	text_added(text, (size_t)length);
}

void
text_drop_front(struct text *text, size_t len)
{
	ASSERT(len <= text->len);
	if (len == 0)
		return;
	memmove(text->bytes, text->bytes + len, text->len - len);
	text->len -= len;
	text->bytes[text->len] = '\0';
}

const char *
text_string(struct text *text)
{
	return text->bytes == NULL ? "" : text->bytes;
}

char *
text_take(struct text *text)
{
	char *bytes = text->bytes == NULL ? memory_new(1) : text->bytes;

	*text = (struct text){0};
	return bytes;
}

/* --- JSON --- */

/* The character at the start, of which `len` bytes are its UTF-8. */
static uint32_t
utf8_code(const char *bytes, size_t len)
{
	uint32_t code = (unsigned char)bytes[0];

	if (len > 1)
		code &= 0xffu >> (len + 1);
	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char)bytes[i] & 0x3f);
	return code;
}

static bool
is_unsafe(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) ||
	       (code >= 0x200b && code <= 0x200f) ||
	       (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

bool
slice_utf8_is_unsafe(struct slice slice, size_t length)
{
	return is_unsafe(utf8_code(slice.bytes, length));
}

static void
text_escape(struct text *out, uint32_t code)
{
	switch (code) {
	case '\n':
		text_add_string(out, "\\n");
		return;
	case '\r':
		text_add_string(out, "\\r");
		return;
	case '\t':
		text_add_string(out, "\\t");
		return;
	default:
		text_addf(out, "\\u%04x", (unsigned)code);
	}
}

/* What stands before the first byte of which more is to be known. */
static struct slice
json_plain(struct slice value)
{
	size_t len = 0;

	while (len < value.len && value.bytes[len] >= ' ' &&
	       value.bytes[len] < 0x7f && value.bytes[len] != '"' &&
	       value.bytes[len] != '\\')
		len++;
	return slice_sub(value, 0, len);
}

void
text_add_quoted(struct text *text, struct slice bytes)
{
	text_add_byte(text, '"');
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.bytes[i] == '"' || bytes.bytes[i] == '\\')
			text_add_byte(text, '\\');
		text_add_byte(text, bytes.bytes[i]);
	}
	text_add_byte(text, '"');
}

void
text_add_json(struct text *out, struct slice value)
{
	text_add_byte(out, '"');
	for (;;) {
		struct slice plain = json_plain(value);
		size_t len;
		uint32_t code;

		text_add(out, plain);
		value = slice_from(value, plain.len);
		if (value.len == 0)
			break;
		len = slice_utf8_length(value, 0);
		code = utf8_code(value.bytes, len);
		if (len == 0) {
			text_add_string(out, "\xef\xbf\xbd");
			len = 1;
		} else if (is_unsafe(code)) {
			text_escape(out, code);
		} else {
			if (code == '"' || code == '\\')
				text_add_byte(out, '\\');
			text_add(out, slice_sub(value, 0, len));
		}
		value = slice_from(value, len);
	}
	text_add_byte(out, '"');
}
