#include "milter/separator.h"

#include "milter/header.h"

#define POSTMARK "From "
#define POSTMARK_FIELD "X-Mailbox-Line: "
/* So much of it fits behind the field's name (RFC 5322 2.1.1). */
#define POSTMARK_TEXT_MAX (SEPARATOR_NAME_MAX - strlen(POSTMARK_FIELD))

enum verdict { MORE_NEEDED, IS_FIELD, IS_EMPTY, IS_TEXT };

static struct slice
unquoted(struct slice line)
{
	while (slice_starts(line, SLICE(">")))
		line = slice_from(line, 1);
	return line;
}

bool
separator_may_be_postmark(struct slice begun)
{
	return slice_starts(SLICE(POSTMARK), slice_sub(unquoted(begun), 0,
						       strlen(POSTMARK)));
}

bool
separator_is_postmark(struct slice line)
{
	line = unquoted(line);
	if (!slice_starts(line, SLICE(POSTMARK)))
		return false;
	line = slice_from(line, strlen(POSTMARK));
	while (line.len > 0 && ascii_is_wsp(line.bytes[0]))
		line = slice_from(line, 1);
	return !slice_starts(line, SLICE(":"));
}

void
separator_init(struct separator *separator)
{
	*separator = (struct separator){0};
}

void
separator_done(struct separator *separator)
{
	text_done(&separator->held);
}

/* With the next byte of a line that may be anything so far. */
static enum verdict
line_judge(const struct separator *separator, char c)
{
	struct slice held = text_slice(&separator->held);
	char before = held.len > 0 ? held.bytes[held.len - 1] : '\0';

	if (before == '\r')
		return c == '\n' ? IS_EMPTY : IS_TEXT;
	if (held.len == 0 && c == '\r')
		return MORE_NEEDED;
	if (held.len == 0 && ascii_is_wsp(c))
		return separator->has_field ? IS_FIELD : IS_TEXT;
	if (held.len > 0 && c == ':')
		return IS_FIELD;
	if (held.len == SEPARATOR_NAME_MAX)
		return IS_TEXT;
	if (held.len > 0 && ascii_is_wsp(c))
		return MORE_NEEDED; /* before the colon, perhaps */
	return header_is_name_byte(c) && !ascii_is_wsp(before) ? MORE_NEEDED
							       : IS_TEXT;
}

static void
held_write(struct separator *separator, struct text *out)
{
	text_add(out, text_slice(&separator->held));
	text_clear(&separator->held);
}

static bool
held_ends_in_cr(const struct separator *separator)
{
	const struct text *held = &separator->held;

	return held->len > 0 && held->bytes[held->len - 1] == '\r';
}

static void
field_begin(struct separator *separator, struct text *out)
{
	separator->ends_in_cr = held_ends_in_cr(separator);
	held_write(separator, out);
	separator->has_field = separator->in_field = true;
}

/* Its own white space, behind "From", becomes that of the fold. */
static void
postmark_write(struct separator *separator, struct text *out)
{
	struct slice held = text_slice(&separator->held);
	bool is_long = held.len > POSTMARK_TEXT_MAX && !held_ends_in_cr(separator);
	size_t fold_at = is_long ? (size_t)slice_find(held, ' ') : 0;

	text_add_string(out, POSTMARK_FIELD);
	if (is_long) {
		text_add(out, slice_sub(held, 0, fold_at));
		text_add_string(out, "\r\n");
		text_drop_front(&separator->held, fold_at);
	}
	separator->report.renames_postmark = true;
	separator->in_postmark = false;
	field_begin(separator, out);
}

/* Up to its line end, or until it is known to be long. */
static void
postmark_take(struct separator *separator, struct slice *bytes,
	      struct text *out)
{
	while (bytes->len > 0 && bytes->bytes[0] != '\n' &&
	       separator->held.len <= POSTMARK_TEXT_MAX) {
		text_add_byte(&separator->held, bytes->bytes[0]);
		*bytes = slice_from(*bytes, 1);
	}
	if (bytes->len > 0)
		postmark_write(separator, out);
}

static void
header_end(struct separator *separator, struct text *out)
{
	held_write(separator, out);
	separator->is_passing = true;
}

static void
text_begin(struct separator *separator, struct text *out)
{
	if (!separator->has_field &&
	    separator_is_postmark(text_slice(&separator->held))) {
		separator->in_postmark = true;
		return;
	}
	text_add_string(out, "\r\n");
	separator->report.adds_line = true;
	header_end(separator, out);
}

/* The beginning of a line. */
static void
line_take(struct separator *separator, struct slice *bytes, struct text *out)
{
	while (bytes->len > 0) {
		char c = bytes->bytes[0];
		enum verdict verdict = line_judge(separator, c);

		if (verdict == IS_TEXT) {
			text_begin(separator, out);
			return;
		}
		text_add_byte(&separator->held, c);
		*bytes = slice_from(*bytes, 1);
		if (verdict == IS_EMPTY) {
			header_end(separator, out);
			return;
		}
		if (verdict == IS_FIELD) {
			field_begin(separator, out);
			return;
		}
	}
}

/* The rest of a line. */
static void
field_take(struct separator *separator, struct slice *bytes, struct text *out)
{
	ptrdiff_t lf = slice_find(*bytes, '\n');
	size_t len = lf < 0 ? bytes->len : (size_t)lf + 1;
	bool is_behind_cr = lf > 0 ? bytes->bytes[lf - 1] == '\r'
				   : separator->ends_in_cr;

	text_add(out, slice_sub(*bytes, 0, len));
	separator->in_field = lf < 0 || !is_behind_cr;
	separator->ends_in_cr = bytes->bytes[len - 1] == '\r';
	*bytes = slice_from(*bytes, len);
}

void
separator_feed(struct separator *separator, struct slice *bytes,
	       struct text *out)
{
	while (bytes->len > 0 && !separator->is_passing) {
		if (separator->in_postmark)
			postmark_take(separator, bytes, out);
		else if (separator->in_field)
			field_take(separator, bytes, out);
		else
			line_take(separator, bytes, out);
	}
}

void
separator_finish(struct separator *separator, struct text *out)
{
	if (separator->held.len > 0 && !separator->in_postmark)
		text_begin(separator, out);
	if (separator->in_postmark)
		postmark_write(separator, out);
}
