/*
 * header - the header of a message as a stream of bytes, cut into fields.
 *
 * A field runs from its name to before the CRLF that ends it, folding
 * included; a line that starts with a space or a tab continues the field
 * before. The header ends at the first empty line, or with the input.
 *
 * The reader judges nothing but the size, so that no byte is lost on the way:
 * it hands out a line without a colon, or one that starts with a space before
 * any field, like a field, and header_field_parse() says what is wrong with it.
 * A CR or LF alone ends no line.
 *
 * Bytes       Fed in any pieces; what comes out depends on the bytes alone.
 * Ownership   A field handed out lives until the next call.
 */
#ifndef MILTER_HEADER_H
#define MILTER_HEADER_H

#include "base/slice.h"

/* The bound where none is configured (limits.max_header_size). */
#define HEADER_SIZE_DEFAULT ((size_t)1 << 20)

enum header_status {
	HEADER_MORE,      /* all input is taken, more is needed */
	HEADER_FIELD,     /* *field_out is one */
	HEADER_END,       /* the empty line is taken; the rest is body */
	HEADER_TOO_LARGE, /* over size_max; for good */
};

struct header_reader {
	struct text buffer;
	size_t size_max;   /* bytes, all line ends included */
	size_t size;       /* so far */
	size_t lines_len;  /* of whole lines in the buffer */
	size_t given_len;  /* handed out; to be dropped */
};

void header_reader_init(struct header_reader *reader, size_t size_max);
void header_reader_done(struct header_reader *reader);

/* Takes from the front of *input. */
enum header_status header_read(struct header_reader *reader,
			       struct slice *input, struct slice *field_out)
	MUST_USE;
/* No more input: HEADER_FIELD while something is left, then HEADER_END. */
enum header_status header_read_last(struct header_reader *reader,
				    struct slice *field_out) MUST_USE;

/* Printable ASCII, but for the colon: RFC 5322 2.2. */
bool header_is_name_byte(char c);
/* The parts of a field: its name without white space before the colon, its
 * value from behind the colon, as it stands. NULL, or what is wrong in a few
 * words; defined for every input:
 *
 *	no colon · an empty name · a name with anything but printable ASCII ·
 *	a NUL · a CR or LF that is not part of folding
 *
 * 8-bit bytes in the value are taken. */
const char *header_field_parse(struct slice field, struct slice *name_out,
			       struct slice *value_out) MUST_USE;

#endif
