#include "relay/net/wire.h"

#include "base/lanes.h"

/* RFC 5322 2.1.1, without the CRLF. */
#define LINE_OCTETS_MAX 998

enum wire_status
wire_line(struct slice input, size_t max, struct slice *line,
	  struct slice *rest)
{
	size_t seen = input.len < max + 2 ? input.len : max + 2;
	struct slice head = slice_sub(input, 0, seen);
	ptrdiff_t lf = slice_find(head, '\n');
	ptrdiff_t cr = slice_find(
		slice_sub(head, 0, lf >= 0 ? (size_t)lf : seen), '\r');

	*line = SLICE_NONE;
	*rest = input;
	if (cr < 0 && lf < 0)
		return input.len > max ? WIRE_TOO_LONG : WIRE_MORE;
	if (cr < 0)
		return (size_t)lf > max ? WIRE_TOO_LONG : WIRE_BARE_LF;
	if ((size_t)cr > max)
		return WIRE_TOO_LONG;
	if ((size_t)cr + 1 == input.len)
		return WIRE_MORE;
	if (lf != cr + 1)
		return WIRE_BARE_CR;
	*line = slice_sub(input, 0, (size_t)cr);
	*rest = slice_from(input, (size_t)lf + 1);
	return WIRE_LINE;
}

void
wire_lf_write(const struct wire_lf *lf, struct slice input, struct text *out)
{
	bool is_behind_cr = lf->is_behind_cr;

	for (size_t i = 0; i < input.len; i++) {
		if (input.bytes[i] == '\n' && !is_behind_cr)
			text_add_byte(out, '\r');
		text_add_byte(out, input.bytes[i]);
		is_behind_cr = input.bytes[i] == '\r';
	}
}

size_t
wire_lf_used(struct wire_lf *lf, struct slice input, size_t used)
{
	size_t at = 0;

	while (at < input.len && used > 0) {
		if (input.bytes[at] == '\n' && !lf->is_behind_cr) {
			/* The CR that we put there; and the LF, unless that
			 * was the last to be taken. */
			lf->is_behind_cr = true;
			used--;
			continue;
		}
		lf->is_behind_cr = input.bytes[at] == '\r';
		used--;
		at++;
	}
	return at;
}

/*
 * Where the reader stands between two bytes. A CR is handed on at once, since
 * it belongs to the message whatever follows, but for the one behind a dot that
 * began a line: with an LF it is the end of data, else both a stuffed dot and a
 * bare CR were there.
 */
enum {
	AT_LINE_START,
	BEHIND_DOT,    /* a dot began the line; it is not handed on */
	BEHIND_DOT_CR, /* and a CR follows; not handed on yet */
	IN_LINE,
	BEHIND_CR,
};

void
wire_data_init(struct wire_data *data)
{
	*data = (struct wire_data){.state = AT_LINE_START};
}

static void
count_line(struct wire_data *data, size_t len)
{
	data->line_len += len;
	if (data->line_len > LINE_OCTETS_MAX)
		data->has_long_line = true;
}

/* What may stand anywhere, but has to be known of. */
static void
note_octets(struct wire_data *data, struct slice bytes)
{
	if (!data->has_nul && slice_find(bytes, '\0') >= 0)
		data->has_nul = true;
}

/* The rest of a line, from anywhere within it; gives its length with the CRLF
 * where that is there. Bare CR and LF are noted and are part of the line. */
static size_t
read_line(struct wire_data *data, struct slice input)
{
	size_t at = 0;

	while (at < input.len) {
		struct slice rest = slice_from(input, at);
		ptrdiff_t lf = slice_find(rest, '\n');
		size_t upto = lf < 0 ? rest.len : (size_t)lf;
		ptrdiff_t cr = slice_find(slice_sub(rest, 0, upto), '\r');

		if (cr >= 0 && (size_t)cr + 1 < upto) {
			/* A CR, and then neither LF nor the end of input. */
			data->has_bare_cr = true;
			count_line(data, (size_t)cr + 1);
			at += (size_t)cr + 1;
		} else if (lf < 0) {
			data->state = cr >= 0 ? BEHIND_CR : IN_LINE;
			count_line(data, cr >= 0 ? (size_t)cr : rest.len);
			return input.len;
		} else if (cr >= 0) {
			count_line(data, (size_t)cr);
			data->line_len = 0;
			data->state = AT_LINE_START;
			return at + (size_t)lf + 1;
		} else {
			data->has_bare_lf = true;
			count_line(data, (size_t)lf + 1);
			at += (size_t)lf + 1;
		}
	}
	data->state = IN_LINE;
	return input.len;
}

/* One byte behind a CR. */
static size_t
read_behind_cr(struct wire_data *data, struct slice input)
{
	if (input.bytes[0] == '\n') {
		data->line_len = 0;
		data->state = AT_LINE_START;
		return 1;
	}
	data->has_bare_cr = true;
	count_line(data, 1);
	data->state = IN_LINE;
	return read_line(data, input);
}

/* ---- many lines at once ---- */

#define BLOCK (4 * LANES)

/* True in each lane whose byte has to be looked at: a NUL, a CR or LF without
 * the other, and, where dots are stuffed, the LF before one that begins a line.
 * Reads one byte more. */
static inline lanes
lanes_odd(const char *bytes, bool is_stuffed)
{
	lanes here = lanes_load(bytes), next = lanes_load(bytes + 1);
	lanes odd = ((here == '\r') ^ (next == '\n')) | (here == 0);

	if (is_stuffed)
		odd |= (here == '\n') & (next == '.');
	return odd;
}

/* How many bytes at the front, in whole blocks, have nothing of the kind. What
 * stands before them is no CR. */
