#include "milter/canon.h"

#include "base/lanes.h"

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
	char *to;

	if (canon == CANON_SIMPLE || colon < 0) {
		text_add(out, field);
		return;
	}
	len = (size_t)colon;
	while (len > 0 && ascii_is_wsp(field.bytes[len - 1]))
		len--;
	to = text_room(out, len + 1);
	for (size_t i = 0; i < len; i++)
		to[i] = ascii_lower(field.bytes[i]);
	to[len] = ':';
	text_added(out, len + 1);
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

static void
lines_emit(struct canon_body *body)
{
#define LINES_8 "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
	static const char lines[] = LINES_8 LINES_8 LINES_8 LINES_8;
	uint64_t most = (sizeof(lines) - 1) / 2;

	while (body->held_lines > 0) {
		uint64_t count =
			body->held_lines < most ? body->held_lines : most;

		run_emit(body, lines, 2 * (size_t)count);
		body->held_lines -= count;
	}
}

/* Something follows what was held back, so it counts after all. */
static void
held_emit(struct canon_body *body)
{
	lines_emit(body);
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

/* ---- many bytes at once ---- */

#define BLOCK (4 * LANES)
/* A block, and what is read behind it. */
#define BLOCK_READ (BLOCK + LANES)

/* A bit for each lane that is true, the first one lowest. */
static inline uint64_t
lanes_mask(lanes value)
{
	uint64_t halves[2], mask = 0;

	memcpy(halves, &value, sizeof(halves));
	for (size_t i = 0; i < COUNT(halves); i++) {
		bool is_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
		uint64_t half = is_little ? halves[i]
					  : __builtin_bswap64(halves[i]);

		/* One bit of each byte, then their sum in the highest. */
		half = (half & 0x8040201008040201) * 0x0101010101010101;
		mask |= half >> 56 << 8 * i;
	}
	return mask;
}

static inline uint64_t
bits_count(uint64_t bits)
{
	bits -= bits >> 1 & 0x5555555555555555;
	bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return bits * 0x0101010101010101 >> 56;
}

/* How many are true. */
static inline uint64_t
lanes_count(lanes value)
{
	uint64_t halves[2];

	memcpy(halves, &value, sizeof(halves));
	halves[0] = (halves[0] & 0x0101010101010101) +
		    (halves[1] & 0x0101010101010101);
	return halves[0] * 0x0101010101010101 >> 56;
}

static inline lanes
lanes_wsp(lanes value)
{
	return (value == ' ') | (value == '\t');
}

/* ---- what stands between ---- */

/* True in each lane whose byte relaxing may change or drop: a tab, or a space
 * before more white space or the end of a line. */
static inline lanes
lanes_changed(const char *bytes)
{
	lanes here = lanes_load(bytes), next = lanes_load(bytes + 1);

	return (here == '\t') |
	       ((here == ' ') & (lanes_wsp(next) | (next == '\r')));
}

static inline bool
block_is_changed(const char *bytes)
{
	return lanes_any(lanes_changed(bytes) | lanes_changed(bytes + LANES) |
			 lanes_changed(bytes + 2 * LANES) |
			 lanes_changed(bytes + 3 * LANES));
}

/* True where the byte goes: white space before more of it, of which the last
 * stays, or before CRLF. */
static inline lanes
lanes_dropped(const char *bytes)
{
	lanes here = lanes_load(bytes), next = lanes_load(bytes + 1),
	      behind = lanes_load(bytes + 2);

	return lanes_wsp(here) & (lanes_wsp(next) |
				  ((next == '\r') & (behind == '\n')));
}

/* Copies whole lanes: up to LANES - 1 bytes more are read and written. */
static inline void
run_copy(const char *bytes, size_t len, char *to)
{
	for (size_t i = 0; i < len; i += LANES) {
		lanes value = lanes_load(bytes + i);

		value ^= (value == '\t') & (signed char)('\t' ^ ' ');
		memcpy(to + i, &value, sizeof(value));
	}
}

/* The bytes of a block whose bits are set, run by run. */
static inline char *
runs_keep(const char *bytes, uint64_t keep, char *to)
{
	/* A bit where each begins, and one behind each that ends here: no step
	 * waits for the one before. */
	uint64_t starts = keep & ~(keep << 1), ends = ~keep & keep << 1;

	for (; starts != 0; starts &= starts - 1, ends &= ends - 1) {
		size_t start = (size_t)__builtin_ctzll(starts);
		size_t end = ends == 0 ? BLOCK : (size_t)__builtin_ctzll(ends);

		run_copy(bytes + start, end - start, to);
		to += end - start;
	}
	return to;
}

/* Where there are more runs, it is quicker one by one. */
#define RUNS_MAX 12

static inline char *
bytes_keep(const char *bytes, uint64_t keep, char *to)
{
	char block[BLOCK];

	run_copy(bytes, BLOCK, block);
#pragma GCC unroll 8
	for (size_t i = 0; i < BLOCK; i++) {
		*to = block[i];
		to += keep & 1;
		keep >>= 1;
	}
	return to;
}

/* A block of which BLOCK_READ bytes are there. */
static void
block_emit(struct canon_body *body, const char *bytes)
{
	uint64_t keep = 0;
	char *to;

	for (size_t i = 0; i < BLOCK; i += LANES)
		keep |= lanes_mask(~lanes_dropped(bytes + i)) << i;
	if (sizeof(body->buffer) - body->used < BLOCK_READ)
		buffer_flush(body);
	to = body->buffer + body->used;
	to = bits_count(keep & ~(keep << 1)) > RUNS_MAX
		     ? bytes_keep(bytes, keep, to)
		     : runs_keep(bytes, keep, to);
	body->used = (size_t)(to - body->buffer);
}

/* Likewise, of less than that, to its end. */
static void
rest_emit(struct canon_body *body, const char *bytes, size_t len)
{
	char *to;

	if (sizeof(body->buffer) - body->used < len)
		buffer_flush(body);
	to = body->buffer + body->used;
	for (size_t i = 0; i < len; i++) {
		char c = bytes[i];

		if (!ascii_is_wsp(c))
			*to++ = c;
		else if (!ascii_is_wsp(bytes[i + 1]) &&
			 (bytes[i + 1] != '\r' || bytes[i + 2] != '\n'))
			*to++ = ' ';
	}
	body->used = (size_t)(to - body->buffer);
}

/* RFC 6376 3.4.4 a for bytes whose last is neither white space nor a line
 * end, so that every decision can be made inside. */
static void
relaxed_emit(struct canon_body *body, const char *bytes, size_t len)
{
	while (len >= BLOCK_READ) {
		size_t run = 0;

		while (len - run >= BLOCK_READ &&
		       !block_is_changed(bytes + run))
			run += BLOCK;
		run_emit(body, bytes, run);
		bytes += run;
		len -= run;
		if (len < BLOCK_READ)
			break;
		block_emit(body, bytes);
		bytes += BLOCK;
		len -= BLOCK;
	}
	rest_emit(body, bytes, len);
}

/* ---- what may have to be held back ---- */

static bool
is_held_byte(const struct canon_body *body, char c)
{
	return c == '\r' || c == '\n' ||
	       (body->canon == CANON_RELAXED && ascii_is_wsp(c));
}

static inline bool
lanes_are_held(const struct canon_body *body, const char *bytes)
{
	lanes here = lanes_load(bytes);
	lanes held = (here == '\r') | (here == '\n');

	if (body->canon == CANON_RELAXED)
		held |= lanes_wsp(here);
	return !lanes_any(~held);
}

/* The length without such bytes at the end. */
static size_t
end_find(const struct canon_body *body, struct slice bytes)
{
	size_t end = bytes.len;

	while (end >= LANES && lanes_are_held(body, bytes.bytes + end - LANES))
		end -= LANES;
	while (end > 0 && is_held_byte(body, bytes.bytes[end - 1]))
		end--;
	return end;
}

/* How many of them are at the front; there is a byte that is none. */
static size_t
front_find(const struct canon_body *body, struct slice bytes)
{
	size_t at = 0;

	while (bytes.len - at >= LANES &&
	       lanes_are_held(body, bytes.bytes + at))
		at += LANES;
	while (is_held_byte(body, bytes.bytes[at]))
		at++;
	return at;
}

/* Whether each CR has its LF and each LF its CR; *lines_out is how many. */
static bool
lines_count(const char *bytes, size_t len, uint64_t *lines_out)
{
	lanes odd = {0};
	size_t i = 0;

	*lines_out = 0;
	if (len > 0 && (bytes[0] == '\n' || bytes[len - 1] == '\r'))
		return false;
	for (; i + LANES < len; i += LANES) {
		lanes cr = lanes_load(bytes + i) == '\r';

		odd |= cr ^ (lanes_load(bytes + i + 1) == '\n');
		*lines_out += lanes_count(cr);
	}
	for (; i + 1 < len; i++) {
		if ((bytes[i] == '\r') != (bytes[i + 1] == '\n'))
			return false;
		*lines_out += bytes[i] == '\r';
	}
	return !lanes_any(odd);
}

/* Of bytes that may all have to be held back. */
static void
tail_feed(struct canon_body *body, const char *bytes, size_t len)
{
	bool ends_in_cr = len > 0 && bytes[len - 1] == '\r';
	uint64_t lines;

	if (len == 0)
		return;
	if (body->held_cr || !lines_count(bytes, len - ends_in_cr, &lines)) {
		for (size_t i = 0; i < len; i++)
			byte_feed(body, bytes[i]);
		return;
	}
	len -= ends_in_cr;
	body->held_lines += lines;
	if (len > 0)
		body->held_space = ascii_is_wsp(bytes[len - 1]) ||
				   (lines == 0 && body->held_space);
	body->held_cr = ends_in_cr;
}

void
canon_body_feed(struct canon_body *body, struct slice bytes)
{
	/* Behind the last byte that is sure to count stands only what may have
	 * to be held back. */
	size_t start = 0, end = end_find(body, bytes);

	if (end > 0 && is_held(body)) {
		start = front_find(body, bytes);
		tail_feed(body, bytes.bytes, start);
		held_emit(body);
	}
	if (start < end) {
		body->has_content = true;
		if (body->canon == CANON_RELAXED)
			relaxed_emit(body, bytes.bytes + start, end - start);
		else
			run_emit(body, bytes.bytes + start, end - start);
	}
	tail_feed(body, bytes.bytes + end, bytes.len - end);
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
