/* However a message is cut, its structure is the same, and no byte of it is
 * lost; what a part decodes to is the same whatever encodes it; and a repaired
 * message has the same parts with the same content. The first byte says how the
 * rest is cut. Control characters stand for what takes a fuzzer too long to
 * write: a run, the beginning of a part. */
#include "base/base64.h"
#include "milter/repair.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define HEADER_MAX 8192
#define EXPANDED_MAX 8192
#define LINE_MAX 998

/* --- decoding --- */

static int
hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* One line, as strict decoders take it: white space at its end is not there;
 * a "=" at its end joins it to the next one. */
static void
quoted_line_decode(struct slice line, bool has_end, struct text *out)
{
	size_t end = line.len;
	bool is_soft;

	while (has_end && end > 0 && ascii_is_wsp(line.bytes[end - 1]))
		end--;
	is_soft = has_end && end > 0 && line.bytes[end - 1] == '=';
	if (is_soft)
		end--;
	for (size_t i = 0; i < end; i++) {
		bool is_escape = line.bytes[i] == '=' && i + 2 < end &&
				 hex_value(line.bytes[i + 1]) >= 0 &&
				 hex_value(line.bytes[i + 2]) >= 0;

		if (!is_escape) {
			text_add_byte(out, line.bytes[i]);
			continue;
		}
		text_add_byte(out, (char)(hex_value(line.bytes[i + 1]) * 16 +
					  hex_value(line.bytes[i + 2])));
		i += 2;
	}
	if (has_end && !is_soft)
		text_add_string(out, "\r\n");
}

static void
quoted_decode(struct slice bytes, struct text *out)
{
	size_t from = 0;

	for (size_t i = 0; i + 1 < bytes.len; i++)
		if (bytes.bytes[i] == '\r' && bytes.bytes[i + 1] == '\n') {
			quoted_line_decode(slice_sub(bytes, from, i - from),
					   true, out);
			from = i + 2;
		}
	quoted_line_decode(slice_from(bytes, from), false, out);
}

/* Base64 that is none is compared without its white space. */
static void
base64_decode(struct slice bytes, struct text *out)
{
	if (base64_read(out, bytes))
		return;
	for (size_t i = 0; i < bytes.len; i++)
		if (!ascii_is_wsp(bytes.bytes[i]) && bytes.bytes[i] != '\r' &&
		    bytes.bytes[i] != '\n')
			text_add_byte(out, bytes.bytes[i]);
}

static void
decode(enum encode_given given, struct slice bytes, struct text *out)
{
	switch (given) {
	case ENCODE_GIVEN_NONE:
		text_add(out, bytes);
		break;
	case ENCODE_GIVEN_QUOTED_PRINTABLE:
		quoted_decode(bytes, out);
		break;
	case ENCODE_GIVEN_BASE64:
		base64_decode(bytes, out);
		break;
	}
}

static void
lines_check(struct slice bytes, size_t max)
{
	size_t column = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.bytes[i] == '\r' && i + 1 < bytes.len &&
		    bytes.bytes[i + 1] == '\n') {
			column = 0;
			i++;
			continue;
		}
		column++;
		ASSERT(column <= max);
	}
}

/* --- encoding --- */

static void
encode_cut(enum encode_kind kind, struct slice bytes, size_t step,
	   struct text *out)
{
	struct encoder encoder;

	encode_init(&encoder, kind);
	for (; bytes.len > 0; bytes = slice_from(bytes, step))
		encode_feed(&encoder, slice_sub(bytes, 0, step), out);
	encode_finish(&encoder, out);
}

