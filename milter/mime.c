#include "milter/mime.h"

#include <stdlib.h>

#include "milter/header.h"

/* "--", a boundary, "--", and some white space that gateways add. */
#define DELIMITER_MAX 998

/* One multipart, or one message/rfc822, which has no boundary. */
struct frame {
	char boundary[MIME_BOUNDARY_MAX];
	size_t boundary_len;
	size_t message; /* that it is part of */
	bool is_closed; /* its close delimiter came */
	bool is_digest; /* RFC 2046 5.1.5 */
	bool is_fixed;
};

/*
 * HEADER until its empty line, a boundary or the end; then CONTENT of what has
 * some, BETWEEN in a multipart, or the HEADER of a message inside. LOST once
 * there is trouble: the rest is handed on unread.
 */
enum place { PLACE_HEADER, PLACE_CONTENT, PLACE_BETWEEN, PLACE_LOST };

struct mime_reader {
	mime_sink_fn *sink;
	void *owner;
	enum place place;
	struct mime_part part;
	size_t parts_count;
	struct frame frames[MIME_DEPTH_MAX];
	size_t depth, boundaries; /* of them with a boundary */
	const char *trouble;
	size_t header_max;
	struct text header;
	size_t line_at;   /* in the header: where the last line begins */
	bool in_message;  /* the header is a message's own */
	struct text line; /* of a body: it begins like a delimiter */
	bool in_line;     /* some of the line was handed on */
	size_t held;      /* of "\r\n": it may belong to a delimiter */
};

struct mime_reader *
mime_reader_new(size_t header_max, mime_sink_fn *sink, void *owner)
{
	struct mime_reader *reader = memory_new(sizeof(*reader));

	ASSERT(header_max > 0);
	ASSERT(sink != NULL);
	reader->header_max = header_max;
	reader->sink = sink;
	reader->owner = owner;
	reader->in_message = true;
	return reader;
}

void
mime_reader_free(struct mime_reader *reader)
{
	if (reader == NULL)
		return;
	text_done(&reader->header);
	text_done(&reader->line);
	free(reader);
}

const char *
mime_trouble(const struct mime_reader *reader)
{
	return reader->trouble;
}

/* --- handing on --- */

static void
give_bytes(struct mime_reader *reader, struct slice bytes)
{
	if (bytes.len > 0)
		reader->sink(reader->owner,
			     reader->place == PLACE_CONTENT ? MIME_CONTENT
							    : MIME_BETWEEN,
			     &reader->part, bytes);
}

static void
give_held(struct mime_reader *reader)
{
	give_bytes(reader, slice_of("\r\n", reader->held));
	reader->held = 0;
}

static void
give_content_end(struct mime_reader *reader)
{
	if (reader->place != PLACE_CONTENT)
		return;
	reader->sink(reader->owner, MIME_CONTENT_END, &reader->part,
		     SLICE_NONE);
	reader->place = PLACE_BETWEEN;
}

/* From here on nothing is certain. */
static void
lose(struct mime_reader *reader, const char *why)
{
	if (reader->trouble == NULL)
		reader->trouble = why;
	give_held(reader);
	give_content_end(reader);
	reader->place = PLACE_LOST;
	give_bytes(reader, text_slice(&reader->header));
	give_bytes(reader, text_slice(&reader->line));
	text_clear(&reader->header);
	text_clear(&reader->line);
}

/* --- what a header says --- */

static struct slice
line_strip(struct slice line)
{
	bool is_whole = line.len >= 2 &&
			memcmp(line.bytes + line.len - 2, "\r\n", 2) == 0;

	return is_whole ? slice_sub(line, 0, line.len - 2) : line;
}

bool
mime_field_next(struct slice *rest, struct slice *field_out)
{
	size_t at = 0;
	bool is_whole = false;

	while (at < rest->len &&
	       !(is_whole && !ascii_is_wsp(rest->bytes[at]))) {
		ptrdiff_t lf = slice_find(slice_from(*rest, at), '\n');

		at = lf < 0 ? rest->len : at + (size_t)lf + 1;
		is_whole = at >= 2 && rest->bytes[at - 2] == '\r';
	}
	*field_out = slice_sub(*rest, 0, at);
	*rest = slice_from(*rest, at);
	return at > 0;
}

