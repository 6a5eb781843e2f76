#include <criterion/criterion.h>

#include "relay/net/wire.h"

static const struct line_row {
	const char *name, *input;
	enum wire_status status;
	const char *line, *rest;
} line_rows[] = {
	{"one line", "NOOP\r\n", WIRE_LINE, "NOOP", ""},
	{"first of two", "RSET\r\nQUIT\r\n", WIRE_LINE, "RSET", "QUIT\r\n"},
	{"empty line", "\r\n", WIRE_LINE, "", ""},
	{"nothing yet", "", WIRE_MORE, "", ""},
	{"CR may become CRLF", "NOOP\r", WIRE_MORE, "", "NOOP\r"},
	{"bare LF", "NOOP\nQUIT\r\n", WIRE_BARE_LF, "", "NOOP\nQUIT\r\n"},
	{"bare LF first", "\n", WIRE_BARE_LF, "", "\n"},
	{"bare CR", "NO\rOP\r\n", WIRE_BARE_CR, "", "NO\rOP\r\n"},
	{"two CR", "NOOP\r\r\n", WIRE_BARE_CR, "", "NOOP\r\r\n"},
	{"bare CR behind which nothing ends", "NO\rOP", WIRE_BARE_CR, "",
	 "NO\rOP"},
	{"at the limit", "12345678\r\n", WIRE_LINE, "12345678", ""},
	{"at the limit, CR to come", "12345678", WIRE_MORE, "", "12345678"},
	{"at the limit, LF to come", "12345678\r", WIRE_MORE, "",
	 "12345678\r"},
	{"over the limit", "123456789\r\n", WIRE_TOO_LONG, "",
	 "123456789\r\n"},
	{"over the limit, no end yet", "123456789", WIRE_TOO_LONG, "",
	 "123456789"},
	{"over the limit and CR", "123456789\r", WIRE_TOO_LONG, "",
	 "123456789\r"},
	{"far over the limit", "1234567890123\r\n", WIRE_TOO_LONG, "",
	 "1234567890123\r\n"},
	{"bare LF at the limit", "12345678\n", WIRE_BARE_LF, "",
	 "12345678\n"},
};

Test(wire, line)
{
	for (size_t i = 0; i < COUNT(line_rows); i++) {
		const struct line_row *row = &line_rows[i];
		struct slice line = {0}, rest = {0};

		cr_expect_eq(wire_line(SLICE(row->input), 8, &line, &rest),
			     row->status, "%s: status", row->name);
		cr_expect(slice_eq(line, SLICE(row->line)),
			  "%s: line is '%.*s'", row->name, SLICE_ARG(line));
		cr_expect(slice_eq(rest, SLICE(row->rest)),
			  "%s: rest is '%.*s'", row->name, SLICE_ARG(rest));
	}
}

enum { CR = 1, LF = 2, NUL = 4, LONG = 8 };

#define ROW(name, input, message, flags, rest)                                 \
	{name, SLICE_LITERAL(input), SLICE_LITERAL(message), true, flags, rest}
#define OPEN(name, input, message, flags)                                      \
	{name, SLICE_LITERAL(input), SLICE_LITERAL(message), false, flags, ""}

