#include "relay/net/reply.h"

/* RFC 5321 4.5.3.1.5, with code and CRLF. */
#define REPLY_OCTETS_MAX 512
/* Nearly every one is shorter. */
#define REPLY_OCTETS_GUESS 127

static char
printable(char byte)
{
	return byte >= ' ' && byte <= '~' ? byte : '?';
}

static void
write_line(struct text *out, const struct reply *reply, struct slice line,
	   bool is_last)
{
	const unsigned code = reply->code;
	const char head[] = {(char)('0' + code / 100),
			     (char)('0' + code / 10 % 10),
			     (char)('0' + code % 10), is_last ? ' ' : '-'};
	char *at;

	(void)text_room(out, REPLY_OCTETS_GUESS);
	text_add(out, slice_of(head, sizeof(head)));
	if (reply->status != NULL) {
		text_add_string(out, reply->status);
		text_add_byte(out, ' ');
	}
	at = text_room(out, line.len);
	for (size_t i = 0; i < line.len; i++)
		at[i] = printable(line.bytes[i]);
	text_added(out, line.len);
	text_add_string(out, "\r\n");
}

/* Takes the next line, or as much of it as one line may hold. */
static struct slice
take_line(struct slice *rest, size_t max)
{
	ptrdiff_t lf = slice_find(*rest, '\n');
	struct slice line = *rest;

	if (lf >= 0)
		line = slice_sub(*rest, 0, (size_t)lf);
	if (line.len > max) {
		*rest = slice_from(*rest, max);
		return slice_sub(line, 0, max);
	}
	*rest = slice_from(*rest, lf >= 0 ? line.len + 1 : line.len);
	return line;
}

void
reply_write(struct text *out, const struct reply *reply, struct slice extra)
{
	CLEAN(text_done) struct text joined = {0};
	struct slice rest = SLICE(reply->text), line;
	size_t head = sizeof("250 ") - 1 + sizeof("\r\n") - 1;

	ASSERT(reply->code >= 200);
	ASSERT(reply->code <= 599);
	if (reply->status != NULL)
		head += strlen(reply->status) + 1;
	if (extra.len > 0) {
		text_add(&joined, rest);
		text_add(&joined, extra);
		rest = text_slice(&joined);
	}
	do {
		line = take_line(&rest, REPLY_OCTETS_MAX - head);
		write_line(out, reply, line, rest.len == 0);
	} while (rest.len > 0);
}

void
reply_reader_done(struct reply_reader *reader)
{
	text_done(&reader->text);
	*reader = (struct reply_reader){0};
}

/* Digits of one part of an enhanced code: RFC 3463 2 allows up to three. */
static size_t
digits(struct slice text)
{
	size_t count = 0;

	while (count < text.len && ascii_is_digit(text.bytes[count]))
		count++;
	return count;
}

/* "5.1.1" in front of a space or the end; its class has to be the code's (RFC
 * 2034 4). */
static struct slice
find_status(struct slice text, unsigned code)
{
	size_t at = 1, part;

	if (text.len == 0 || text.bytes[0] != (char)('0' + code / 100))
		return SLICE_NONE;
	for (unsigned i = 0; i < 2; i++) {
		if (at >= text.len || text.bytes[at] != '.')
			return SLICE_NONE;
		part = digits(slice_from(text, at + 1));
		if (part == 0 || part > 3)
			return SLICE_NONE;
		at += 1 + part;
	}
	if (at < text.len && text.bytes[at] != ' ' && text.bytes[at] != '\n')
		return SLICE_NONE;
	return slice_sub(text, 0, at);
}

static bool
read_code(struct slice line, unsigned *code_out)
{
	if (line.len < 3 || digits(slice_sub(line, 0, 3)) != 3 ||
	    line.bytes[0] < '2' || line.bytes[0] > '5')
		return false;
	*code_out = (unsigned)(line.bytes[0] - '0') * 100 +
		    (unsigned)(line.bytes[1] - '0') * 10 +
		    (unsigned)(line.bytes[2] - '0');
	return true;
}

