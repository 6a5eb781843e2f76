#include "milter/fold.h"

/* Where a line is to be cut: before white space that follows something else,
 * with something else behind it; 0: nowhere. */
static size_t
fold_find(struct slice line, size_t from)
{
	size_t at = line.len < LINE_OCTETS_MAX ? line.len : LINE_OCTETS_MAX;
	size_t end = line.len;

	while (end > 0 && ascii_is_wsp(line.bytes[end - 1]))
		end--;
	for (; at > from; at--)
		if (at < end && ascii_is_wsp(line.bytes[at]) &&
		    !ascii_is_wsp(line.bytes[at - 1]))
			return at;
	return 0;
}

/* from: how much of it must stay together. */
static bool
fold_line(struct slice line, size_t from, struct text *out)
{
	bool is_done = true;

	while (line.len > LINE_OCTETS_MAX) {
		size_t at = fold_find(line, from);

		is_done = at > 0;
		if (!is_done)
			break;
		text_add(out, slice_sub(line, 0, at));
		text_add_string(out, "\r\n");
		line = slice_from(line, at);
		from = 1;
	}
	text_add(out, line);
	return is_done;
}

bool
fold_field(struct slice field, struct text *out)
{
	ptrdiff_t colon = slice_find(field, ':');
	size_t from = colon < 0 ? field.len : (size_t)colon + 1;
	struct slice rest = field;
	bool is_done = true;

	/* Nothing but the name on the first line would not be wrong, but some
	 * take it so. */
	while (from < field.len && ascii_is_wsp(field.bytes[from]))
		from++;
	while (rest.len > 0) {
		ptrdiff_t lf = slice_find(rest, '\n');
		size_t len = lf < 0 ? rest.len : (size_t)lf + 1;
		size_t end = len;

		while (end > 0 && (rest.bytes[end - 1] == '\n' ||
		                   rest.bytes[end - 1] == '\r'))
			end--;
		if (!fold_line(slice_sub(rest, 0, end), from, out))
			is_done = false;
		text_add(out, slice_sub(rest, end, len - end));
		rest = slice_from(rest, len);
		from = 1;
	}
	return is_done;
}

bool
fold_is_due(struct slice bytes)
{
	while (bytes.len > LINE_OCTETS_MAX) {
		ptrdiff_t lf = slice_find(bytes, '\n');
		size_t len = lf < 0 ? bytes.len : (size_t)lf;

		if (len > LINE_OCTETS_MAX + 1 || (len == LINE_OCTETS_MAX + 1 &&
		                                  bytes.bytes[len - 1] != '\r'))
			return true;
		bytes = slice_from(bytes, len + 1);
	}
	return false;
}
