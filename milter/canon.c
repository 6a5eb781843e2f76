#include "milter/canon.h"

/* A run at least this long goes to the sink as it is, without a copy. */
#define RUN_DIRECT_MIN 1024

static const char *const names[] = {
	[CANON_SIMPLE] = "simple",
	[CANON_RELAXED] = "relaxed",
};

const char *
canon_name(enum canonicalization canon)
{
	return names[canon];
}

bool
canon_find(struct slice name, enum canonicalization *canon_out)
{
	for (size_t i = 0; i < COUNT(names); i++)
		if (slice_eq_nocase(name, SLICE(names[i]))) {
			*canon_out = (enum canonicalization)i;
			return true;
		}
	return false;
}

/* ---- header fields ---- */

/* RFC 6376 3.4.2: unfolds, makes one space of each run of white space, drops
 * it at both ends. */
static void
header_value_relax(struct slice value, struct text *out)
{
	char *to = text_room(out, value.len), *start = to;
	bool held_space = false;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (c == '\r' && i + 1 < value.len &&
		    value.bytes[i + 1] == '\n') {
			i++;
			continue;
		}
		if (ascii_is_wsp(c)) {
			held_space = true;
			continue;
		}
		if (held_space && to != start)
			*to++ = ' ';
		held_space = false;
		*to++ = c;
	}
	text_added(out, (size_t)(to - start));
}

void
canon_header(enum canonicalization canon, struct slice field, struct text *out)
{
	ptrdiff_t colon = slice_find(field, ':');
	size_t len;

	if (canon == CANON_SIMPLE || colon < 0) {
		text_add(out, field);
		return;
	}
	len = (size_t)colon;
	while (len > 0 && ascii_is_wsp(field.bytes[len - 1]))
		len--;
	for (size_t i = 0; i < len; i++)
		text_add_byte(out, ascii_lower(field.bytes[i]));
	text_add_byte(out, ':');
	header_value_relax(slice_from(field, (size_t)colon + 1), out);
}

/* ---- bodies ---- */

void
canon_body_init(struct canon_body *body, enum canonicalization canon,
		canon_sink_fn *sink, void *owner)
{
	ASSERT(sink != NULL);
	body->canon = canon;
	body->sink = sink;
	body->owner = owner;
	body->held_lines = 0;
	body->held_space = body->held_cr = body->has_content = false;
	body->used = 0;
}

static void
buffer_flush(struct canon_body *body)
{
	if (body->used > 0)
		body->sink(body->owner, slice_of(body->buffer, body->used));
	body->used = 0;
}

static void
run_emit(struct canon_body *body, const char *bytes, size_t len)
{
	if (len == 0)
		return;
	if (len >= RUN_DIRECT_MIN) {
		buffer_flush(body);
		body->sink(body->owner, slice_of(bytes, len));
		return;
	}
	if (len > sizeof(body->buffer) - body->used)
		buffer_flush(body);
	memcpy(body->buffer + body->used, bytes, len);
	body->used += len;
}

/* Something follows what was held back, so it counts after all. */
static void
held_emit(struct canon_body *body)
{
	for (; body->held_lines > 0; body->held_lines--)
		run_emit(body, "\r\n", 2);
	if (body->held_space)
		run_emit(body, " ", 1);
	if (body->held_cr)
		run_emit(body, "\r", 1);
	body->held_space = body->held_cr = false;
	body->has_content = true;
}

static bool
is_held(const struct canon_body *body)
{
	return body->held_lines > 0 || body->held_space || body->held_cr;
}

/* One byte, with regard to all that is held back. */
static void
byte_feed(struct canon_body *body, char c)
{
	if (body->held_cr && c == '\n') {
		body->held_cr = body->held_space = false;
		body->held_lines++;
		return;
	}
	if (body->held_cr)
		held_emit(body);
	if (c == '\r') {
		body->held_cr = true;
	} else if (body->canon == CANON_RELAXED && ascii_is_wsp(c)) {
		body->held_space = true;
	} else {
		held_emit(body);
		run_emit(body, &c, 1);
	}
}

static bool
is_held_byte(char c)
{
	return ascii_is_wsp(c) || c == '\r' || c == '\n';
}

