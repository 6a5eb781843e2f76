#include <criterion/criterion.h>
#include <stdlib.h>

#include "milter/header.h"

/* Writes what the reader gives as "[field]…", then "|" and the body, or "!"
 * where the header is too large. */
static void
trace(struct slice message, size_t step, size_t size_max, struct text *out)
{
	struct header_reader reader;
	enum header_status status = HEADER_MORE;
	struct slice field;

	header_reader_init(&reader, size_max);
	while (message.len > 0 && status == HEADER_MORE) {
		struct slice piece = slice_sub(message, 0, step);

		message = slice_from(message, step);
		while ((status = header_read(&reader, &piece, &field)) ==
		       HEADER_FIELD)
			text_addf(out, "[%.*s]", SLICE_ARG(field));
		if (status == HEADER_END) {
			text_addf(out, "|%.*s%.*s", SLICE_ARG(piece),
				  SLICE_ARG(message));
		}
	}
	while (status == HEADER_MORE || status == HEADER_FIELD) {
		status = header_read_last(&reader, &field);
		if (status == HEADER_FIELD)
			text_addf(out, "[%.*s]", SLICE_ARG(field));
	}
	if (status == HEADER_TOO_LARGE)
		text_add_string(out, "!");
	header_reader_done(&reader);
}

static const struct {
	const char *name, *message;
	size_t size_max;
	const char *trace;
} reader_rows[] = {
	{"two fields and a body", "A: b\r\nC: d\r\n\r\nbody\r\n", 100,
	 "[A: b][C: d]|body\r\n"},
	{"folded", "A: b\r\n c\r\n\td\r\nE:f\r\n\r\n", 100,
	 "[A: b\r\n c\r\n\td][E:f]|"},
	{"no empty line", "A: b\r\nC: d\r\n", 100, "[A: b][C: d]"},
	{"no last line end", "A: b\r\nC: d", 100, "[A: b][C: d]"},
	{"folded, no last line end", "A: b\r\n d", 100, "[A: b\r\n d]"},
	{"nothing", "", 100, ""},
	{"no header", "\r\nbody", 100, "|body"},
	{"no colon", "A: b\r\nnothing\r\n\r\nx", 100, "[A: b][nothing]|x"},
	{"white space first", " x\r\nA: b\r\n\r\n", 100, "[ x][A: b]|"},
	{"a line of white space goes on", "A: b\r\n \r\nC: d\r\n\r\n", 100,
	 "[A: b\r\n ][C: d]|"},
	{"bare LF ends nothing", "A: b\nC: d\r\n\r\n", 100,
	 "[A: b\nC: d]|"},
	{"LF LF is no end", "A: b\r\n\nC: d\r\n\r\n", 100,
	 "[A: b][\nC: d]|"},
	{"bare CR ends nothing", "A: b\rC: d\r\n\r\n", 100,
	 "[A: b\rC: d]|"},
	{"CR CR LF is no end", "A: b\r\n\r\r\n\r\nx", 100, "[A: b][\r]|x"},
	{"CR at the very end", "A: b\r\n\r", 100, "[A: b][\r]"},
	{"the body starts with a space", "A: b\r\n\r\n x", 100, "[A: b]| x"},
	{"at the bound", "A: b\r\n\r\n", 8, "[A: b]|"},
	{"over the bound", "A: b\r\n\r\n", 7, "[A: b]!"},
	{"over the bound in one field", "A: bbbbbbbbb", 8, "!"},
};

Test(header, reader)
{
	for (size_t i = 0; i < COUNT(reader_rows); i++) {
		struct slice message = SLICE(reader_rows[i].message);

		for (size_t step = 1; step <= message.len + 1; step++) {
			CLEAN(text_done) struct text out = {0};

			trace(message, step, reader_rows[i].size_max, &out);
			/* What is over the bound is refused with what it
			 * came with; the fields before may be given or not. */
			cr_expect_str_eq(text_string(&out),
					 reader_rows[i].trace,
					 "%s, in pieces of %zu: '%s'",
					 reader_rows[i].name, step,
					 text_string(&out));
		}
	}
}

static const struct {
	const char *name;
	struct slice field;
	const char *field_name, *value;
} field_rows[] = {
	{"plain", SLICE_LITERAL("From: a"), "From", " a"},
	{"space before the colon", SLICE_LITERAL("From \t: a"), "From", " a"},
	{"empty value", SLICE_LITERAL("X:"), "X", ""},
	{"folded", SLICE_LITERAL("X: a\r\n b"), "X", " a\r\n b"},
	{"8-bit value", SLICE_LITERAL("X: \xff\xc3\xa4"), "X", " \xff\xc3\xa4"},
	{"odd but allowed name", SLICE_LITERAL("!#$%&'*+-./^_`|~9: x"),
	 "!#$%&'*+-./^_`|~9", " x"},
	{"no colon", SLICE_LITERAL("abc"), NULL, NULL},
	{"nothing", SLICE_LITERAL(""), NULL, NULL},
	{"empty name", SLICE_LITERAL(": a"), NULL, NULL},
	{"white space for a name", SLICE_LITERAL(" : a"), NULL, NULL},
	{"leading white space", SLICE_LITERAL(" A: a"), NULL, NULL},
	{"space in the name", SLICE_LITERAL("From user Sat 10:00"), NULL,
	 NULL},
	{"8-bit name", SLICE_LITERAL("\xc3\xa4: a"), NULL, NULL},
	{"control in the name", SLICE_LITERAL("A\x01: a"), NULL, NULL},
	{"NUL in the name", SLICE_LITERAL("A\0: a"), NULL, NULL},
	{"DEL in the name", SLICE_LITERAL("A\x7f: a"), NULL, NULL},
	{"NUL in the value", SLICE_LITERAL("A: a\0b"), NULL, NULL},
	{"NUL behind the colon", SLICE_LITERAL("A:\0b"), NULL, NULL},
	{"bare CR", SLICE_LITERAL("A: a\rb"), NULL, NULL},
	{"bare CR at the end", SLICE_LITERAL("A: a\r"), NULL, NULL},
	{"bare LF", SLICE_LITERAL("A: a\n b"), NULL, NULL},
	{"bare LF behind the colon", SLICE_LITERAL("A:\n b"), NULL, NULL},
	{"CRLF that folds nothing", SLICE_LITERAL("A: a\r\nb"), NULL, NULL},
	{"CRLF at the end", SLICE_LITERAL("A: a\r\n"), NULL, NULL},
	{"CR CR LF", SLICE_LITERAL("A: a\r\r\n b"), NULL, NULL},
};

Test(header, field)
{
	for (size_t i = 0; i < COUNT(field_rows); i++) {
		struct slice name = SLICE_NONE, value = SLICE_NONE;
		const char *problem =
			header_field_parse(field_rows[i].field, &name, &value);

		cr_expect_eq(problem == NULL, field_rows[i].value != NULL,
			     "%s: %s", field_rows[i].name,
			     problem == NULL ? "taken" : problem);
		cr_expect(slice_eq(name, SLICE(field_rows[i].field_name)),
			  "%s: name", field_rows[i].name);
		cr_expect(slice_eq(value, SLICE(field_rows[i].value)),
			  "%s: value", field_rows[i].name);
	}
}
