#include <criterion/criterion.h>

#include "milter/mime.h"

/* Events as "H0:…", "C0:…", ".0", "B:…", each but "." in "[]", adjoining ones
 * put together; "?" and the trouble at the end. */
struct trace {
	struct text out;
	enum mime_event last;
	bool is_open;
};

static void
trace_close(struct trace *trace)
{
	if (trace->is_open)
		text_add_string(&trace->out, "]");
	trace->is_open = false;
}

static void
trace_sink(void *owner, enum mime_event event, const struct mime_part *part,
	   struct slice bytes)
{
	static const char kinds[] = {[MIME_LEAF] = 'L',
				     [MIME_MULTIPART] = 'M',
				     [MIME_MESSAGE] = 'R',
				     [MIME_OPAQUE] = 'O'};
	struct trace *trace = owner;

	if (event == MIME_HEADER || event != trace->last)
		trace_close(trace);
	if (event == MIME_CONTENT_END) {
		text_addf(&trace->out, ".%zu", part->index);
	} else if (!trace->is_open && event == MIME_BETWEEN) {
		text_add_string(&trace->out, "[B:");
		trace->is_open = true;
	} else if (!trace->is_open) {
		text_addf(&trace->out, "[%c%zu%s:",
			  event == MIME_HEADER ? kinds[part->kind] : 'C',
			  part->index, part->is_fixed ? "!" : "");
		trace->is_open = true;
	}
	trace->last = event;
	text_add(&trace->out, bytes);
}

