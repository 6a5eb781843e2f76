/* No byte of a header is lost, and cutting it elsewhere changes nothing. */
#include "milter/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define SIZE_MAX_HERE 2000

/* Every field with a mark behind it, and the status at the end. */
static enum header_status
read_header(struct slice input, size_t piece, struct text *out,
	    struct slice *rest_out)
{
	struct header_reader reader;
	enum header_status status = HEADER_MORE;
	struct slice field, name, value, part = SLICE_NONE;
	size_t at = 0;

	header_reader_init(&reader, SIZE_MAX_HERE);
	while (status != HEADER_END && status != HEADER_TOO_LARGE) {
		if (status == HEADER_MORE) {
			if (at == input.len)
				break;
			part = slice_sub(input, at, piece);
			at += part.len;
		}
		status = header_read(&reader, &part, &field);
		if (status == HEADER_FIELD) {
			text_add(out, field);
			text_add_string(out, "\n|");
			if (header_field_parse(field, &name, &value) == NULL)
				ASSERT(name.len > 0);
		}
	}
	while (status == HEADER_MORE &&
	       header_read_last(&reader, &field) == HEADER_FIELD) {
		text_add(out, field);
		text_add_string(out, "\n|");
	}
	*rest_out = slice_from(input, at - part.len);
	header_reader_done(&reader);
	return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0};
	struct slice input, rest, rest_cut;
	enum header_status status;

	if (len < 2)
		return 0;
	input = slice_of(bytes + 1, len - 1);
	status = read_header(input, input.len, &whole, &rest);
	ASSERT(status == read_header(input, bytes[0] % 11 + 1, &cut,
				     &rest_cut));
	if (status == HEADER_TOO_LARGE)
		return 0;
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	if (status == HEADER_END)
		ASSERT(slice_eq(rest, rest_cut));
	return 0;
}
