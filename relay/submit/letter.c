#include "relay/submit/letter.h"

#include "milter/author.h"
#include "milter/header.h"
#include "milter/mailbox.h"
#include "relay/server/path.h"

struct reader {
	const struct letter_terms *terms;
	struct arena *arena;
	struct letter *letter;
	struct header_reader header;
	struct mailing named, resent; /* recipients, by what names them */
	/* What is wrong with a field that names them; it matters where none is
	 * resent. */
	struct fault named_fault;
	bool has_resent, has_from, in_body;
	struct text passed; /* what dots_pass() lets through */
	enum { DOT_IN_LINE, DOT_BEHIND_CR, DOT_LINE_START, DOT_HELD,
	       DOT_HELD_CR } dot;
	bool is_over;
};

/* ---- the dot that ends it ---- */

/* A dot that begins a line is held back until it shows whether it is all there
 * is in the line. Lines end in CRLF here. */
static void
dot_step(struct reader *reader, char c)
{
	bool at_start = reader->dot == DOT_LINE_START;

	if (reader->dot == DOT_HELD_CR && c == '\n') {
		reader->is_over = true;
		return;
	}
	if (reader->dot == DOT_HELD && c == '\r') {
		reader->dot = DOT_HELD_CR;
		return;
	}
	if (reader->dot == DOT_HELD || reader->dot == DOT_HELD_CR)
		text_add_string(&reader->passed,
				reader->dot == DOT_HELD ? "." : ".\r");
	if (at_start && c == '.') {
		reader->dot = DOT_HELD;
		return;
	}
	text_add_byte(&reader->passed, c);
	if (c == '\n' && reader->dot == DOT_BEHIND_CR)
		reader->dot = DOT_LINE_START;
	else
		reader->dot = c == '\r' ? DOT_BEHIND_CR : DOT_IN_LINE;
}

static struct slice
dots_pass(struct reader *reader, struct slice piece)
{
	text_clear(&reader->passed);
	for (size_t i = 0; i < piece.len && !reader->is_over; i++)
		dot_step(reader, piece.bytes[i]);
	return text_slice(&reader->passed);
}

/* ---- the header ---- */

static const struct {
	struct slice name;
	bool is_resent, is_hidden;
} naming_fields[] = {
	{SLICE_LITERAL("To"), false, false},
	{SLICE_LITERAL("Cc"), false, false},
	{SLICE_LITERAL("Bcc"), false, true},
	{SLICE_LITERAL("Apparently-To"), false, false},
	{SLICE_LITERAL("Resent-To"), true, false},
	{SLICE_LITERAL("Resent-Cc"), true, false},
	{SLICE_LITERAL("Resent-Bcc"), true, true},
};

/* Whether the field is to be sent. */
static bool
recipients_note(struct reader *reader, struct slice name, struct slice value,
		bool *is_sent_out, struct fault *fault)
{
	*is_sent_out = true;
	for (size_t i = 0; i < COUNT(naming_fields); i++) {
		bool is_resent = naming_fields[i].is_resent;
		struct fault found = {0};

		if (!slice_eq_nocase(name, naming_fields[i].name))
			continue;
		*is_sent_out = !naming_fields[i].is_hidden;
		reader->has_resent |= is_resent;
		if (mailing_add(is_resent ? &reader->resent : &reader->named,
				value, reader->arena, &found))
			continue;
		fault_put_before(&found, "%.*s", SLICE_ARG(name));
		if (is_resent) {
			*fault = found;
			return false;
		}
		if (reader->named_fault.kind == FAULT_NONE)
			reader->named_fault = found;
	}
	return true;
}

static void
line_add(struct text *out, struct slice line)
{
	text_add(out, line);
	text_add_string(out, "\r\n");
}

/* "From: root (Cron Daemon)": without a domain nobody would sign for it, and
 * receivers refuse it. */
static void
from_add(struct reader *reader, struct slice field, struct slice value)
{
	struct text *header = &reader->letter->header;
	struct authors authors;
	struct fault fault;
	size_t before;

	if (authors_parse(value, reader->arena, &authors, &fault) ||
	    !mailboxes_parse(value, reader->terms->domain, 1, reader->arena,
			     &authors, &fault) ||
	    authors.count != 1) {
		line_add(header, field);
		return;
	}
	text_add_string(header, "From: ");
	before = header->len;
	mailbox_name_write(value, header);
	text_add_string(header, header->len > before ? " <" : "<");
	mailbox_write(authors.locals[0], authors.domains[0], header);
	text_add_string(header, ">\r\n");
}

