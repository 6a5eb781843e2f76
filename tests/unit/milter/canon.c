#include <criterion/criterion.h>
#include <stdlib.h>

#include "milter/canon.h"

static void
text_sink(void *owner, struct slice bytes)
{
	cr_assert_gt(bytes.len, 0);
	text_add(owner, bytes);
}

static void
body_whole(enum canonicalization canon, struct slice body, struct text *out)
{
	struct canon_body state;

	canon_body_init(&state, canon, text_sink, out);
	canon_body_feed(&state, body);
	canon_body_finish(&state);
}

static const struct {
	const char *name, *field, *simple, *relaxed;
} header_rows[] = {
	{"RFC 6376 3.4.5, first", "A: X", "A: X", "a:X"},
	{"RFC 6376 3.4.5, second", "B : Y\t\r\n\tZ  ", "B : Y\t\r\n\tZ  ",
	 "b:Y Z"},
	{"empty value", "A:", "A:", "a:"},
	{"white space only", "A: \r\n \t", "A: \r\n \t", "a:"},
	{"tab before the colon", "Subject\t: x", "Subject\t: x", "subject:x"},
	{"colons in the value", "A: b: c:d", "A: b: c:d", "a:b: c:d"},
	{"8-bit stays", "S: \xc3\xa4 \xff", "S: \xc3\xa4 \xff",
	 "s:\xc3\xa4 \xff"},
	{"folding alone is one space", "A: b\r\n c", "A: b\r\n c", "a:b c"},
	{"upper case in the value stays", "FROM: A@B", "FROM: A@B",
	 "from:A@B"},
	{"a bare CR is a byte", "A: b\rc", "A: b\rc", "a:b\rc"},
	{"at the end, too", "A: b\r", "A: b\r", "a:b\r"},
	{"no colon", "A b", "A b", "A b"},
	{"no name", ": b", ": b", ":b"},
	{"a bare LF is a byte", "A: b\nc", "A: b\nc", "a:b\nc"},
};

Test(canon, header)
{
	for (size_t i = 0; i < COUNT(header_rows); i++) {
		CLEAN(text_done) struct text simple = {0}, relaxed = {0};

		canon_header(CANON_SIMPLE, SLICE(header_rows[i].field),
			     &simple);
		canon_header(CANON_RELAXED, SLICE(header_rows[i].field),
			     &relaxed);
		cr_expect_str_eq(text_string(&simple), header_rows[i].simple,
				 "%s", header_rows[i].name);
		cr_expect_str_eq(text_string(&relaxed), header_rows[i].relaxed,
				 "%s", header_rows[i].name);
	}
}

static const struct {
	const char *name, *body, *simple, *relaxed;
} body_rows[] = {
	{"RFC 6376 3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n",
	 " C\r\nD E\r\n"},
	{"nothing", "", "\r\n", ""},
	{"one empty line", "\r\n", "\r\n", ""},
	{"empty lines", "\r\n\r\n\r\n", "\r\n", ""},
	{"no line end", "abc", "abc\r\n", "abc\r\n"},
	{"space before no line end", "abc ", "abc \r\n", "abc\r\n"},
	{"only a space", " ", " \r\n", ""},
	{"only spaces and lines", " \r\n\t\r\n", " \r\n\t\r\n", ""},
	{"empty lines in front stay", "\r\n\r\na\r\n", "\r\n\r\na\r\n",
	 "\r\n\r\na\r\n"},
	{"blank lines inside", "a\r\n \r\n\r\nb", "a\r\n \r\n\r\nb\r\n",
	 "a\r\n\r\n\r\nb\r\n"},
	{"white space at the end of the last line", "a \t\r\n", "a \t\r\n",
	 "a\r\n"},
	{"bare LF is a byte", "a\nb \nc", "a\nb \nc\r\n", "a\nb \nc\r\n"},
	{"bare CR is a byte", "a\rb \rc", "a\rb \rc\r\n", "a\rb \rc\r\n"},
	{"CR CR LF", "a\r\r\n\r\n", "a\r\r\n", "a\r\r\n"},
	{"CR at the end", "a \r", "a \r\r\n", "a \r\r\n"},
	{"CR alone", "\r", "\r\r\n", "\r\r\n"},
	{"space, CR CR LF", "a \r\r\nb", "a \r\r\nb\r\n", "a \r\r\nb\r\n"},
	{"tabs become a space", "a\tb\t\tc", "a\tb\t\tc\r\n", "a b c\r\n"},
	{"leading run becomes a space", "\t  a", "\t  a\r\n", " a\r\n"},
	{"8-bit", "\xff \x80\r\n", "\xff \x80\r\n", "\xff \x80\r\n"},
	{"trailing blank lines with a space between",
	 "a\r\n \r\n \r\n", "a\r\n \r\n \r\n", "a\r\n"},
};