static const struct data_row {
	const char *name;
	struct slice input, message;
	bool ends;
	int flags;
	const char *rest;
} data_rows[] = {
	ROW("a message", "a: b\r\n\r\nc\r\n.\r\n", "a: b\r\n\r\nc\r\n", 0, ""),
	ROW("an empty one", ".\r\n", "", 0, ""),
	ROW("commands behind it", "a\r\n.\r\nQUIT\r\n", "a\r\n", 0,
	    "QUIT\r\n"),
	ROW("a stuffed dot", "..\r\n.\r\n", ".\r\n", 0, ""),
	ROW("stuffed text", "..a\r\n.b\r\n.\r\n", ".a\r\nb\r\n", 0, ""),
	ROW("dots elsewhere", "a.\r\nb..c\r\n.\r\n", "a.\r\nb..c\r\n", 0, ""),
	ROW("8-bit", "\xc3\xa4\r\n.\r\n", "\xc3\xa4\r\n", 0, ""),
	ROW("NUL", "a\0b\r\n.\r\n", "a\0b\r\n", NUL, ""),
	ROW("LF.LF ends nothing", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", LF, ""),
	ROW("LF.CRLF ends nothing", "a\n.\r\nb\r\n.\r\n",
	    "a\n.\r\nb\r\n", LF, ""),
	ROW("CRLF.LF ends nothing", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", LF,
	    ""),
	ROW("CRLF.CR ends nothing", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", CR,
	    ""),
	ROW("CR.CR ends nothing", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", CR, ""),
	ROW("CR.CRLF ends nothing", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", CR,
	    ""),
	ROW("CRLF.CRCRLF ends nothing", "a\r\n.\r\r\nb\r\n.\r\n",
	    "a\r\n\r\r\nb\r\n", CR, ""),
	ROW("CRCRLF is a bare CR", "a\r\r\nb\r\n.\r\n", "a\r\r\nb\r\n", CR,
	    ""),
	ROW("CRLF.NULCRLF ends nothing", "a\r\n.\0\r\n.\r\n", "a\r\n\0\r\n",
	    NUL, ""),
	ROW("LF first", "\n.\r\n.\r\n", "\n.\r\n", LF, ""),
	ROW("flags stop at the end", "a\r\n.\r\n\n\xff", "a\r\n", 0, "\n\xff"),
	OPEN("not over", "a\r\n.", "a\r\n", 0),
	OPEN("not over, CR", "a\r\n.\r", "a\r\n", 0),
	OPEN("not over, within a line", "a\r\nb", "a\r\nb", 0),
	OPEN("not over, behind a CR", "a\r\nb\r", "a\r\nb\r", 0),
};

struct taker {
	struct text text;
	bool stops; /* false after each run */
};

static bool
take(void *owner, struct slice bytes)
{
	struct taker *taker = owner;

	text_add(&taker->text, bytes);
	return !taker->stops;
}

static int
flags_of(const struct wire_data *data)
{
	return (data->has_bare_cr ? CR : 0) | (data->has_bare_lf ? LF : 0) |
	       (data->has_nul ? NUL : 0) | (data->has_long_line ? LONG : 0);
}

/* In pieces of `size` octets. */
static void
expect_data(const struct data_row *row, size_t size, bool stops)
{
	struct taker taker = {.stops = stops};
	struct wire_data data;
	struct slice rest = row->input;
	enum wire_data_status status = WIRE_DATA_MORE;
	size_t used;

	wire_data_init(&data);
	while (status == WIRE_DATA_MORE && rest.len > 0) {
		status = wire_data_read(&data, slice_sub(rest, 0, size), &used,
					take, &taker);
		cr_assert(stops || status == WIRE_DATA_END || used > 0);
		rest = slice_from(rest, used);
	}
	cr_expect_eq(status == WIRE_DATA_END, row->ends, "%s (by %zu)",
		     row->name, size);
	cr_expect(slice_eq(text_slice(&taker.text), row->message),
		  "%s (by %zu): '%s'", row->name, size,
		  text_string(&taker.text));
	cr_expect(slice_eq(rest, SLICE(row->rest)), "%s (by %zu): rest",
		  row->name, size);
	cr_expect_eq(flags_of(&data), row->flags, "%s (by %zu): flags %d",
		     row->name, size, flags_of(&data));
	text_done(&taker.text);
}

Test(wire, data_in_any_pieces)
{
	for (size_t i = 0; i < COUNT(data_rows); i++)
		for (size_t size = 1; size <= data_rows[i].input.len; size++) {
			expect_data(&data_rows[i], size, false);
			expect_data(&data_rows[i], size, true);
		}
}

/* --- what is read at once is what is read byte by byte --- */

struct reading {
	struct text message;
	int flags;
	size_t used;
	unsigned state;
};

static void
read_by(struct slice input, size_t size, struct reading *out)
{
	enum wire_data_status status = WIRE_DATA_MORE;
	struct taker taker = {.stops = false};
	struct wire_data data;

	out->used = 0;
	wire_data_init(&data);
	while (status == WIRE_DATA_MORE && out->used < input.len) {
		size_t used;

		status = wire_data_read(&data,
					slice_sub(input, out->used, size),
					&used, take, &taker);
		out->used += used;
	}
	out->message = taker.text;
	out->flags = flags_of(&data);
	out->state = data.state;
}

static void
expect_same(const char *name, size_t at, struct slice input)
{
	static const size_t sizes[] = {7, 64, 65, 66, 80, 129, 100000};
	struct reading slow;

	read_by(input, 1, &slow);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct reading quick;

		read_by(input, sizes[i], &quick);
		cr_assert(slice_eq(text_slice(&quick.message),
				   text_slice(&slow.message)),
			  "%s at %zu, by %zu", name, at, sizes[i]);
		cr_assert_eq(quick.flags, slow.flags, "%s at %zu, by %zu: %d",
			     name, at, sizes[i], quick.flags);
		cr_assert_eq(quick.used, slow.used, "%s at %zu, by %zu", name,
			     at, sizes[i]);
		cr_assert_eq(quick.state, slow.state, "%s at %zu, by %zu",
			     name, at, sizes[i]);
		text_done(&quick.message);
	}
	text_done(&slow.message);
}

static const struct {
	const char *name;
	struct slice bytes;
} odd_rows[] = {
	{"nothing", SLICE_LITERAL("")},
	{"a dot", SLICE_LITERAL(".")},
	{"a CR", SLICE_LITERAL("\r")},
	{"an LF", SLICE_LITERAL("\n")},
	{"a NUL", SLICE_LITERAL("\0")},
	{"8-bit", SLICE_LITERAL("\xff")},
	{"an empty line", SLICE_LITERAL("\r\n\r\n")},
	{"a stuffed dot", SLICE_LITERAL("\r\n..")},
	{"a dot that is not stuffed", SLICE_LITERAL("\r\n.x")},
	{"a dot behind an LF", SLICE_LITERAL("\n.")},
	{"LF, CR", SLICE_LITERAL("\n\r")},
	{"two CRs", SLICE_LITERAL("\r\r\n")},
	{"the end", SLICE_LITERAL("\r\n.\r\n")},
	{"what only looks like it", SLICE_LITERAL("\r\n.\rx")},
};

Test(wire, at_once_as_byte_by_byte)
{
	for (size_t i = 0; i < COUNT(odd_rows); i++)
		for (size_t at = 0; at < 150; at++) {
			CLEAN(text_done) struct text input = {0};

			for (size_t j = 0; j < at; j++)
				text_add_byte(&input,
					      j % 40 == 38   ? '\r'
					      : j % 40 == 39 ? '\n'
							     : 'x');
			text_add(&input, odd_rows[i].bytes);
			for (unsigned j = 0; j < 6; j++)
				text_add_string(&input,
						"behind it\r\n and more\r\n");
			expect_same(odd_rows[i].name, at, text_slice(&input));
		}
}

/* Lines around the longest that may be, from anywhere within a block. */
Test(wire, long_lines_at_once)
{
	for (size_t before = 0; before < 70; before++)
		for (size_t len = 996; len < 1001; len++) {
			CLEAN(text_done) struct text input = {0};
			struct reading quick;

			for (size_t j = 0; j < before; j++)
				text_add_byte(&input, 'x');
			text_add_string(&input, "\r\n");
			for (size_t j = 0; j < len; j++)
				text_add_byte(&input, 'y');
			for (unsigned j = 0; j < 50; j++)
				text_add_string(&input, "\r\nz");
			expect_same("a long line", before, text_slice(&input));
			read_by(text_slice(&input), input.len, &quick);
			cr_expect_eq(quick.flags, len > 998 ? LONG : 0,
				     "%zu behind %zu", len, before);
			text_done(&quick.message);
		}
}

static const struct {
	const char *name;
	struct slice input;
	int flags;
	bool is_line_start;
} chunk_rows[] = {
	{"nothing", SLICE_LITERAL(""), 0, true},
	{"lines", SLICE_LITERAL("a\r\n\r\nb\r\n"), 0, true},
	{"an open line", SLICE_LITERAL("a\r\nb"), 0, false},
	{"what would end the data", SLICE_LITERAL("a\r\n.\r\nb\r\n"), 0,
	 true},
	{"dots", SLICE_LITERAL("..a\r\n.b\r\n"), 0, true},
	{"a CR at the end", SLICE_LITERAL("a\r"), 0, false},
	{"a CR behind a dot", SLICE_LITERAL(".\ra\r\n"), CR, true},
	{"a bare CR", SLICE_LITERAL("a\rb\r\n"), CR, true},
	{"two CRs", SLICE_LITERAL("a\r\r\n"), CR, true},
	{"a bare LF", SLICE_LITERAL("a\nb\r\n"), LF, true},
	{"a bare LF first", SLICE_LITERAL("\n"), LF, false},
	{"a NUL", SLICE_LITERAL("a\0b\r\n"), NUL, true},
};

Test(wire, chunks_in_any_pieces)
{
	for (size_t i = 0; i < COUNT(chunk_rows); i++)
		for (size_t size = 1; size <= chunk_rows[i].input.len + 1;
		     size++) {
			struct slice rest = chunk_rows[i].input;
			struct wire_data data;

			wire_data_init(&data);
			for (; rest.len > 0; rest = slice_from(rest, size))
				wire_chunk(&data, slice_sub(rest, 0, size));
			cr_expect_eq(flags_of(&data), chunk_rows[i].flags,
				     "%s by %zu", chunk_rows[i].name, size);
			cr_expect_eq(wire_is_line_start(&data),
				     chunk_rows[i].is_line_start, "%s by %zu",
				     chunk_rows[i].name, size);
		}
}

Test(wire, long_lines)
{
	static const struct {
		size_t len;
		bool is_long;
	} rows[] = {{998, false}, {999, true}, {5000, true}};

	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t size = 1; size < 6000; size += 499) {
			CLEAN(text_done) struct text input = {0};
			struct taker taker = {0};
			struct wire_data data;
			struct slice rest;
			size_t used;

			text_add_string(&input, "..\r\n.");
			for (size_t j = 0; j < rows[i].len; j++)
				text_add_byte(&input, 'x');
			text_add_string(&input, "\r\n.\r\n");
			rest = text_slice(&input);
			wire_data_init(&data);
			while (wire_data_read(&data, slice_sub(rest, 0, size),
					      &used, take, &taker) ==
			       WIRE_DATA_MORE)
				rest = slice_from(rest, used);
			cr_expect_eq(data.has_long_line, rows[i].is_long,
				     "%zu by %zu", rows[i].len, size);
			text_done(&taker.text);
		}
}