/* Behind the last field; what follows is the body. */
static void
header_end(struct reader *reader)
{
	struct text *header = &reader->letter->header;

	if (!reader->has_from) {
		text_add_string(header, "From: ");
		line_add(header, reader->terms->from);
	}
	text_add_string(header, "\r\n");
	reader->in_body = true;
}

static bool
field_take(struct reader *reader, struct slice field, struct fault *fault)
{
	struct slice name, value;
	bool is_field = header_field_parse(field, &name, &value) == NULL;
	bool is_sent = true, is_from;

	if (!is_field) {
		/* A text without a header, or one that ends without an empty
		 * line. */
		header_end(reader);
		line_add(&reader->letter->header, field);
		return true;
	}
	is_from = slice_eq_nocase(name, SLICE("From"));
	reader->has_from |= is_from;
	if (reader->terms->takes_recipients &&
	    !recipients_note(reader, name, value, &is_sent, fault))
		return false;
	if (is_from)
		from_add(reader, field, value);
	else if (is_sent)
		line_add(&reader->letter->header, field);
	return true;
}

static bool
header_take(struct reader *reader, struct slice *piece, struct fault *fault)
{
	struct slice field;

	while (!reader->in_body) {
		switch (header_read(&reader->header, piece, &field)) {
		case HEADER_MORE:
			return true;
		case HEADER_FIELD:
			if (!field_take(reader, field, fault))
				return false;
			break;
		case HEADER_END:
			header_end(reader);
			break;
		case HEADER_TOO_LARGE:
			return fault_set(fault, FAULT_INPUT,
					 "the header has more than %zu octets "
					 "(limits.max_header_size)",
					 reader->terms->header_max);
		}
	}
	return true;
}

/* The input ends within the header. */
static bool
header_finish(struct reader *reader, struct fault *fault)
{
	struct slice field;

	while (!reader->in_body)
		if (header_read_last(&reader->header, &field) == HEADER_FIELD) {
			if (!field_take(reader, field, fault))
				return false;
		} else {
			header_end(reader);
		}
	return true;
}

/* ---- reading ---- */

static bool
piece_take(struct reader *reader, struct slice piece, struct fault *fault)
{
	struct letter *letter = reader->letter;
	bool was_in_body = reader->in_body;

	if (piece.len == 0)
		return true;
	letter->has_8bit |= !slice_is_ascii(piece);
	letter->end_at += piece.len;
	letter->lacks_end = piece.bytes[piece.len - 1] != '\n';
	if (!header_take(reader, &piece, fault))
		return false;
	if (reader->in_body && !was_in_body)
		letter->body_at = letter->end_at - piece.len;
	return true;
}

static bool
pieces_take(struct reader *reader, struct fault *fault)
{
	struct slice piece;

	do {
		if (!input_read(reader->letter->input, &piece, fault))
			return false;
		if (!piece_take(reader,
				reader->terms->ends_at_dot
					? dots_pass(reader, piece)
					: piece,
				fault))
			return false;
	} while (piece.len > 0 && !reader->is_over);
	if (reader->in_body)
		return true;
	reader->letter->body_at = reader->letter->end_at;
	reader->letter->lacks_end = false;
	return header_finish(reader, fault);
}

static void
reader_done(struct reader *reader)
{
	header_reader_done(&reader->header);
	text_done(&reader->passed);
}

static void
mailing_begin(struct mailing *mailing, const struct letter_terms *terms,
	      struct arena *arena)
{
	*mailing = (struct mailing){
		.max = terms->recipients_max,
		.domain = terms->domain,
		.addresses = arena_array(arena, terms->recipients_max,
					 sizeof(*mailing->addresses)),
	};
}

bool
letter_read(const struct letter_terms *terms, struct arena *arena,
	    struct letter *letter_out, struct fault *fault)
{
	CLEAN(letter_done) struct letter letter = {0};
	CLEAN(reader_done) struct reader reader = {
		.terms = terms, .arena = arena, .letter = &letter,
		.dot = DOT_LINE_START};
	const struct mailing *mailing;