static void
trace(struct slice message, size_t step, struct text *out)
{
	CLEAN(mime_reader_free_clean) struct mime_reader *reader = NULL;
	struct trace state = {.last = MIME_CONTENT_END};

	reader = mime_reader_new(200, trace_sink, &state);
	for (; message.len > 0; message = slice_from(message, step))
		mime_feed(reader, slice_sub(message, 0, step));
	mime_finish(reader);
	trace_close(&state);
	if (mime_trouble(reader) != NULL)
		text_addf(&state.out, "?%s", mime_trouble(reader));
	*out = state.out;
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define ALTERNATIVE "Content-Type: multipart/alternative; boundary=bb\r\n\r\n"

static const struct mime_row {
	const char *name, *message, *trace;
} mime_rows[] = {
	{"plain", "A: b\r\n\r\nbody\r\n", "[L0:A: b\r\n\r\n][C0:body\r\n].0"},
	{"nothing", "", "[L0:].0"},
	{"header only", "A: b\r\n", "[L0:A: b\r\n].0"},
	{"no header", "\r\n-\r", "[L0:\r\n][C0:-\r].0"},
	{"two parts",
	 MIXED "pre\r\n--b\r\n\r\none\r\n--b \t\r\nX: y\r\n\r\ntwo\r\n\r\n"
	       "--b--\r\nepi\r\n",
	 "[M0:" MIXED "][B:pre\r\n--b\r\n][L1:\r\n][C1:one].1[B:\r\n--b \t\r\n]"
	 "[L2:X: y\r\n\r\n][C2:two\r\n].2[B:\r\n--b--\r\nepi\r\n]"},
	{"an empty part", MIXED "--b\r\n\r\n--b--",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n].1[B:--b--]"},
	{"a header without an empty line", MIXED "--b\r\nA: b\r\n--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n][L1:A: b\r\n].1[B:--b--\r\n]"},
	{"lines that begin with dashes",
	 MIXED "--b\r\n\r\n-\r\n--\r\n-- \r\n--a\r\n--b-\r--b\r\n--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n][C1:-\r\n--\r\n-- \r\n--a\r\n].1"
	 "[B:--b-\r--b\r\n--b--\r\n]?a line that begins like a boundary"},
	{"not at a line's start",
	 MIXED "--b\r\n\r\nx--b\r\n --b\r\n\n--b\r\n\r--b\r\n--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n][C1:x--b\r\n --b\r\n\n--b\r\n\r--b]"
	 ".1[B:\r\n--b--\r\n]"},
	{"no close delimiter", MIXED "--b\r\n\r\none\r\n",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n][C1:one\r\n].1"},
	{"an end inside of a delimiter", MIXED "--b\r\n\r\none\r\n--",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n][C1:one\r\n--].1"},
	{"a delimiter at the very end", MIXED "--b\r\n\r\none\r\n--b",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n][C1:one].1[B:\r\n--b][L2:].2"},
	{"nested, one boundary the start of the other",
	 MIXED "--b\r\n" ALTERNATIVE "--bb\r\n\r\nx\r\n--bb--\r\n--b\r\n\r\ny"
	       "\r\n--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n][M1:" ALTERNATIVE
	 "][B:--bb\r\n][L2:\r\n][C2:x].2[B:\r\n--bb--\r\n--b\r\n][L3:\r\n]"
	 "[C3:y].3[B:\r\n--b--\r\n]"},
	{"nested, the inner one not closed",
	 MIXED "--b\r\n" ALTERNATIVE "--bb\r\n\r\nx\r\n--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n][M1:" ALTERNATIVE
	 "][B:--bb\r\n][L2:\r\n][C2:x].2[B:\r\n--b--\r\n]"},
	{"nested, and both with one boundary",
	 MIXED "--b\r\n" MIXED "--b\r\n\r\nx\r\n--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n" MIXED "--b\r\n\r\nx\r\n--b--\r\n]"
	 "?a boundary within parts that have the same"},
	{"the same one after the other, with one boundary",
	 "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" MIXED
	 "--b--\r\n--c\r\n" MIXED "--b--\r\n",
	 "[M0:Content-Type: multipart/mixed; boundary=c\r\n\r\n][B:--c\r\n]"
	 "[M1:" MIXED "][B:--b--\r\n--c\r\n][M2:" MIXED "][B:--b--\r\n]"},
	{"a message inside",
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n"
	       "--b--\r\n",
	 "[M0:" MIXED "][B:--b\r\n][R1:Content-Type: message/rfc822\r\n\r\n]"
	 "[L2:A: b\r\n\r\n][C2:x].2[B:\r\n--b--\r\n]"},
	{"a signed message inside",
	 "Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\nx\r\n",
	 "[R0:Content-Type: message/rfc822\r\n\r\n]"
	 "[O1!:DKIM-Signature: v=1\r\n\r\n][C1!:x\r\n].1"},
	{"a digest",
	 "Content-Type: Multipart/Digest;\r\n boundary=\"b\"\r\n\r\n"
	 "--b\r\n\r\nA: b\r\n\r\nx\r\n--b--\r\n",
	 "[M0:Content-Type: Multipart/Digest;\r\n boundary=\"b\"\r\n\r\n]"
	 "[B:--b\r\n][R1:\r\n][L2:A: b\r\n\r\n][C2:x].2[B:\r\n--b--\r\n]"},
	{"signed parts are one",
	 "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n",
	 "[O0:Content-Type: multipart/signed; boundary=b\r\n\r\n]"
	 "[C0:--b\r\n\r\nx\r\n].0"},
	{"message/partial", "Content-Type: message/partial; id=1\r\n\r\nx\r\n",
	 "[O0:Content-Type: message/partial; id=1\r\n\r\n][C0:x\r\n].0"},
	{"no boundary", "Content-Type: multipart/mixed\r\n\r\n--b\r\n",
	 "[O0:Content-Type: multipart/mixed\r\n\r\n][C0:--b\r\n].0"},
	{"a boundary in pieces",
	 "Content-Type: multipart/mixed; boundary*0=b; boundary=b\r\n\r\nx",
	 "[O0:Content-Type: multipart/mixed; boundary*0=b; boundary=b\r\n\r\n]"
	 "[C0:x].0"},
	{"a type that is none", "Content-Type: text\r\n\r\nx\r\n",
	 "[O0:Content-Type: text\r\n\r\n][C0:x\r\n].0"},
	{"an encoding that is none",
	 "Content-Transfer-Encoding: x-uuencode\r\n\r\nx\r\n",
	 "[O0:Content-Transfer-Encoding: x-uuencode\r\n\r\n][C0:x\r\n].0"},
	{"two types",
	 "Content-Type: text/plain\r\ncontent-type: text/html\r\n"
	 "\r\nx\r\n",
	 "[B:Content-Type: text/plain\r\ncontent-type: text/html\r\n\r\nx\r\n]"
	 "?more than one Content-Type"},
	{"no field", "nothing\r\n\r\nx\r\n",
	 "[B:nothing\r\n\r\nx\r\n]?a header line that is no field"},
	{"a boundary that goes on", MIXED "--b\r\n\r\n--bc\r\nx",
	 "[M0:" MIXED "][B:--b\r\n][L1:\r\n].1[B:--bc\r\nx]"
	 "?a line that begins like a boundary"},
	{"a boundary behind its end", MIXED "--b--\r\n--b\r\n",
	 "[M0:" MIXED "][B:--b--\r\n--b\r\n]?a line that begins like a "
	 "boundary"},
};

Test(mime, structure)
{
	for (size_t i = 0; i < COUNT(mime_rows); i++) {
		const struct mime_row *row = &mime_rows[i];
		size_t len = strlen(row->message);

		for (size_t step = 1; step <= len + 1; step++) {
			CLEAN(text_done) struct text out = {0};

			trace(SLICE(row->message), step, &out);
			cr_expect_str_eq(text_string(&out), row->trace,
					 "%s, in pieces of %zu:\n%s", row->name,
					 step, text_string(&out));
		}
	}
}

Test(mime, bounds)
{
	CLEAN(text_done) struct text deep = {0}, many = {0}, long_one = {0};
	CLEAN(text_done) struct text out = {0};

	for (int i = 0; i < 1000; i++)
		text_add_string(&deep, "Content-Type: message/rfc822\r\n\r\n");
	trace(text_slice(&deep), SIZE_MAX, &out);
	cr_expect_not_null(strstr(text_string(&out), "[O32:"));
	cr_expect_null(strstr(text_string(&out), "[R32:"));
	text_done(&out);

	text_add_string(&many, MIXED);
	for (int i = 0; i < MIME_PARTS_MAX; i++)
		text_add_string(&many, "--b\r\n\r\n");
	trace(text_slice(&many), SIZE_MAX, &out);
	cr_expect_not_null(strstr(text_string(&out), "?too many parts"));
	text_done(&out);

	text_add_string(&long_one, "A: ");
	for (int i = 0; i < 100; i++)
		text_add_string(&long_one, "aa");
	text_add_string(&long_one, "\r\n\r\nbody\r\n");
	trace(text_slice(&long_one), 7, &out);
	cr_expect_not_null(
		strstr(text_string(&out), "?a header that is too large"));
}

static const struct type_row {
	const char *value, *type, *subtype, *boundary; /* NULL: none */
	bool is_odd;
} type_rows[] = {
	{" text/plain", "text", "plain", NULL, false},
	{" multipart/mixed; boundary=abc", "multipart", "mixed", "abc", false},
	{" multipart/mixed;charset=x;\r\n\tBOUNDARY=\"a b\\\"c\"", "multipart",
	 "mixed", "a b\"c", false},
	{" (one (two) \\)) multipart / (x) mixed (y) ; (z) boundary = a (b)",
	 "multipart", "mixed", "a", false},
	{" multipart/mixed; boundary=----=_Part_1/2", "multipart", "mixed",
	 "----=_Part_1/2", false},
	{" multipart/mixed; ; boundary=a;", "multipart", "mixed", "a", false},
	{" multipart/mixed; boundary=a; boundary=b", "multipart", "mixed", "b",
	 true},
	{" multipart/mixed; x; boundary=a", "multipart", "mixed", NULL, false},
	{" multipart/mixed; boundary=\"a", "multipart", "mixed", NULL, false},
	{" text", "", "", NULL, false},
	{" /plain", "", "", NULL, false},
	{" text/", "", "", NULL, false},
	{" (text/plain", "", "", NULL, false},
	{"", "", "", NULL, false},
};

Test(mime, type)
{
	for (size_t i = 0; i < COUNT(type_rows); i++) {
		const struct type_row *row = &type_rows[i];
		struct mime_type type;

		mime_type_parse(SLICE(row->value), &type);
		cr_expect(slice_eq(type.type, SLICE(row->type)), "%s",
			  row->value);
		cr_expect(slice_eq(type.subtype, SLICE(row->subtype)), "%s",
			  row->value);
		cr_expect_eq(type.has_boundary, row->boundary != NULL, "%s",
			     row->value);
		cr_expect(slice_eq(text_slice(&type.boundary),
				   SLICE(row->boundary)),
			  "%s: '%s'", row->value, text_string(&type.boundary));
		cr_expect_eq(type.is_odd, row->is_odd, "%s", row->value);
		text_done(&type.boundary);
	}
}

Test(mime, encoding)
{
	static const struct {
		const char *value;
		int given; /* -1: none */
	} rows[] = {
		{" 7bit", ENCODE_GIVEN_NONE},
		{" 8BIT (as it is)", ENCODE_GIVEN_NONE},
		{"binary", ENCODE_GIVEN_NONE},
		{" Quoted-Printable\r\n ", ENCODE_GIVEN_QUOTED_PRINTABLE},
		{"(x) base64", ENCODE_GIVEN_BASE64},
		{" 8bit; x", -1},
		{" x-uuencode", -1},
		{"", -1},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		enum encode_given given = ENCODE_GIVEN_NONE;
		bool is_known =
			mime_encoding_parse(SLICE(rows[i].value), &given);

		cr_expect_eq(is_known, rows[i].given >= 0, "%s", rows[i].value);
		if (is_known)
			cr_expect_eq((int)given, rows[i].given, "%s",
				     rows[i].value);
	}
}