static void
encode_check(enum encode_given given, struct slice bytes, size_t step)
{
	CLEAN(text_done)
	struct text whole = {0}, cut = {0}, before = {0}, after = {0};
	struct encode_measure measure;
	enum encode_kind kind;

	encode_measure_init(&measure);
	encode_measure_feed(&measure, bytes);
	if (encode_choose(&measure, given, step % 2 != 0, &kind) != NULL)
		return;
	encode_cut(kind, bytes, SIZE_MAX, &whole);
	encode_cut(kind, bytes, step, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	lines_check(text_slice(&whole),
		    encode_name(kind) != NULL ? ENCODE_LINE_MAX : LINE_MAX);
	decode(given, bytes, &before);
	if (kind == ENCODE_QUOTED_PRINTABLE)
		given = ENCODE_GIVEN_QUOTED_PRINTABLE;
	else if (kind == ENCODE_BASE64)
		given = ENCODE_GIVEN_BASE64;
	decode(given, text_slice(&whole), &after);
	ASSERT(slice_eq(text_slice(&before), text_slice(&after)));
}

/* --- structure --- */

/* All bytes, and what the parts decode to with marks between. */
struct trace {
	struct text all, events, decoded, content;
	bool is_loose;    /* lines between parts may be broken */
	bool is_replaced; /* 8-bit octets there are "?" */
	enum mime_event last;
	size_t parts;
};

static void
trace_done(struct trace *trace)
{
	text_done(&trace->all);
	text_done(&trace->events);
	text_done(&trace->decoded);
	text_done(&trace->content);
}

static void
between_add(struct trace *trace, struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.bytes[i];

		if (trace->is_loose && memchr("\r\n-", c, 3) != NULL)
			continue;
		if (trace->is_replaced && (unsigned char)c >= 0x80)
			c = '?';
		text_add_byte(&trace->decoded, c);
	}
}

static void
trace_sink(void *owner, enum mime_event event, const struct mime_part *part,
	   struct slice bytes)
{
	struct trace *trace = owner;

	text_add(&trace->all, bytes);
	if (event != trace->last || event == MIME_HEADER ||
	    event == MIME_CONTENT_END)
		text_addf(&trace->events, "<%d %zu %d>", (int)event,
			  part->index, (int)part->kind);
	trace->last = event;
	text_add(&trace->events, bytes);
	switch (event) {
	case MIME_HEADER:
		trace->parts++;
		text_addf(&trace->decoded, "<%zu %d>", part->index,
			  (int)part->kind);
		break;
	case MIME_CONTENT:
		text_add(&trace->content, bytes);
		break;
	case MIME_CONTENT_END:
		decode(part->given, text_slice(&trace->content),
		       &trace->decoded);
		text_clear(&trace->content);
		break;
	case MIME_BETWEEN:
		between_add(trace, bytes);
		break;
	}
}

static const char *
trace_cut(struct slice bytes, size_t step, struct trace *trace)
{
	CLEAN(mime_reader_free_clean)
	struct mime_reader *reader =
		mime_reader_new(HEADER_MAX, trace_sink, trace);
	size_t size = bytes.len;

	for (; bytes.len > 0; bytes = slice_from(bytes, step))
		mime_feed(reader, slice_sub(bytes, 0, step));
	mime_finish(reader);
	ASSERT(trace->all.len == size);
	return mime_trouble(reader);
}

static void
structure_check(struct slice bytes, size_t step)
{
	CLEAN(trace_done) struct trace whole = {.last = MIME_CONTENT_END};
	CLEAN(trace_done) struct trace cut = {.last = MIME_CONTENT_END};
	const char *trouble = trace_cut(bytes, SIZE_MAX, &whole);

	ASSERT(slice_eq(text_slice(&whole.all), bytes));
	ASSERT(trace_cut(bytes, step, &cut) == trouble);
	ASSERT(slice_eq(text_slice(&cut.all), bytes));
	if (trouble == NULL)
		ASSERT(slice_eq(text_slice(&whole.events),
				text_slice(&cut.events)));
}

/* --- repairing --- */

static void
repair_cut(struct slice bytes, size_t step, struct repair_report *report,
	   struct text *out)
{
	static const struct repair_needs needs = {true, true, true, true};
	CLEAN(repair_free_clean)
	struct repair *repair = repair_new(&needs, HEADER_MAX);
	struct slice rest = bytes;

	for (; rest.len > 0; rest = slice_from(rest, step))
		repair_look(repair, slice_sub(rest, 0, step));
	*report = *repair_decide(repair);
	for (rest = bytes; rest.len > 0; rest = slice_from(rest, step))
		repair_write(repair, slice_sub(rest, 0, step), out);
	repair_finish(repair, out);
}

