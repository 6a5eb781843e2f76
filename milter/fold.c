#include "milter/fold.h"

/* Of a field while it is written. */
struct folding {
	bool has_addresses; /* RFC 5322 3.4: white space may follow each comma,
			       and the semicolon that some write instead */
	bool is_quoted;     /* where the line in hand begins */
	unsigned depth;     /* of comments there */
	struct text *out;
};

static bool
has_addresses(struct slice name)
{
	static const char *const names[] = {
		"From",        "Sender",        "Reply-To",
		"To",          "Cc",            "Bcc",
		"Resent-From", "Resent-Sender", "Resent-Reply-To",
		"Resent-To",   "Resent-Cc",     "Resent-Bcc"};

	for (size_t i = 0; i < COUNT(names); i++)
		if (slice_eq_nocase(name, SLICE(names[i])))
			return true;
	return false;
}

/* RFC 5322 3.2.1: the second half of a quoted-pair, which is nowhere folded. */
static bool
is_escaped(struct slice line, size_t at)
{
	size_t backslashes = 0;

	while (backslashes < at && line.bytes[at - 1 - backslashes] == '\\')
		backslashes++;
	return backslashes % 2 != 0;
}

/* Where a line is to be cut: before white space that follows something else,
 * with something else behind it, which ends there; 0: nowhere. */
static size_t
white_find(struct slice line, size_t end, size_t from, size_t most)
{
	size_t at = line.len < most ? line.len : most;

	for (; at > from; at--)
		if (at < end && ascii_is_wsp(line.bytes[at]) &&
		    !ascii_is_wsp(line.bytes[at - 1]) && !is_escaped(line, at))
			return at;
	return 0;
}

/* Passes over what is to be written; returns where its last comma or
 * semicolon between addresses ends, behind `from`. 0: it has none. */
static size_t
commas_pass(struct folding *folding, struct slice bytes, size_t from)
{
	size_t found = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.bytes[i];

		if (c == '\\' && (folding->is_quoted || folding->depth > 0))
			i++;
		else if (c == '"' && folding->depth == 0)
			folding->is_quoted = !folding->is_quoted;
		else if (c == '(' && !folding->is_quoted)
			folding->depth++;
		else if (c == ')' && !folding->is_quoted && folding->depth > 0)
			folding->depth--;
		else if ((c == ',' || c == ';') && !folding->is_quoted &&
			 folding->depth == 0 && i >= from)
			found = i + 1;
	}
	return found;
}

static size_t
comma_find(const struct folding *folding, struct slice line, size_t end,
	   size_t from, size_t most)
{
	struct folding ahead = *folding;

	/* Something has to be left for the next line. */
	if (!folding->has_addresses || end == 0)
		return 0;
	return commas_pass(
		&ahead, slice_sub(line, 0, end - 1 < most ? end - 1 : most),
		from);
}

static void
fold_write(struct folding *folding, struct slice bytes)
{
	(void)commas_pass(folding, bytes, 0);
	text_add(folding->out, bytes);
}

/* from: how much of it must stay together. */
static bool
fold_line(struct folding *folding, struct slice line, size_t from)
{
	size_t most = LINE_OCTETS_MAX;
	size_t tail = 0; /* white space that ends it: there may be much */
	bool is_done = true;

	while (tail < line.len &&
	       ascii_is_wsp(line.bytes[line.len - 1 - tail]))
		tail++;
	while (line.len > most) {
		size_t end = line.len > tail ? line.len - tail : 0;
		size_t at = white_find(line, end, from, most);
		bool is_added = at == 0;

		if (is_added)
			at = comma_find(folding, line, end, from, most);
		is_done = at > 0;
		if (!is_done)
			break;
		fold_write(folding, slice_sub(line, 0, at));
		text_add_string(folding->out, is_added ? "\r\n " : "\r\n");
		line = slice_from(line, at);
		from = is_added ? 0 : 1;
		most = LINE_OCTETS_MAX - (is_added ? 1 : 0);
	}
	fold_write(folding, line);
	return is_done;
}

bool
fold_field(struct slice field, struct text *out)
{
	ptrdiff_t colon = slice_find(field, ':');
	size_t from = colon < 0 ? field.len : (size_t)colon + 1;
	struct folding folding = {.out = out};
	struct slice rest = field;
	bool is_done = true;

	if (colon > 0)
		folding.has_addresses =
			has_addresses(slice_sub(field, 0, (size_t)colon));
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
		if (!fold_line(&folding, slice_sub(rest, 0, end), from))
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
