/*
 * slice - bytes that somebody else owns; text - bytes that grow.
 *
 * A slice is a pointer and a length, never NUL-terminated by promise, and may
 * hold any byte. An empty slice may have a NULL pointer. A text owns its
 * memory, grows by doubling and always keeps one NUL behind its bytes, so
 * text_string() can be handed to a library.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/clean.h"

struct slice {
	const char *bytes;
	size_t len;
};

struct text {
	char *bytes;
	size_t len, size;
};

/* Of a NUL-terminated string; SLICE_LITERAL for constants in tables. */
#define SLICE(string) slice_of_string(string)
#define SLICE_LITERAL(literal) { (literal), sizeof(literal) - 1 }
#define SLICE_NONE ((struct slice){NULL, 0})
/* For "%.*s". */
#define SLICE_ARG(slice) (int)(slice).len, ((slice).bytes ? (slice).bytes : "")

static inline struct slice
slice_of(const void *bytes, size_t len)
{
	return (struct slice){(const char *)bytes, len};
}

static inline struct slice
slice_of_string(const char *string)
{
	return (struct slice){string, string != NULL ? strlen(string) : 0};
}

/* Cuts: from is bounded by the length, and so is len. */
static inline struct slice
slice_from(struct slice slice, size_t from)
{
	if (from > slice.len)
		from = slice.len;
	if (from == 0)
		return slice;
	return slice_of(slice.bytes + from, slice.len - from);
}

static inline struct slice
slice_sub(struct slice slice, size_t from, size_t len)
{
	slice = slice_from(slice, from);
	if (len < slice.len)
		slice.len = len;
	return slice;
}

bool slice_eq(struct slice a, struct slice b);
/* ASCII case only, whatever the locale. */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts(struct slice slice, struct slice prefix);
bool slice_starts_nocase(struct slice slice, struct slice prefix);
bool slice_ends_nocase(struct slice slice, struct slice suffix);
int slice_compare(struct slice a, struct slice b); /* bytes, then length */
/* Position of the first such byte, or -1. */
ptrdiff_t slice_find(struct slice slice, char byte);
ptrdiff_t slice_find_last(struct slice slice, char byte);
bool slice_is_ascii(struct slice slice); /* no octet over 127 */
/* Without spaces, tabs, CR and LF at both ends. */
struct slice slice_trim(struct slice slice);
/* Takes what stands before the first separator off *rest into *part, and the
 * separator too; without one takes all. False once nothing is left. */
bool slice_split(struct slice *rest, char separator, struct slice *part);
/* Decimal digits only, no sign, no space, no overflow. */
bool slice_number(struct slice slice, uint64_t *number_out) MUST_USE;
/* FNV-1a. Not for tables that a stranger fills. */
uint64_t slice_hash(struct slice slice);

/* RFC 3629 4: how many bytes the UTF-8 character at `at` has, which must be
 * inside; 0 where there is none. */
size_t slice_utf8_length(struct slice slice, size_t at);
/* Whether the character at the start, of which slice_utf8_length() gives the
 * length, would move a terminal's cursor, end a line or reorder what is read. */
bool slice_utf8_is_unsafe(struct slice slice, size_t length);

/* malloc'd, NUL-terminated. The slice must hold no NUL where that matters. */
char *slice_dup(struct slice slice);

static inline char
ascii_lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static inline bool
ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Of a hexadecimal digit; -1: it is none. upper: only 0 to 9 and A to F, as RFC
 * 2045 6.7 and RFC 3461 4 have it. */
static inline int
ascii_hex_upper(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static inline int
ascii_hex(char c)
{
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : ascii_hex_upper(c);
}

static inline bool
ascii_is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

static inline struct slice
text_slice(const struct text *text)
{
	return (struct slice){text->bytes, text->len};
}

void text_done(struct text *text);  /* frees; the text is empty again */
/* The same for what nobody is to find in freed memory. */
void secret_cleanse(struct text *secret);
void text_clear(struct text *text); /* keeps the memory */
void text_fit(struct text *text);   /* gives back what it does not use */
void text_add(struct text *text, struct slice bytes);
void text_add_byte(struct text *text, char byte);
void text_addf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
/* In double quotes, with a backslash before each of these two: quoted-string of
 * RFC 5322 3.2.4 and of the configuration. The bytes are the caller's to judge. */
void text_add_quoted(struct text *text, struct slice bytes);
/* As a JSON string (RFC 8259 7) with its quotes, whatever the bytes are: what is
 * not UTF-8 becomes U+FFFD, what would move a terminal's cursor an escape. */
void text_add_json(struct text *text, struct slice bytes);
char *text_grow(struct text *text, size_t len); /* for text_room() */
void text_drop_front(struct text *text, size_t len);
/* Never NULL. */
const char *text_string(struct text *text);
/* Ownership of the NUL-terminated bytes goes to the caller (free()). */
char *text_take(struct text *text);

/* Makes room for len more bytes and gives the place to write them; then
 * text_added() says how many were. */
static inline char *
text_room(struct text *text, size_t len)
{
	if (len < text->size - text->len)
		return text->bytes + text->len;
	return text_grow(text, len);
}

static inline void
text_added(struct text *text, size_t len)
{
	ASSERT(len < text->size - text->len);
	text->len += len;
	text->bytes[text->len] = '\0';
}

static inline void
text_add_string(struct text *text, const char *string)
{
	text_add(text, slice_of_string(string));
}

#endif
