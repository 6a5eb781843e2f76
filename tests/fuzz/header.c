/* Fields do not depend on how the header is cut, no byte is lost, and whatever
 * a From field holds, its domains are safe to print and to look up. Once it is
 * separated from the text, the header has nothing but fields. The first byte says
 * how it is cut. */
#include "milter/author.h"
#include "milter/header.h"
#include "milter/separator.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
domain_check(struct slice domain)
{
	ASSERT(domain.len > 0);
	if (domain.bytes[0] == '[')
		return;
	for (size_t i = 0; i < domain.len; i++) {
		char c = domain.bytes[i];

		ASSERT(ascii_is_digit(c) || (c >= 'a' && c <= 'z') ||
		       c == '.' || c == '-' || c == '_');
	}
}

static void
value_check(struct slice value)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct authors authors = {0};

	if (!authors_parse(value, &arena, &authors, NULL))
		return;
	ASSERT(authors.count <= AUTHORS_MAX);
	for (size_t i = 0; i < authors.count; i++)
		domain_check(authors.domains[i]);
}

static void
field_check(struct slice field)
{
	struct slice name, value;

	if (header_field_parse(field, &name, &value) != NULL)
		return;
	ASSERT(name.len > 0);
	ASSERT(name.bytes == field.bytes);
	ASSERT(value.bytes + value.len == field.bytes + field.len);
	value_check(value);
}

/* Writes each field with its CRLF, the empty line, and the body. */
static void
header_cut(struct slice message, size_t step, struct text *out)
{
	struct header_reader reader;
	enum header_status status = HEADER_MORE;
	struct slice field;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	while (message.len > 0 && status == HEADER_MORE) {
		struct slice piece = slice_sub(message, 0, step);

		message = slice_from(message, step);
		while ((status = header_read(&reader, &piece, &field)) ==
		       HEADER_FIELD) {
			field_check(field);
			text_add(out, field);
			text_add_string(out, "\r\n");
		}
		if (status == HEADER_END) {
			text_add_string(out, "\r\n");
			text_add(out, piece);
			text_add(out, message);
		}
	}
	while (status == HEADER_MORE) {
		if (header_read_last(&reader, &field) == HEADER_END)
			break;
		field_check(field);
		text_add(out, field);
		text_add_string(out, "\r\n");
	}
	header_reader_done(&reader);
}

/* No CR, LF or NUL in it is one that a relay refuses. */
static bool
is_sound(struct slice message)
{
	char before = '\0';

	for (size_t i = 0; i < message.len; i++) {
		char c = message.bytes[i];

		if (c == '\0' || (before == '\r') != (c == '\n'))
			return false;
		before = c;
	}
	return before != '\r';
}

static void
separate(struct slice message, size_t step, struct separator *separator,
	 struct text *out)
{
	separator_init(separator);
	for (; message.len > 0; message = slice_from(message, step)) {
		struct slice rest = slice_sub(message, 0, step);

		separator_feed(separator, &rest, out);
		text_add(out, rest);
	}
	separator_finish(separator, out);
	separator_done(separator);
}

static void
fields_check(struct slice message)
{
	CLEAN(header_reader_done) struct header_reader reader;
	enum header_status status;
	struct slice field, name, value;

	header_reader_init(&reader, SIZE_MAX);
	while ((status = header_read(&reader, &message, &field)) ==
	       HEADER_FIELD)
		ASSERT(header_field_parse(field, &name, &value) == NULL);
	while (status == HEADER_MORE &&
	       header_read_last(&reader, &field) == HEADER_FIELD)
		ASSERT(header_field_parse(field, &name, &value) == NULL);
}

static void
separated_check(struct slice message, size_t step)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0}, again = {0};
	struct separator separator;

	separate(message, SIZE_MAX, &separator, &whole);
	ASSERT(slice_eq(text_slice(&whole), message) ==
	       (!separator.report.adds_line &&
		!separator.report.renames_postmark));
	separate(message, step, &separator, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	if (!is_sound(message))
		return;
	fields_check(text_slice(&whole));
	separate(text_slice(&whole), step, &separator, &again);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&again)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0};
	struct slice message;

	if (len < 1)
		return 0;
	message = slice_of(bytes + 1, len - 1);
	header_cut(message, SIZE_MAX, &whole);
	header_cut(message, (size_t)bytes[0] + 1, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	ASSERT(slice_starts(text_slice(&whole), message));
	value_check(message);
	separated_check(message, (size_t)bytes[0] + 1);
	return 0;
}