Test(canon, body)
{
	for (size_t i = 0; i < COUNT(body_rows); i++) {
		CLEAN(text_done) struct text simple = {0}, relaxed = {0};

		body_whole(CANON_SIMPLE, SLICE(body_rows[i].body), &simple);
		body_whole(CANON_RELAXED, SLICE(body_rows[i].body), &relaxed);
		cr_expect_str_eq(text_string(&simple), body_rows[i].simple,
				 "%s", body_rows[i].name);
		cr_expect_str_eq(text_string(&relaxed), body_rows[i].relaxed,
				 "%s", body_rows[i].name);
	}
}

/* Every pair of cuts of every row, each piece in memory of its own so that
 * the sanitizer sees a step over its end. */
static void
piece_feed(struct canon_body *state, struct slice piece)
{
	char *copy = memory_new(piece.len);

	if (piece.len > 0)
		memcpy(copy, piece.bytes, piece.len);
	canon_body_feed(state, slice_of(copy, piece.len));
	free(copy);
}

static void
expect_cut(enum canonicalization canon, struct slice body, size_t first,
	   size_t second)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0};
	struct canon_body state;

	body_whole(canon, body, &whole);
	canon_body_init(&state, canon, text_sink, &cut);
	piece_feed(&state, slice_sub(body, 0, first));
	piece_feed(&state, slice_sub(body, first, second - first));
	piece_feed(&state, slice_from(body, second));
	canon_body_finish(&state);
	cr_expect(slice_eq(text_slice(&whole), text_slice(&cut)),
		  "'%.*s' %d: cut at %zu and %zu", SLICE_ARG(body), canon,
		  first, second);
}

Test(canon, every_cut_of_short_bodies)
{
	for (size_t i = 0; i < COUNT(body_rows); i++) {
		struct slice body = SLICE(body_rows[i].body);

		for (size_t a = 0; a <= body.len; a++)
			for (size_t b = a; b <= body.len; b++) {
				expect_cut(CANON_SIMPLE, body, a, b);
				expect_cut(CANON_RELAXED, body, a, b);
			}
	}
}

/* RFC 6376 3.4.3 and 3.4.4 word by word, one line at a time: slow, and plain
 * enough to be right. */
static void
body_slow(enum canonicalization canon, struct slice body, struct text *out)
{
	size_t kept = 0, start = 0;

	for (size_t i = 0; i <= body.len; i++) {
		bool ends = i + 1 < body.len && body.bytes[i] == '\r' &&
			    body.bytes[i + 1] == '\n';
		size_t line = out->len;
		bool held = false;

		if (!ends && i < body.len)
			continue;
		for (size_t k = start; k < i; k++) {
			if (canon == CANON_RELAXED &&
			    ascii_is_wsp(body.bytes[k])) {
				held = true;
				continue;
			}
			if (held)
				text_add_byte(out, ' ');
			held = false;
			text_add_byte(out, body.bytes[k]);
		}
		if (out->len > line || ends)
			text_add_string(out, "\r\n");
		if (out->len > line + 2)
			kept = out->len;
		if (ends)
			start = ++i + 1;
	}
	out->len = kept;
	if (kept == 0 && canon == CANON_SIMPLE)
		text_add_string(out, "\r\n");
}

Test(canon, random_bodies_in_random_pieces)
{
	static const char alphabet[] = "  \t\t\r\n\r\n\r\nab\xff\n";

	srand(1);
	for (int round = 0; round < 3000; round++) {
		enum canonicalization canon =
			round % 2 == 0 ? CANON_SIMPLE : CANON_RELAXED;
		CLEAN(text_done) struct text body = {0}, slow = {0}, cut = {0};
		int len = rand() % 700, plain = rand() % 40;
		int pieces = 1 + rand() % 400;
		struct canon_body state;
		struct slice rest;

		for (int i = 0; i < len; i++) {
			if (rand() % 40 < plain)
				text_add_byte(&body, 'x');
			else if (rand() % 4 == 0)
				text_add_string(&body, "\r\n");
			else
				text_add_byte(&body,
					      alphabet[rand() %
						       (int)(sizeof(alphabet) -
							     1)]);
		}
		body_slow(canon, text_slice(&body), &slow);
		canon_body_init(&state, canon, text_sink, &cut);
		rest = text_slice(&body);
		while (rest.len > 0) {
			size_t piece = (size_t)(rand() % (pieces + 1));

			piece_feed(&state, slice_sub(rest, 0, piece));
			rest = slice_from(rest, piece);
		}
		canon_body_finish(&state);
		cr_assert(slice_eq(text_slice(&slow), text_slice(&cut)),
			  "round %d", round);
	}
}