/* What the fields of one header say about its content. */
struct content {
	struct mime_type type;
	size_t types, encodings;
	bool has_odd_encoding;
	bool is_signed; /* DKIM or ARC */
};

static void
content_note(struct content *content, struct mime_part *part, struct slice name,
	     struct slice value)
{
	if (slice_eq_nocase(name, SLICE("MIME-Version"))) {
		part->has_version = true;
	} else if (slice_eq_nocase(name, SLICE("Content-Type"))) {
		part->has_type = true;
		if (content->types++ == 0)
			mime_type_parse(value, &content->type);
	} else if (slice_eq_nocase(name, SLICE("Content-Transfer-Encoding"))) {
		part->has_encoding = true;
		content->encodings++;
		if (!mime_encoding_parse(value, &part->given))
			content->has_odd_encoding = true;
	} else if (slice_eq_nocase(name, SLICE("DKIM-Signature")) ||
		   slice_eq_nocase(name, SLICE("ARC-Seal"))) {
		content->is_signed = true;
	}
}

/* NULL, or why the structure is not certain. */
static const char *
content_read(struct content *content, struct mime_part *part,
	     struct slice header)
{
	struct slice rest = header, field, name, value;

	while (mime_field_next(&rest, &field)) {
		if (slice_eq(field, SLICE("\r\n")))
			break;
		if (header_field_parse(line_strip(field), &name, &value) !=
		    NULL)
			return "a header line that is no field";
		content_note(content, part, name, value);
	}
	if (content->types > 1)
		return "more than one Content-Type";
	if (content->encodings > 1)
		return "more than one Content-Transfer-Encoding";
	return NULL;
}

