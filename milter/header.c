#include "milter/header.h"

void
header_reader_init(struct header_reader *reader, size_t size_max)
{
	ASSERT(size_max > 0);
	*reader = (struct header_reader){.size_max = size_max};
}

void
header_reader_done(struct header_reader *reader)
{
	text_done(&reader->buffer);
}

static void
given_drop(struct header_reader *reader)
{
	text_drop_front(&reader->buffer, reader->given_len);
	reader->given_len = 0;
}

/* Hands out the whole lines that are there. */
static enum header_status
field_give(struct header_reader *reader, struct slice *field_out)
{
	ASSERT(reader->lines_len >= 2);
	*field_out = slice_of(reader->buffer.bytes, reader->lines_len - 2);
	reader->given_len = reader->lines_len;
	reader->lines_len = 0;
	return HEADER_FIELD;
}

/* Takes bytes up to and with the next LF. False: over the bound. */
static bool
line_take(struct header_reader *reader, struct slice *input)
{
	ptrdiff_t end = slice_find(*input, '\n');
	size_t len = end < 0 ? input->len : (size_t)end + 1;

	if (len > reader->size_max - reader->size)
		return false;
	text_add(&reader->buffer, slice_sub(*input, 0, len));
	reader->size += len;
	*input = slice_from(*input, len);
	return true;
}

static bool
line_is_whole(const struct header_reader *reader)
{
	const struct text *buffer = &reader->buffer;

	return buffer->len >= reader->lines_len + 2 &&
	       memcmp(buffer->bytes + buffer->len - 2, "\r\n", 2) == 0;
}

enum header_status
header_read(struct header_reader *reader, struct slice *input,
	    struct slice *field_out)
{
	given_drop(reader);
	while (input->len > 0) {
		if (reader->lines_len > 0 &&
		    reader->buffer.len == reader->lines_len &&
		    !ascii_is_wsp(input->bytes[0]))
			return field_give(reader, field_out);
		if (!line_take(reader, input))
			return HEADER_TOO_LARGE;
		if (!line_is_whole(reader))
			continue;
		if (reader->buffer.len == 2) {
			text_clear(&reader->buffer);
			return HEADER_END;
		}
		reader->lines_len = reader->buffer.len;
	}
	return HEADER_MORE;
}

enum header_status
header_read_last(struct header_reader *reader, struct slice *field_out)
{
	given_drop(reader);
	if (reader->buffer.len == 0)
		return HEADER_END;
	if (reader->lines_len == reader->buffer.len)
		return field_give(reader, field_out);
	/* The last line has no CRLF. */
	*field_out = text_slice(&reader->buffer);
	reader->given_len = reader->buffer.len;
	reader->lines_len = 0;
	return HEADER_FIELD;
}

bool
header_is_name_byte(char c)
{
	return c > ' ' && c < 0x7f && c != ':';
}

static const char *
name_parse(struct slice field, struct slice *name_out, size_t *colon_out)
{
	ptrdiff_t colon = slice_find(field, ':');
	size_t len;

	if (field.len > 0 && ascii_is_wsp(field.bytes[0]))
		return "a header line starts with white space and continues "
		       "nothing";
	if (colon < 0)
		return "a header line has no colon";
	len = (size_t)colon;
	while (len > 0 && ascii_is_wsp(field.bytes[len - 1]))
		len--;
	if (len == 0)
		return "a header field has no name";
	for (size_t i = 0; i < len; i++)
		if (!header_is_name_byte(field.bytes[i]))
			return "a header line is not a field";
	*name_out = slice_sub(field, 0, len);
	*colon_out = (size_t)colon;
	return NULL;
}

/* Each CR and LF has to be part of CRLF before white space. */
static const char *
folding_check(struct slice value)
{
	while (value.len > 0) {
		ptrdiff_t lf = slice_find(value, '\n');
		struct slice line = lf < 0 ? value
					   : slice_sub(value, 0, (size_t)lf);
		ptrdiff_t cr = slice_find(line, '\r');

		if (lf < 0)
			return cr < 0 ? NULL : "a bare CR in the header";
		if (cr < 0)
			return "a bare LF in the header";
		if (cr != lf - 1)
			return "a bare CR in the header";
		value = slice_from(value, (size_t)lf + 1);
		if (value.len == 0 || !ascii_is_wsp(value.bytes[0]))
			return "a header field with a line end inside";
	}
	return NULL;
}

const char *
header_field_parse(struct slice field, struct slice *name_out,
		   struct slice *value_out)
{
	struct slice name, value;
	size_t colon = 0;
	const char *problem = name_parse(field, &name, &colon);

	if (problem != NULL)
		return problem;
	value = slice_from(field, colon + 1);
	if (slice_find(value, '\0') >= 0)
		return "a NUL in the header";
	problem = folding_check(value);
	if (problem != NULL)
		return problem;
	*name_out = name;
	*value_out = value;
	return NULL;
}