static const struct {
	const char *message, *stuffed;
} stuff_rows[] = {
	{"a\r\n", "a\r\n"},
	{".\r\n", "..\r\n"},
	{".a\r\n..\r\nb.\r\n", "..a\r\n...\r\nb.\r\n"},
	{"", ""},
};

Test(wire, stuffing_in_any_pieces_comes_back)
{
	for (size_t i = 0; i < COUNT(stuff_rows); i++)
		for (size_t size = 1; size < 8; size++) {
			CLEAN(text_done) struct text out = {0};
			struct slice rest = SLICE(stuff_rows[i].message);
			struct taker taker = {0};
			struct wire_data data;
			bool at_line_start = true;
			size_t used;

			while (rest.len > 0) {
				wire_stuff(&out, slice_sub(rest, 0, size),
					   &at_line_start);
				rest = slice_from(rest, size);
			}
			cr_expect_str_eq(text_string(&out),
					 stuff_rows[i].stuffed);
			cr_expect(at_line_start);
			text_add_string(&out, ".\r\n");
			wire_data_init(&data);
			cr_expect_eq(wire_data_read(&data, text_slice(&out),
						    &used, take, &taker),
				     WIRE_DATA_END);
			cr_expect(slice_eq(text_slice(&taker.text),
					   SLICE(stuff_rows[i].message)));
			text_done(&taker.text);
		}
}