/* The compiler's own vectors: SSE2, NEON or plain code, as there is. */
#define LANES ((size_t)16)
typedef signed char lanes __attribute__((vector_size(16)));

static inline lanes
lanes_load(const char *bytes)
{
	lanes value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

/* True in each lane whose byte relaxing changes or drops: a tab, or a space
 * before more white space or the end of a line. */
static inline lanes
lanes_changed(const char *bytes)
{
	lanes here = lanes_load(bytes), next = lanes_load(bytes + 1);

	return (here == '\t') |
	       ((here == ' ') &
		((next == ' ') | (next == '\t') | (next == '\r')));
}

/* The first lane that is true, or LANES. */
static inline size_t
lanes_first(lanes value)
{
	uint64_t halves[2];

	memcpy(halves, &value, sizeof(halves));
	for (size_t i = 0; i < COUNT(halves); i++)
		if (halves[i] != 0) {
			bool is_little =
				__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
			int bits = is_little ? __builtin_ctzll(halves[i])
					     : __builtin_clzll(halves[i]);

			return i * sizeof(halves[0]) + (size_t)bits / 8;
		}
	return LANES;
}

/* How many bytes at the front stay as they are. The last byte is no white
 * space. */
static inline size_t
unchanged_len(const char *bytes, size_t len)
{
	size_t i = 0, first;

	while (i + 4 * LANES < len &&
	       lanes_first(lanes_changed(bytes + i) |
			   lanes_changed(bytes + i + LANES) |
			   lanes_changed(bytes + i + 2 * LANES) |
			   lanes_changed(bytes + i + 3 * LANES)) == LANES)
		i += 4 * LANES;
	for (; i + LANES < len; i += LANES) {
		first = lanes_first(lanes_changed(bytes + i));
		if (first < LANES)
			return i + first;
	}
	for (; i + 1 < len; i++) {
		char next = bytes[i + 1];

		if (bytes[i] == '\t' ||
		    (bytes[i] == ' ' && (ascii_is_wsp(next) || next == '\r')))
			return i;
	}
	return len;
}

/* RFC 6376 3.4.4 a for bytes whose last is neither white space nor a line
 * end, so that every decision can be made inside. */
static void
relaxed_emit(struct canon_body *body, const char *bytes, size_t len)
{
	while (len > 0) {
		size_t run = LANES;

		if (len > LANES)
			run = lanes_first(lanes_changed(bytes));
		if (run == LANES) {
			run = unchanged_len(bytes, len);
			run_emit(body, bytes, run);
		} else {
			/* A short run: a fixed size costs no call. */
			if (sizeof(body->buffer) - body->used < LANES)
				buffer_flush(body);
			memcpy(body->buffer + body->used, bytes, LANES);
			body->used += run;
		}
		bytes += run;
		len -= run;
		if (len == 0)
			return;
		for (; ascii_is_wsp(*bytes); bytes++)
			len--;
		if (bytes[0] != '\r' || bytes[1] != '\n')
			run_emit(body, " ", 1);
	}
}

void
canon_body_feed(struct canon_body *body, struct slice bytes)
{
	size_t start = 0, end = bytes.len;

	/* Behind the last byte that is sure to count stands only what may have
	 * to be held back. */
	while (end > 0 && is_held_byte(bytes.bytes[end - 1]))
		end--;
	while (start < end && is_held(body))
		byte_feed(body, bytes.bytes[start++]);
	if (start < end) {
		body->has_content = true;
		if (body->canon == CANON_RELAXED)
			relaxed_emit(body, bytes.bytes + start, end - start);
		else
			run_emit(body, bytes.bytes + start, end - start);
	}
	for (size_t i = end; i < bytes.len; i++)
		byte_feed(body, bytes.bytes[i]);
}

/* RFC 6376 3.4.3 and 3.4.4 b: the empty lines at the end do not count; a last
 * line without CRLF gets one; no body is one CRLF when simple, nothing when
 * relaxed. */
void
canon_body_finish(struct canon_body *body)
{
	if (body->held_cr)
		held_emit(body);
	if (body->has_content || body->canon == CANON_SIMPLE)
		run_emit(body, "\r\n", 2);
	buffer_flush(body);
}