/* What is short goes through the buffer, what is long past it: each in its turn,
 * and no more than the buffer holds. */
Test(canon, short_and_long_runs_stay_in_order)
{
	static const size_t pieces[] = {3, 900, 1023, 1024, 1025, 3000, 1};
	CLEAN(text_done) struct text body = {0};

	for (unsigned i = 0; body.len < 5 * CANON_BUFFER_SIZE; i++) {
		for (unsigned j = 0; j < i * 37 % 3000; j++)
			text_add_byte(&body, 'x');
		text_addf(&body, "%u\r\n", i);
	}
	for (int canon = CANON_SIMPLE; canon <= CANON_RELAXED; canon++) {
		CLEAN(text_done) struct text slow = {0}, cut = {0};
		struct slice rest = text_slice(&body);
		struct canon_body state;

		body_slow((enum canonicalization)canon, rest, &slow);
		canon_body_init(&state, (enum canonicalization)canon, text_sink,
				&cut);
		for (size_t i = 0; rest.len > 0; i++) {
			size_t piece = pieces[i % COUNT(pieces)];

			piece_feed(&state, slice_sub(rest, 0, piece));
			rest = slice_from(rest, piece);
		}
		canon_body_finish(&state);
		cr_expect(slice_eq(text_slice(&slow), text_slice(&cut)), "%d",
			  canon);
	}
}

/* Empty lines in the middle, in one piece and cut before, within and behind a
 * line end: all of them count once something follows. */
Test(canon, many_empty_lines)
{
	for (size_t lines = 1; lines < 400; lines += lines < 80 ? 1 : 37)
		for (size_t cut = 0; cut < 12; cut++) {
			enum canonicalization canon =
				lines % 2 == 0 ? CANON_SIMPLE : CANON_RELAXED;
			CLEAN(text_done) struct text body = {0}, slow = {0},
						     fast = {0};
			struct canon_body state;
			size_t first = cut < 6 ? cut : 2 * lines + cut - 6;

			text_add_string(&body, "a\r\n");
			for (size_t i = 0; i < lines; i++)
				text_add_string(&body, "\r\n");
			text_add_string(&body, cut % 2 == 0 ? "b\r\n" : "\rb");
			body_slow(canon, text_slice(&body), &slow);
			canon_body_init(&state, canon, text_sink, &fast);
			piece_feed(&state, slice_sub(text_slice(&body), 0,
						     first));
			piece_feed(&state,
				   slice_from(text_slice(&body), first));
			canon_body_finish(&state);
			cr_expect(slice_eq(text_slice(&slow),
					   text_slice(&fast)),
				  "%zu lines, cut at %zu", lines, first);
		}
}

/* Two spaces in each 64 octets: all is copied through the buffer. Its end comes
 * at each place of what is read at once, and with as much behind it. */
Test(canon, where_the_buffer_ends)
{
	CLEAN(text_done) struct text body = {0};

	while (body.len < CANON_BUFFER_SIZE + 600)
		text_add_string(&body, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  "
				       "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
	for (size_t skip = 0; skip < 64; skip++)
		for (size_t len = CANON_BUFFER_SIZE - 90;
		     len < CANON_BUFFER_SIZE + 200;
		     len += skip == 0 ? 1 : 29) {
			CLEAN(text_done) struct text slow = {0}, whole = {0};
			struct slice part =
				slice_sub(text_slice(&body), skip, len);

			body_slow(CANON_RELAXED, part, &slow);
			body_whole(CANON_RELAXED, part, &whole);
			cr_assert(slice_eq(text_slice(&slow),
					   text_slice(&whole)),
				  "%zu behind %zu", len, skip);
		}
}

Test(canon, long_runs_pass_whole)
{
	CLEAN(text_done) struct text body = {0}, out = {0};

	for (int i = 0; i < 20000; i++)
		text_addf(&body, "line %d of many\r\n", i);
	for (int i = 0; i < 5000; i++)
		text_add_string(&body, "\r\n");
	text_add_string(&body, "end");
	body_whole(CANON_RELAXED, text_slice(&body), &out);
	text_add_string(&body, "\r\n");
	cr_expect(slice_eq(text_slice(&body), text_slice(&out)));
}

Test(canon, names)
{
	enum canonicalization canon;

	cr_expect(canon_find(SLICE("relaxed"), &canon));
	cr_expect_eq(canon, CANON_RELAXED);
	cr_expect(canon_find(SLICE("simple"), &canon));
	cr_expect_eq(canon, CANON_SIMPLE);
	cr_expect_not(canon_find(SLICE("nowsp"), &canon));
	cr_expect_not(canon_find(SLICE(""), &canon));
}