/* Dots that begin a line or not, at every place of a few blocks. */
Test(wire, stuffing_at_every_place)
{
	for (size_t at = 0; at < 150; at++)
		for (size_t size = 1; size < 200; size += 33) {
			CLEAN(text_done) struct text message = {0}, out = {0};
			struct taker taker = {0};
			struct slice rest;
			struct wire_data data;
			bool at_line_start = true;
			size_t used;

			for (size_t i = 0; i < at; i++)
				text_add_byte(&message,
					      i % 50 == 48   ? '\r'
					      : i % 50 == 49 ? '\n'
					      : i % 9 == 8   ? '.'
							     : 'x');
			text_add_string(&message, ".\r\n...\r\nx\r\n.");
			for (unsigned i = 0; i < 70; i++)
				text_add_string(&message, "y.");
			text_add_string(&message, "\r\n.\r\n");
			rest = text_slice(&message);
			for (; rest.len > 0; rest = slice_from(rest, size))
				wire_stuff(&out, slice_sub(rest, 0, size),
					   &at_line_start);
			cr_expect(at_line_start);
			cr_expect_eq(out.len, message.len + 3 + (at % 50 == 0),
				     "%zu by %zu", at, size);
			text_add_string(&out, ".\r\n");
			wire_data_init(&data);
			cr_expect_eq(wire_data_read(&data, text_slice(&out),
						    &used, take, &taker),
				     WIRE_DATA_END);
			cr_expect_eq(used, out.len);
			cr_expect(slice_eq(text_slice(&taker.text),
					   text_slice(&message)),
				  "%zu by %zu", at, size);
			text_done(&taker.text);
		}
}

/* Whatever is taken of it at a time, what is taken is the same. */
Test(wire, lf_becomes_crlf_in_any_pieces)
{
	static const char input[] = "a\nb\r\n\n\rc\r\n.\n\r\n";
	static const char wanted[] = "a\r\nb\r\n\r\n\rc\r\n.\r\n\r\n";

	for (size_t piece = 1; piece < sizeof(input); piece++)
		for (size_t taken = 1; taken < sizeof(wanted); taken++) {
			CLEAN(text_done) struct text all = {0};
			struct wire_lf lf = {0};
			size_t at = 0;

			while (at < sizeof(input) - 1) {
				CLEAN(text_done) struct text out = {0};
				struct slice part = slice_sub(
					slice_of(input, sizeof(input) - 1), at,
					piece);
				struct slice some;

				wire_lf_write(&lf, part, &out);
				some = slice_sub(text_slice(&out), 0, taken);
				text_add(&all, some);
				at += wire_lf_used(&lf, part, some.len);
			}
			cr_expect_str_eq(text_string(&all), wanted,
					 "%zu, %zu", piece, taken);
		}
}