static void
repair_check(struct slice bytes, size_t step)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0};
	CLEAN(trace_done) struct trace before = {.last = MIME_CONTENT_END};
	CLEAN(trace_done) struct trace after = {.last = MIME_CONTENT_END};
	struct repair_report report, again;
	const char *trouble;

	repair_cut(bytes, SIZE_MAX, &report, &whole);
	repair_cut(bytes, step, &again, &cut);
	ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	if (!repair_changes(&report)) {
		ASSERT(slice_eq(text_slice(&whole), bytes));
		return;
	}
	ASSERT(whole.len <= repair_size_max(bytes.len));
	before.is_loose = after.is_loose = report.breaks_between;
	before.is_replaced = after.is_replaced = report.replaces_between;
	/* Who asks for 7-bit gets that, or is told. */
	for (size_t i = 0; i < whole.len && report.left_8bit == NULL; i++)
		ASSERT((unsigned char)whole.bytes[i] < 0x80);
	if (report.left == NULL && !report.has_long_word)
		lines_check(text_slice(&whole), LINE_MAX);
	trouble = trace_cut(bytes, SIZE_MAX, &before);
	ASSERT(whole.len <= bytes.len + bytes.len / 2 +
				    128 * (1 + before.parts));
	/* A header may have grown over what the reader takes. */
	if (trouble == NULL &&
	    trace_cut(text_slice(&whole), SIZE_MAX, &after) == NULL)
		ASSERT(slice_eq(text_slice(&before.decoded),
				text_slice(&after.decoded)));
}

static const struct {
	char sign;
	unsigned count;
	const char *words;
} expansions[] = {
	{'\x01', 1000, "x"},
	{'\x02', 333, "ab "},
	{'\x03', 90, "a@b.example,"},
	{'\x04', 200, "- \r\n"},
	{'\x05', 200, "From x\r\n"},
	{'\x06', 200, "\xfc"},
	{'\x0e', 1, "Content-Type: message/rfc822\r\n\r\n"},
	{'\x0f', 1,
	 "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"},
	{'\x10', 1,
	 "Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n"},
	{'\x11', 1, "\r\n--b\r\n"},
	{'\x12', 50, "\r\n--d\r\n\r\n\r\n\xfc"},
};

static void
expand(struct slice bytes, struct text *out)
{
	for (size_t i = 0; i < bytes.len && out->len < EXPANDED_MAX; i++) {
		size_t row = 0;

		while (row < COUNT(expansions) &&
		       expansions[row].sign != bytes.bytes[i])
			row++;
		if (row == COUNT(expansions)) {
			text_add_byte(out, bytes.bytes[i]);
			continue;
		}
		for (unsigned n = 0; n < expansions[row].count; n++)
			text_add_string(out, expansions[row].words);
	}
}

/* Of libFuzzer, where it is linked. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t len, size_t max)
	__attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max,
			       unsigned seed);

/* Every other time one of those signs goes in somewhere. */
size_t
LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max, unsigned seed)
{
	size_t at;

	if (seed % 2 == 0 || len == max || len == 0)
		return LLVMFuzzerMutate(bytes, len, max);
	at = 1 + (seed >> 8) % len;
	memmove(bytes + at + 1, bytes + at, len - at);
	bytes[at] = (uint8_t)expansions[(seed >> 1) % COUNT(expansions)].sign;
	return len + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text expanded = {0};
	struct slice message;
	size_t step;

	if (len < 2)
		return 0;
	step = (size_t)bytes[0] + 1;
	expand(slice_of(bytes + 1, len - 1), &expanded);
	message = text_slice(&expanded);
	encode_check(ENCODE_GIVEN_NONE, message, step);
	encode_check(ENCODE_GIVEN_QUOTED_PRINTABLE, message, step);
	encode_check(ENCODE_GIVEN_BASE64, message, step);
	structure_check(message, step);
	repair_check(message, step);
	return 0;
}