static size_t
plain_find(struct slice input, bool is_stuffed)
{
	const char *bytes = input.bytes;
	size_t len = 0;

	if (bytes[0] == '\n')
		return 0;
	while (input.len - len > BLOCK &&
	       !lanes_any(lanes_odd(bytes + len, is_stuffed) |
			  lanes_odd(bytes + len + LANES, is_stuffed) |
			  lanes_odd(bytes + len + 2 * LANES, is_stuffed) |
			  lanes_odd(bytes + len + 3 * LANES, is_stuffed)))
		len += BLOCK;
	return len;
}

/* Takes note of the lines of such bytes. Each is looked for from where the
 * longest one could end, so that few bytes are looked at again. */
static void
note_plain(struct wire_data *data, struct slice bytes)
{
	char last = bytes.bytes[bytes.len - 1];
	struct slice rest = bytes;

	for (;;) {
		size_t most = data->line_len > LINE_OCTETS_MAX
				      ? 0
				      : LINE_OCTETS_MAX + 2 - data->line_len;
		ptrdiff_t lf = slice_find_last(slice_sub(rest, 0, most), '\n');

		if (lf < 0 && rest.len >= most) {
			data->has_long_line = true;
			lf = slice_find(rest, '\n');
		}
		if (lf < 0)
			break;
		data->line_len = 0;
		rest = slice_from(rest, (size_t)lf + 1);
	}
	if (rest.len > 0)
		count_line(data, rest.len - (last == '\r'));
	data->state = last == '\n'   ? AT_LINE_START
		      : last == '\r' ? BEHIND_CR
				     : IN_LINE;
}

/* Lines that need no change, as many as there are; where dots are stuffed, up to
 * one that begins a line. */
static size_t
read_run(struct wire_data *data, struct slice input, bool is_stuffed)
{
	size_t at = 0, len;

	while (at < input.len) {
		struct slice rest = slice_from(input, at);

		if (is_stuffed && data->state == AT_LINE_START &&
		    rest.bytes[0] == '.')
			break;
		len = data->state == BEHIND_CR ? 0
					       : plain_find(rest, is_stuffed);
		if (len > 0) {
			note_plain(data, slice_sub(rest, 0, len));
		} else {
			len = data->state == BEHIND_CR
				      ? read_behind_cr(data, rest)
				      : read_line(data, rest);
			note_octets(data, slice_sub(rest, 0, len));
		}
		at += len;
	}
	return at;
}

enum wire_data_status
wire_data_read(struct wire_data *data, struct slice input, size_t *used_out,
	       bool (*take)(void *owner, struct slice bytes), void *owner)
{
	enum wire_data_status status = WIRE_DATA_MORE;
	bool goes_on = true;
	size_t used = 0, run;

	while (goes_on && used < input.len) {
		struct slice rest = slice_from(input, used);
		char byte = rest.bytes[0];

		if (data->state == AT_LINE_START && byte == '.') {
			data->state = BEHIND_DOT;
			used++;
		} else if (data->state == BEHIND_DOT) {
			data->state = byte == '\r' ? BEHIND_DOT_CR : IN_LINE;
			used += byte == '\r';
		} else if (data->state == BEHIND_DOT_CR && byte == '\n') {
			used++;
			status = WIRE_DATA_END;
			goes_on = false;
		} else if (data->state == BEHIND_DOT_CR) {
			data->state = BEHIND_CR;
			goes_on = take(owner, SLICE("\r"));
		} else {
			run = read_run(data, rest, true);
			used += run;
			goes_on = take(owner, slice_sub(rest, 0, run));
		}
	}
	*used_out = used;
	return status;
}

void
wire_chunk(struct wire_data *data, struct slice bytes)
{
	size_t used = read_run(data, bytes, false);

	ASSERT(used == bytes.len);
}

bool
wire_is_line_start(const struct wire_data *data)
{
	return data->state == AT_LINE_START;
}

/* ---- the other way ---- */

static inline lanes
lanes_before_dot(const char *bytes)
{
	return (lanes_load(bytes) == '\n') & (lanes_load(bytes + 1) == '.');
}

/* The length up to the first line that begins with a dot, which the first does
 * not count as. */
static size_t
dot_find(struct slice slice)
{
	const char *bytes = slice.bytes;
	size_t at = 0;

	while (slice.len - at > BLOCK &&
	       !lanes_any(lanes_before_dot(bytes + at) |
			  lanes_before_dot(bytes + at + LANES) |
			  lanes_before_dot(bytes + at + 2 * LANES) |
			  lanes_before_dot(bytes + at + 3 * LANES)))
		at += BLOCK;
	for (;;) {
		ptrdiff_t lf = slice_find(slice_from(slice, at), '\n');

		if (lf < 0)
			return slice.len;
		at += (size_t)lf + 1;
		if (at == slice.len || bytes[at] == '.')
			return at;
	}
}

bool
wire_stuff_run(struct slice *rest, bool *at_line_start, struct slice *run_out)
{
	size_t len;

	if (rest->len == 0)
		return false;
	/* The dot is sent twice: now, and with what it begins. */
	if (*at_line_start && rest->bytes[0] == '.') {
		*at_line_start = false;
		*run_out = slice_sub(*rest, 0, 1);
		return true;
	}
	len = dot_find(*rest);
	*run_out = slice_sub(*rest, 0, len);
	*at_line_start = rest->bytes[len - 1] == '\n';
	*rest = slice_from(*rest, len);
	return true;
}

void
wire_stuff(struct text *out, struct slice bytes, bool *at_line_start)
{
	struct slice run;

	while (wire_stuff_run(&bytes, at_line_start, &run))
		text_add(out, run);
}