static bool
boundary_is_good(const struct mime_type *type)
{
	struct slice boundary = text_slice(&type->boundary);

	if (!type->has_boundary || type->is_odd || boundary.len == 0 ||
	    boundary.len > MIME_BOUNDARY_MAX ||
	    boundary.bytes[boundary.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < boundary.len; i++)
		if (boundary.bytes[i] < ' ' || boundary.bytes[i] > '~')
			return false;
	return true;
}

static void
part_set_opaque(struct mime_part *part, const char *why)
{
	part->kind = MIME_OPAQUE;
	part->why = why;
}

static void
part_set_multipart(struct mime_reader *reader, const struct mime_type *type)
{
	struct mime_part *part = &reader->part;

	if (slice_eq_nocase(type->subtype, SLICE("signed")))
		part_set_opaque(part, "a signed part (multipart/signed)");
	else if (part->given != ENCODE_GIVEN_NONE)
		part_set_opaque(part, "a multipart that is encoded");
	else if (!boundary_is_good(type))
		part_set_opaque(part, "a multipart without a boundary that "
				      "can be read");
	else if (reader->depth == MIME_DEPTH_MAX)
		part_set_opaque(part, "parts nested too deeply");
	else
		part->kind = MIME_MULTIPART;
}

static void
part_set_message(struct mime_reader *reader, const struct mime_type *type)
{
	struct mime_part *part = &reader->part;

	if (!slice_eq_nocase(type->subtype, SLICE("rfc822")))
		part_set_opaque(part, "a part of a type message/* that must "
				      "not be encoded");
	else if (part->given != ENCODE_GIVEN_NONE)
		part->kind = MIME_LEAF; /* against RFC 2046 5.2.1 */
	else if (reader->depth == MIME_DEPTH_MAX)
		part_set_opaque(part, "parts nested too deeply");
	else
		part->kind = MIME_MESSAGE;
}

static bool
is_fixed(const struct mime_reader *reader)
{
	return reader->depth > 0 && reader->frames[reader->depth - 1].is_fixed;
}

static void
part_decide(struct mime_reader *reader, struct content *content)
{
	static const struct slice text = SLICE_LITERAL("text");
	static const struct slice message = SLICE_LITERAL("message");
	static const struct slice rfc822 = SLICE_LITERAL("rfc822");
	struct mime_part *part = &reader->part;
	struct mime_type *type = &content->type;
	bool in_digest = reader->depth > 0 && !reader->in_message &&
			 reader->frames[reader->depth - 1].is_digest;

	if (!part->has_type) {
		type->type = in_digest ? message : text;
		type->subtype = in_digest ? rfc822 : SLICE("plain");
	}
	/* Of the message itself the caller knows. */
	part->is_fixed =
		is_fixed(reader) ||
		(reader->in_message && reader->depth > 0 && content->is_signed);
	part->is_text = slice_eq_nocase(type->type, text);
	part->kind = MIME_LEAF;
	if (type->type.len == 0)
		part_set_opaque(part, "a Content-Type that cannot be read");
	else if (content->has_odd_encoding)
		part_set_opaque(part, "an unknown Content-Transfer-Encoding");
	else if (slice_eq_nocase(type->type, SLICE("multipart")))
		part_set_multipart(reader, type);
	else if (slice_eq_nocase(type->type, message))
		part_set_message(reader, type);
	if (part->kind == MIME_LEAF && part->is_fixed)
		part_set_opaque(part, "a forwarded message that is signed");
}

/* --- headers --- */

static void
frame_push(struct mime_reader *reader, const struct mime_type *type)
{
	struct frame *frame = &reader->frames[reader->depth++];
	struct slice boundary = text_slice(&type->boundary);

	*frame = (struct frame){.message = reader->part.message,
				.is_fixed = reader->part.is_fixed};
	if (reader->part.kind == MIME_MESSAGE)
		return;
	ASSERT(boundary.len > 0);
	ASSERT(boundary.len <= sizeof(frame->boundary));
	memcpy(frame->boundary, boundary.bytes, boundary.len);
	frame->boundary_len = boundary.len;
	frame->is_digest = slice_eq_nocase(type->subtype, SLICE("digest"));
	reader->boundaries++;
}

static void
header_begin(struct mime_reader *reader, bool in_message)
{
	reader->place = PLACE_HEADER;
	reader->in_message = in_message;
	reader->line_at = 0;
	text_clear(&reader->header);
}

/* What follows the header of a part that has more than a header. */
static void
content_begin(struct mime_reader *reader, const struct mime_type *type)
{
	reader->in_line = false;
	switch (reader->part.kind) {
	case MIME_LEAF:
	case MIME_OPAQUE:
		reader->place = PLACE_CONTENT;
		break;
	case MIME_MULTIPART:
		reader->place = PLACE_BETWEEN;
		frame_push(reader, type);
		break;
	case MIME_MESSAGE:
		frame_push(reader, type);
		header_begin(reader, true);
		break;
	}
}

/* Whose delimiters they are, the outer's or the inner's, each reader decides
 * for himself. */
static bool
boundary_is_in_use(const struct mime_reader *reader,
		   const struct mime_type *type)
{
	struct slice boundary = text_slice(&type->boundary);

	for (size_t i = 0; i < reader->depth; i++) {
		const struct frame *frame = &reader->frames[i];

		if (frame->boundary_len > 0 &&
		    slice_eq(slice_of(frame->boundary, frame->boundary_len),
			     boundary))
			return true;
	}
	return false;
}

/* A header of that many bytes of the buffer, which are then dropped. */
static void
header_end(struct mime_reader *reader, size_t len, bool is_whole)
{
	struct content content = {0};
	struct slice header = slice_of(reader->header.bytes, len);
	const char *trouble;

	if (reader->parts_count == MIME_PARTS_MAX) {
		lose(reader, "too many parts");
		return;
	}
	reader->part = (struct mime_part){.index = reader->parts_count++,
					  .is_whole = is_whole};
	reader->part.message = reader->in_message
				       ? reader->part.index
				       : reader->frames[reader->depth - 1]
						 .message;
	trouble = content_read(&content, &reader->part, header);
	if (trouble == NULL) {
		part_decide(reader, &content);
		if (!is_whole && reader->part.kind != MIME_OPAQUE)
			reader->part.kind = MIME_LEAF;
		if (reader->part.kind == MIME_MULTIPART &&
		    boundary_is_in_use(reader, &content.type))
			trouble = "a boundary within parts that have the same";
	}
	if (trouble == NULL) {
		reader->sink(reader->owner, MIME_HEADER, &reader->part, header);
		text_drop_front(&reader->header, len);
		content_begin(reader, &content.type);
	}
	text_done(&content.type.boundary);
	if (trouble != NULL)
		lose(reader, trouble);
}

/* --- delimiters --- */

enum match { MATCH_NONE, MATCH_OPEN, MATCH_CLOSE, MATCH_UNSURE };

static enum match
frame_match(const struct frame *frame, struct slice line)
{
	struct slice rest;
	enum match match = MATCH_OPEN;

	if (frame->boundary_len == 0 || !slice_starts(line, SLICE("--")))
		return MATCH_NONE;
	rest = slice_from(line, 2);
	if (!slice_starts(rest, slice_of(frame->boundary, frame->boundary_len)))
		return MATCH_NONE;
	rest = slice_from(rest, frame->boundary_len);
	if (slice_starts(rest, SLICE("--"))) {
		match = MATCH_CLOSE;
		rest = slice_from(rest, 2);
	}
	/* RFC 2046 5.1.1: transport padding. */
	for (size_t i = 0; i < rest.len; i++)
		if (!ascii_is_wsp(rest.bytes[i]))
			return MATCH_UNSURE;
	return frame->is_closed ? MATCH_UNSURE : match;
}

/* Of a line without its CRLF; the level counts for OPEN and CLOSE. */
static enum match
delimiter_match(const struct mime_reader *reader, struct slice line,
		size_t *level_out)
{
	enum match found = MATCH_NONE;

	for (size_t level = reader->depth; level > 0; level--) {
		enum match match =
			frame_match(&reader->frames[level - 1], line);

		if (match == MATCH_OPEN || match == MATCH_CLOSE) {
			*level_out = level;
			return match;
		}
		if (match == MATCH_UNSURE)
			found = match;
	}
	return found;
}

/* The line, with its CRLF, ends what was inside of that level. */
static void
delimiter_take(struct mime_reader *reader, enum match match, size_t level,
	       struct slice line)
{
	give_content_end(reader);
	reader->place = PLACE_BETWEEN;
	give_held(reader);
	give_bytes(reader, line);
	for (; reader->depth > level; reader->depth--)
		if (reader->frames[reader->depth - 1].boundary_len > 0)
			reader->boundaries--;
	if (match == MATCH_CLOSE)
		reader->frames[level - 1].is_closed = true;
	else
		header_begin(reader, false);
}

/* --- reading --- */

/* The header ends before its last line, which is a delimiter. */
static void
header_cut(struct mime_reader *reader, enum match match, size_t level)
{
	CLEAN(text_done) struct text line = {0};

	text_add(&line,
		 slice_from(text_slice(&reader->header), reader->line_at));
	header_end(reader, reader->line_at, false);
	if (reader->place == PLACE_LOST)
		return; /* which has handed on the line, too */
	text_clear(&reader->header);
	delimiter_take(reader, match, level, text_slice(&line));
}

/* The last line of the header is whole, or the last of all. */
static void
header_line(struct mime_reader *reader)
{
	struct slice line =
		slice_from(text_slice(&reader->header), reader->line_at);
	size_t level = 0;
	enum match match = delimiter_match(reader, line_strip(line), &level);

	if (match == MATCH_UNSURE)
		lose(reader, "a line that begins like a boundary");
	else if (match != MATCH_NONE)
		header_cut(reader, match, level);
	else if (slice_eq(line, SLICE("\r\n")))
		header_end(reader, reader->header.len, true);
	else
		reader->line_at = reader->header.len;
}

static struct slice
header_feed(struct mime_reader *reader, struct slice bytes)
{
	ptrdiff_t lf = slice_find(bytes, '\n');
	size_t len = lf < 0 ? bytes.len : (size_t)lf + 1;
	size_t size;

	if (len > reader->header_max - reader->header.len) {
		lose(reader, "a header that is too large");
		return bytes;
	}
	text_add(&reader->header, slice_sub(bytes, 0, len));
	size = reader->header.len;
	if (size >= reader->line_at + 2 &&
	    memcmp(reader->header.bytes + size - 2, "\r\n", 2) == 0)
		header_line(reader);
	return slice_from(bytes, len);
}

/* A line of a body, or its first part, is no delimiter. */
static void
line_release(struct mime_reader *reader)
{
	struct slice line = text_slice(&reader->line);
	struct slice stripped = line_strip(line);
	size_t cr = stripped.len == line.len && line.len > 0 &&
		    line.bytes[line.len - 1] == '\r';

	give_held(reader);
	give_bytes(reader, slice_sub(stripped, 0, stripped.len - cr));
	reader->held = cr > 0 ? 1 : line.len - stripped.len;
	reader->in_line = reader->held != 2;
	text_clear(&reader->line);
}

static void
line_judge(struct mime_reader *reader)
{
	CLEAN(text_done) struct text line = {0};
	size_t level = 0;
	enum match match = delimiter_match(
		reader, line_strip(text_slice(&reader->line)), &level);

	if (match == MATCH_UNSURE) {
		lose(reader, "a line that begins like a boundary");
	} else if (match == MATCH_NONE) {
		line_release(reader);
	} else {
		text_add(&line, text_slice(&reader->line));
		text_clear(&reader->line);
		delimiter_take(reader, match, level, text_slice(&line));
	}
}

/* A line that begins with "-". */
static struct slice
line_gather(struct mime_reader *reader, struct slice bytes)
{
	ptrdiff_t lf = slice_find(bytes, '\n');
	size_t len = lf < 0 ? bytes.len : (size_t)lf + 1;
	size_t room = DELIMITER_MAX + 2 - reader->line.len;

	if (len > room)
		len = room;
	text_add(&reader->line, slice_sub(bytes, 0, len));
	if (reader->line.len == DELIMITER_MAX + 2 ||
	    line_strip(text_slice(&reader->line)).len < reader->line.len)
		line_judge(reader);
	return slice_from(bytes, len);
}

/* Within a line: up to and with its CRLF, which is held. */
static struct slice
line_pass(struct mime_reader *reader, struct slice bytes)
{
	ptrdiff_t lf;
	size_t len;

	if (reader->held == 1 && bytes.bytes[0] == '\n') {
		reader->held = 2;
		reader->in_line = false;
		return slice_from(bytes, 1);
	}
	give_held(reader);
	reader->in_line = true;
	lf = slice_find(bytes, '\n');
	len = lf < 0 ? bytes.len : (size_t)lf;
	if (len > 0 && bytes.bytes[len - 1] == '\r') {
		give_bytes(reader, slice_sub(bytes, 0, len - 1));
		reader->held = lf < 0 ? 1 : 2;
		reader->in_line = lf < 0;
		return slice_from(bytes, len + (lf >= 0));
	}
	len += lf >= 0; /* an LF alone is part of the line */
	give_bytes(reader, slice_sub(bytes, 0, len));
	return slice_from(bytes, len);
}

static struct slice
body_feed(struct mime_reader *reader, struct slice bytes)
{
	bool at_start = !reader->in_line && reader->held != 1;

	if (reader->boundaries == 0) {
		give_bytes(reader, bytes);
		return SLICE_NONE;
	}
	if (reader->line.len > 0 || (at_start && bytes.bytes[0] == '-'))
		return line_gather(reader, bytes);
	return line_pass(reader, bytes);
}

void
mime_feed(struct mime_reader *reader, struct slice bytes)
{
	while (bytes.len > 0) {
		switch (reader->place) {
		case PLACE_HEADER:
			bytes = header_feed(reader, bytes);
			break;
		case PLACE_CONTENT:
		case PLACE_BETWEEN:
			bytes = body_feed(reader, bytes);
			break;
		case PLACE_LOST:
			give_bytes(reader, bytes);
			bytes = SLICE_NONE;
			break;
		}
	}
}

void
mime_finish(struct mime_reader *reader)
{
	/* A last line without CRLF may be a delimiter. */
	if (reader->place == PLACE_HEADER &&
	    reader->line_at < reader->header.len)
		header_line(reader);
	if (reader->place == PLACE_HEADER)
		header_end(reader, reader->header.len, false);
	if (reader->line.len > 0)
		line_judge(reader);
	if (reader->place == PLACE_HEADER)
		header_end(reader, 0, false);
	give_held(reader);
	give_content_end(reader);
}
