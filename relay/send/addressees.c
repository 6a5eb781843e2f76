#include "relay/send/addressees.h"

#include "milter/author.h"
#include "relay/submit/phrase.h"

#define COLUMNS 76

/* ---- a list, cut at its commas ---- */

struct scan {
	bool in_quotes, is_escaped;
	size_t depth; /* of comments */
};

/* Whether the byte stands outside of quotes and comments. */
static bool
scan_step(struct scan *scan, char c)
{
	bool is_outside = !scan->in_quotes && scan->depth == 0;

	if (scan->is_escaped) {
		scan->is_escaped = false;
		return false;
	}
	if (c == '\\')
		scan->is_escaped = true;
	else if (c == '"' && scan->depth == 0)
		scan->in_quotes = !scan->in_quotes;
	else if (c == '(' && !scan->in_quotes)
		scan->depth++;
	else if (c == ')' && !scan->in_quotes && scan->depth > 0)
		scan->depth--;
	return is_outside;
}

/* The position of the first such byte outside of quotes and comments, or the
 * length. */
static size_t
outside_find(struct slice words, char wanted)
{
	struct scan scan = {0};

	for (size_t i = 0; i < words.len; i++)
		if (scan_step(&scan, words.bytes[i]) && words.bytes[i] == wanted)
			return i;
	return words.len;
}

/* Trimmed, and never empty. */
static bool
piece_next(struct slice *rest, struct slice *piece_out)
{
	while (rest->len > 0) {
		size_t end = outside_find(*rest, ',');

		*piece_out = slice_trim(slice_sub(*rest, 0, end));
		*rest = slice_from(*rest, end + 1);
		if (piece_out->len > 0)
			return true;
	}
	return false;
}

/* ---- one mailbox, in ASCII ---- */

/* What quotes protect, without them. */
static void
unquote(struct slice words, struct text *out)
{
	struct scan scan = {0};

	for (size_t i = 0; i < words.len; i++) {
		char c = words.bytes[i];
		bool is_bare = scan.is_escaped;

		(void)scan_step(&scan, c);
		if (is_bare || (c != '"' && c != '\\'))
			text_add_byte(out, c);
	}
}

/* Where its last line ends, if it begins behind that column. */
static size_t
column_behind(const struct text *text, size_t column)
{
	ptrdiff_t at = slice_find_last(text_slice(text), '\n');

	return at < 0 ? column + text->len : text->len - (size_t)(at + 1);
}

/* The name before <address>, if there is one, and the address. */
static void
mailbox_encode(struct slice piece, const struct authors *mailbox, size_t column,
	       struct text *out)
{
	CLEAN(text_done) struct text name = {0}, address = {0};
	size_t at = outside_find(piece, '<');

	if (at < piece.len)
		unquote(slice_trim(slice_sub(piece, 0, at)), &name);
	mailbox_write(mailbox->locals[0], mailbox->domains[0], &address);
	if (name.len == 0) {
		text_add(out, text_slice(&address));
		return;
	}
	phrase_write(text_slice(&name), column, out);
	text_add_string(out, column_behind(out, column) + strlen(" <>") +
						     address.len >
					     COLUMNS
				     ? "\r\n <"
				     : " <");
	text_add(out, text_slice(&address));
	text_add_byte(out, '>');
}

/* ---- the field ---- */

/* ASCII was read as it stands; what is not is one mailbox, which is written
 * anew. */
static bool
piece_write(struct slice piece, size_t column, struct arena *arena,
	    struct text *out, struct fault *fault)
{
	struct authors mailbox;

	if (slice_is_ascii(piece)) {
		phrase_fold(piece, column, out);
		return true;
	}
	if (!mailboxes_parse(piece, SLICE_NONE, 1, arena, &mailbox, fault))
		return false;
	if (mailbox.count != 1 || outside_find(piece, ':') < piece.len)
		return fault_set(fault, FAULT_INPUT,
				 "a group has to be in ASCII");
	mailbox_encode(piece, &mailbox, column, out);
	return true;
}

static bool
piece_add(struct addressees *addressees, struct slice piece,
	  struct arena *arena, struct fault *fault)
{
	CLEAN(text_done) struct text written = {0};
	struct text *value = &addressees->value;
	size_t begin = strlen(addressees->name) + strlen(": ");
	size_t column = value->len == 0 ? begin : addressees->column;

	if (value->len > 0)
		text_add_string(value, ",");
	if (value->len > 0 && column + strlen(", ") + piece.len > COLUMNS) {
		text_add_string(value, "\r\n ");
		column = strlen(" ");
	} else if (value->len > 0) {
		text_add_byte(value, ' ');
		column += strlen(", ");
	}
	if (!piece_write(piece, column, arena, &written, fault))
		return false;
	text_add(value, text_slice(&written));
	addressees->column = column_behind(&written, column);
	return true;
}

bool
addressees_add(struct addressees *addressees, struct slice words,
	       struct mailing *mailing, struct arena *arena,
	       struct fault *fault)
{
	struct slice rest = words, piece;

	if (!mailing_add(mailing, words, arena, fault))
		return false;
	while (piece_next(&rest, &piece))
		if (!piece_add(addressees, piece, arena, fault))
			return false;
	return true;
}