	header_reader_init(&reader.header, terms->header_max);
	mailing_begin(&reader.named, terms, arena);
	mailing_begin(&reader.resent, terms, arena);
	text_add(&letter.header, terms->trace);
	if (!input_open(NULL, INPUT_SUBMIT, &letter.input, fault) ||
	    !pieces_take(&reader, fault))
		return false;
	if (!reader.has_resent && reader.named_fault.kind != FAULT_NONE) {
		*fault = reader.named_fault;
		return false;
	}
	mailing = reader.has_resent ? &reader.resent : &reader.named;
	letter.recipients = mailing->addresses;
	letter.recipients_count = mailing->count;
	*letter_out = letter;
	letter = (struct letter){0};
	return true;
}

void
letter_done(struct letter *letter)
{
	input_free(letter->input);
	text_done(&letter->header);
	*letter = (struct letter){0};
}

uint64_t
letter_size(const struct letter *letter)
{
	return letter->header.len + letter->end_at - letter->body_at +
	       (letter->lacks_end ? strlen("\r\n") : 0);
}

/* ---- writing ---- */

/* Of what was read, the bytes from `from` up to `to`. */
struct window {
	input_sink_fn *take;
	void *owner;
	uint64_t at, from, to;
};

static bool
window_take(void *owner, struct slice bytes, struct fault *fault)
{
	struct window *window = owner;
	uint64_t at = window->at;
	uint64_t begin = at > window->from ? at : window->from;
	uint64_t end = at + bytes.len < window->to ? at + bytes.len
						   : window->to;

	window->at += bytes.len;
	if (begin >= end)
		return true;
	return window->take(window->owner,
			    slice_sub(bytes, (size_t)(begin - at),
				      (size_t)(end - begin)),
			    fault);
}

bool
letter_write(struct letter *letter, input_sink_fn *take, void *owner,
	     struct fault *fault)
{
	struct window window = {.take = take,
				.owner = owner,
				.from = letter->body_at,
				.to = letter->end_at};

	return take(owner, text_slice(&letter->header), fault) &&
	       input_replay(letter->input, window_take, &window, fault) &&
	       (!letter->lacks_end || take(owner, SLICE("\r\n"), fault));
}

/* ---- addresses ---- */

static bool
is_known(const struct mailing *mailing, struct slice address)
{
	for (size_t i = 0; i < mailing->count; i++)
		if (slice_eq(mailing->addresses[i], address))
			return true;
	return false;
}

static bool
mailbox_add(struct mailing *mailing, struct slice local, struct slice domain,
	    struct arena *arena, struct fault *fault)
{
	CLEAN(text_done) struct text address = {0};
	struct slice copy, rest;
	struct path path;

	text_add_byte(&address, '<');
	mailbox_write(local, domain, &address);
	text_add_byte(&address, '>');
	/* What a field may quote, a line of SMTP may not: a line end. */
	if (path_parse(text_slice(&address), &path, &rest) != PATH_OK ||
	    rest.len > 0)
		return fault_set(fault, FAULT_INPUT,
				 "an address that SMTP cannot carry");
	if (is_known(mailing, path.address))
		return true;
	if (mailing->count == mailing->max)
		return fault_set(fault, FAULT_INPUT, "more than %zu recipients",
				 mailing->max);
	copy = arena_copy(arena, path.address);
	mailing->addresses[mailing->count++] = copy;
	return true;
}

/* No more than these stand there. */
static size_t
addresses_most(struct slice value)
{
	size_t count = 1;

	for (size_t i = 0; i < value.len; i++)
		count += value.bytes[i] == ',' || value.bytes[i] == ';';
	return count;
}

bool
mailing_add(struct mailing *mailing, struct slice addresses,
	    struct arena *arena, struct fault *fault)
{
	struct authors mailboxes;

	if (!mailboxes_parse(addresses, mailing->domain,
			     addresses_most(addresses), arena, &mailboxes,
			     fault))
		return false;
	for (size_t i = 0; i < mailboxes.count; i++)
		if (!mailbox_add(mailing, mailboxes.locals[i],
				 mailboxes.domains[i], arena, fault))
			return false;
	return true;
}