/* And what follows it: a space or nothing where it is the last line. */
static bool
read_head(struct slice line, unsigned *code_out, bool *is_last_out)
{
	char sign = line.len > 3 ? line.bytes[3] : ' ';

	*is_last_out = sign == ' ';
	return (sign == ' ' || sign == '-') && read_code(line, code_out);
}

static void
keep_text(struct reply_reader *reader, struct slice text)
{
	size_t room;

	if (reader->lines > 0 && reader->text.len < REPLY_TEXT_MAX)
		text_add_byte(&reader->text, '\n');
	room = REPLY_TEXT_MAX - reader->text.len;
	if (text.len > room)
		text.len = room;
	for (size_t i = 0; i < text.len; i++)
		text_add_byte(&reader->text, printable(text.bytes[i]));
}

/* One line without its end. RFC 5321 4.2.1: the same code on every line; the
 * last one has a space behind it, or nothing at all. */
static enum reply_status
read_line(struct reply_reader *reader, struct slice line)
{
	bool is_other, is_last;
	unsigned code;

	if (!read_head(line, &code, &is_last) ||
	    reader->lines >= REPLY_LINES_MAX)
		return REPLY_BROKEN;
	is_other = reader->lines > 0 && code != reader->code;
	if (code > reader->code)
		reader->code = code;
	keep_text(reader, slice_from(line, 4));
	reader->lines++;
	if (is_other)
		return REPLY_BROKEN;
	return is_last ? REPLY_COMPLETE : REPLY_MORE;
}

static void
reply_set(const struct reply_reader *reader, struct reply_in *reply)
{
	reply->code = reader->code;
	reply->text = text_slice(&reader->text);
	reply->status = find_status(reply->text, reader->code);
}

enum reply_status
reply_read(struct reply_reader *reader, struct slice input, size_t *used_out,
	   struct reply_in *reply)
{
	enum reply_status status = REPLY_MORE;
	struct slice rest = input, line;
	ptrdiff_t lf;

	if (reader->is_complete) {
		text_clear(&reader->text);
		reader->code = reader->lines = 0;
		reader->is_complete = false;
	}
	while (status == REPLY_MORE) {
		lf = slice_find(slice_sub(rest, 0, REPLY_LINE_MAX), '\n');
		if (lf < 0)
			break;
		line = slice_sub(rest, 0, (size_t)lf);
		/* Nobody can smuggle anything in a reply: be lenient. */
		if (line.len > 0 && line.bytes[line.len - 1] == '\r')
			line.len--;
		rest = slice_from(rest, (size_t)lf + 1);
		status = read_line(reader, line);
	}
	if (status == REPLY_MORE && rest.len >= REPLY_LINE_MAX)
		status = REPLY_BROKEN;
	*used_out = input.len - rest.len;
	if (status != REPLY_COMPLETE)
		return status;
	reader->is_complete = true;
	reply_set(reader, reply);
	return status;
}

/* The code of a line that is none of a reply ("250ok"), or of one without its
 * end: shorter than that the code may not be whole. */
static bool
read_code_alone(struct slice rest, unsigned *code_out, struct slice *text_out)
{
	struct slice line;

	rest = slice_sub(rest, 0, REPLY_LINE_MAX);
	rest = slice_from(rest, (size_t)(slice_trim(rest).bytes - rest.bytes));
	if (!slice_split(&rest, '\n', &line) || line.len < 4 ||
	    ascii_is_digit(line.bytes[3]) || !read_code(line, code_out))
		return false;
	*text_out = slice_trim(slice_from(line, 3));
	return true;
}

bool
reply_read_begun(struct reply_reader *reader, struct slice rest,
		 struct reply_in *reply)
{
	struct slice text;

	if (reader->is_complete)
		return false;
	if (reader->lines == 0) {
		if (!read_code_alone(rest, &reader->code, &text))
			return false;
		keep_text(reader, text);
	}
	reply_set(reader, reply);
	return true;
}
