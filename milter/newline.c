#include "milter/newline.h"

/* RFC 5322 2.1.1, without the CRLF. */
#define LINE_OCTETS_MAX 998

void
newline_init(struct newline *newline)
{
	*newline = (struct newline){0};
}

static void
line_end(struct newline *newline, bool is_whole, struct text *out)
{
	text_add_string(out, "\r\n");
	newline->column = 0;
	newline->at_mended = !is_whole && !newline->keeps_dots;
	if (!is_whole)
		newline->has_mended = true;
}

static void
put(struct newline *newline, struct slice bytes, struct text *out)
{
	text_add(out, bytes);
	newline->column += bytes.len;
	if (newline->column > LINE_OCTETS_MAX)
		newline->has_long_line = true;
}

/* The byte behind a line end that was mended, and the next one. */
static bool
is_stuffing(struct newline *newline, char c, struct text *out)
{
	if (newline->at_mended) {
		newline->at_mended = false;
		newline->holds_dot = c == '.';
		return newline->holds_dot;
	}
	if (newline->holds_dot) {
		newline->holds_dot = false;
		if (c != '.')
			put(newline, SLICE("."), out);
	}
	return false;
}

/* One LF, or a byte behind CRs. */
static void
feed_special(struct newline *newline, char c, struct text *out)
{
	size_t crs = newline->crs;

	if (newline->holds_dot) {
		newline->holds_dot = false;
		put(newline, SLICE("."), out);
	}
	newline->crs = 0;
	if (c == '\n') {
		line_end(newline, crs == 1, out);
		return;
	}
	/* Each was a line end of its own. */
	for (; crs > 0; crs--)
		line_end(newline, false, out);
	if (!is_stuffing(newline, c, out))
		put(newline, slice_of(&c, 1), out);
}

void
newline_feed(struct newline *newline, struct slice bytes, struct text *out)
{
	while (bytes.len > 0) {
		char c = bytes.bytes[0];
		size_t len = 1;

		if (c == '\r') {
			newline->crs++;
		} else if (c == '\n' || newline->crs > 0) {
			feed_special(newline, c, out);
		} else if (!is_stuffing(newline, c, out)) {
			while (len < bytes.len && bytes.bytes[len] != '\r' &&
			       bytes.bytes[len] != '\n')
				len++;
			put(newline, slice_sub(bytes, 0, len), out);
		}
		bytes = slice_from(bytes, len);
	}
}
