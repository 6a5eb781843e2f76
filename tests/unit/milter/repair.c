#include <criterion/criterion.h>

#include "milter/repair.h"

#define X10 "xxxxxxxxx "
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X500 X100 X100 X100 X100 X100
#define Y10 "yyyyyyyyyy"
#define Y100 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10
#define Y1000 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y100
#define LONG X500 X500
#define Y500 Y100 Y100 Y100 Y100 Y100
#define Y80 Y10 Y10 Y10 Y10 Y10 Y10 Y10 Y10

enum {
	QUOTED = 1,
	BASE64 = 2,
	BREAKS = 4,
	FOLDS = 8,
	BCC = 16,
	VERSION = 32,
	TYPE = 64,
	WORD = 128,
	BETWEEN = 256,
};

static unsigned
report_bits(const struct repair_report *report)
{
	return (report->encodes_quoted ? QUOTED : 0) |
	       (report->encodes_base64 ? BASE64 : 0) |
	       (report->breaks_lines ? BREAKS : 0) |
	       (report->folds_header ? FOLDS : 0) |
	       (report->removes_bcc ? BCC : 0) |
	       (report->adds_version ? VERSION : 0) |
	       (report->adds_type ? TYPE : 0) |
	       (report->breaks_between ? BETWEEN : 0) |
	       (report->has_long_word ? WORD : 0);
}

static const struct repair_needs all_needs = {true, false, true, true};

static unsigned
repair_cut(const struct repair_needs *needs, struct slice message, size_t step,
	   const char **left_out, struct text *out)
{
	CLEAN(repair_free_clean)
	struct repair *repair = repair_new(needs, 100000);
	const struct repair_report *report;
	struct slice rest = message;

	for (; rest.len > 0; rest = slice_from(rest, step))
		repair_look(repair, slice_sub(rest, 0, step));
	report = repair_decide(repair);
	for (rest = message; rest.len > 0; rest = slice_from(rest, step))
		repair_write(repair, slice_sub(rest, 0, step), out);
	repair_finish(repair, out);
	*left_out = report->left;
	cr_expect_eq(repair_changes(report),
		     (report_bits(report) & ~(unsigned)WORD) != 0);
	return report_bits(report);
}

#define MIME "MIME-Version: 1.0\r\n"
#define MIXED MIME "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define FLOWED \
	"Content-Type: text/plain; charset=iso-8859-15; format=flowed\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"
#define X998 X500 X100 X100 X100 X100 X70 X10 X10 "xxxxxxxx\r\n"
/* The first line of "B: " LONG, folded. */
#define X_HEAD \
	X500 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 "xxxxxxxxx"
#define X70 X10 X10 X10 X10 X10 X10 X10

static const struct repair_row {
	const char *name, *message;
	unsigned bits;
	const char *left;   /* NULL: nothing */
	const char *begins; /* the repaired message; NULL: as it was */
} repair_rows[] = {
	{"nothing to do", "Subject: x\r\n\r\nx\r\n", 0, NULL, NULL},
	{"a plain message", "Subject: x\r\n\r\n" LONG "\r\n", QUOTED | VERSION,
	 NULL, "Subject: x\r\n" MIME QP "\r\n" X70 "xxxxx=\r\nxxxx "},
	{"parameters stay, the encoding is replaced",
	 FLOWED "Content-transfer-encoding: 8bit\r\n" MIME "X: y\r\n\r\n" LONG
		"\r\n",
	 QUOTED, NULL, FLOWED QP MIME "X: y\r\n\r\n" X70 "xxxxx=\r\n"},
	{"not text", MIME "Content-Type: application/json\r\n\r\n" LONG "\r\n",
	 BASE64, NULL,
	 MIME "Content-Type: application/json\r\nContent-Transfer-Encoding: "
	      "base64\r\n\r\neHh4eHh4eHh4IHh4eHh4eHh4eCB4"},
	{"only the part that needs it",
	 MIXED
	 "--b\r\n\r\nshort \r\n--b\r\nContent-Type: text/html\r\n\r\n" LONG
	 "\r\n--b--\r\n",
	 QUOTED, NULL,
	 MIXED "--b\r\n\r\nshort \r\n--b\r\nContent-Type: text/html\r\n" QP
	       "\r\n" X70 "xxxxx=\r\n"},
	{"base64 in one line",
	 MIME "Content-Transfer-Encoding: base64\r\n\r\n" Y1000 "\r\n", BREAKS,
	 NULL,
	 MIME
	 "Content-Transfer-Encoding: base64\r\n\r\n" Y10 Y10 Y10 Y10 Y10 Y10 Y10
	 "yyyyyy\r\nyyyy"},
	{"quoted-printable in one line", MIME QP "\r\n" Y1000 "=20\r\n", BREAKS,
	 NULL,
	 MIME QP
	 "\r\n" Y100 Y100 Y100 Y100 Y100 Y100 Y100 Y10 Y10 Y10 Y10 Y10 Y10
	 "=\r\nyyy"},
	{"base64 that is none",
	 MIME "Content-Transfer-Encoding: base64\r\n\r\n-" Y1000 "\r\n", 0,
	 "a base64 part with other octets in it", NULL},
	{"signed parts",
	 MIME
	 "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" LONG
	 "\r\n--b--\r\n",
	 0, "a signed part (multipart/signed)", NULL},
	{"message/partial",
	 MIME "Content-Type: message/partial; id=1\r\n\r\n" LONG "\r\n", 0,
	 "a part of a type message/* that must not be encoded", NULL},
	{"a preamble", MIXED LONG "12345\r\n--b\r\n\r\nx\r\n--b--\r\n",
	 BETWEEN, NULL,
	 MIXED X998 "x 12345\r\n--b\r\n\r\nx\r\n--b--\r\n"},
	{"a preamble of many lines",
	 MIXED X500 "\r\n" X500 "\r\n--b\r\n\r\nx\r\n--b--\r\n", 0, NULL,
	 NULL},
	{"a preamble of a forwarded message that is signed",
	 MIME "Content-Type: message/rfc822\r\n\r\nDKIM-Signature: x\r\n" MIXED
	 LONG "12345\r\n--b\r\n\r\nx\r\n--b--\r\n",
	 0, "a forwarded message that is signed", NULL},
	{"a forwarded message",
	 MIME "Content-Type: message/rfc822\r\n\r\n"
	      "Subject: x\r\n\r\n" LONG "\r\n",
	 QUOTED, NULL,
	 MIME "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" MIME QP
	      "\r\n" X70
	      "xxxxx=\r\n"},
	{"a forwarded message that is signed",
	 MIME
	 "Content-Type: message/rfc822\r\n\r\nDKIM-Signature: x\r\n\r\n" LONG
	 "\r\n",
	 0, "a forwarded message that is signed", NULL},
	{"a structure that is not certain",
	 MIXED "--b\r\n\r\n" LONG "\r\n--bc\r\n", 0,
	 "a line that begins like a boundary", NULL},
	{"its Bcc goes all the same",
	 "Bcc: x\r\n" MIXED "--b\r\n\r\n" LONG "\r\n--bc\r\n", BCC,
	 "a line that begins like a boundary", MIXED "--b\r\n\r\n" X10},
	{"Bcc",
	 "A: b\r\nBCC : x@example.com,\r\n y@example.com\r\nTo: "
	 "z@example.com\r\nResent-Bcc:\r\n\r\nBcc: x\r\n",
	 BCC, NULL, "A: b\r\nTo: z@example.com\r\n\r\nBcc: x\r\n"},
	{"a header line", "Subject: " LONG "y\r\nA: b\r\n\r\nx\r\n", FOLDS,
	 NULL,
	 "Subject: " X500 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10
	 "xxxxxxxxx\r\n xxxxxxxxx y\r\nA: b\r\n\r\nx\r\n"},
	{"a header line without white space", "Subject: " Y1000 "\r\n\r\nx\r\n",
	 WORD, NULL, NULL},
	{"the same in a part",
	 MIXED "--b\r\nSubject: " Y1000 "\r\n\r\nx\r\n--b--\r\n", 0,
	 "a header line without white space", NULL},
	{"one beside another", "A: " Y1000 "\r\nB: " LONG "y\r\n\r\nx\r\n",
	 FOLDS | WORD, NULL, "A: " Y1000 "\r\nB: " X_HEAD "\r\n xxxxxxxxx y"},
	{"one beside another in a forwarded message",
	 MIME "Content-Type: message/rfc822\r\n\r\nA: " Y1000 "\r\nB: " LONG
	      "y\r\n\r\nx\r\n",
	 FOLDS, "a header line without white space",
	 MIME "Content-Type: message/rfc822\r\n\r\nA: " Y1000 "\r\nB: " X_HEAD
	      "\r\n xxxxxxxxx y"},
	{"one beside another in a part",
	 MIXED "--b\r\nB: " LONG "y\r\nA: " Y1000
	       "\r\n\r\nx\r\n--b\r\n\r\n" LONG "\r\n--b--\r\n",
	 FOLDS | QUOTED, "a header line without white space",
	 MIXED "--b\r\nB: " X_HEAD "\r\n xxxxxxxxx y\r\nA: " Y1000
	       "\r\n\r\nx\r\n--b\r\n" QP "\r\n" X70 "xxxxx=\r\n"},
	{"8-bit text that does not say so", "A: b\r\n\r\n\xc3\xbc\r\n",
	 VERSION | TYPE, NULL,
	 "A: b\r\n" MIME "Content-Type: text/plain; charset=utf-8\r\n"
	 "Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xbc\r\n"},
	{"not UTF-8, and long", "A: b\r\n\r\n\xfc" LONG "\r\n",
	 QUOTED | VERSION | TYPE, NULL,
	 "A: b\r\n" MIME "Content-Type: text/plain; charset=unknown-8bit\r\n" QP
	 "\r\n=FCxxxxxx"},
	{"8-bit, but for the version",
	 "Content-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xbc\r\n", VERSION,
	 NULL,
	 "Content-Type: text/plain; charset=utf-8\r\n" MIME "\r\n\xc3\xbc\r\n"},
	{"8-bit in the header only", "Subject: \xc3\xbc\r\n\r\nx\r\n", 0, NULL,
	 NULL},
	{"a last line of base64 that is full",
	 MIME "Content-Transfer-Encoding: base64\r\n\r\n" Y1000 Y100
	      "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
	 BREAKS, NULL,
	 MIME "Content-Transfer-Encoding: base64\r\n\r\n" Y10 Y10},
};

Test(repair, message)
{
	for (size_t i = 0; i < COUNT(repair_rows); i++) {
		const struct repair_row *row = &repair_rows[i];

		for (size_t step = 1; step < 1100; step += 99) {
			CLEAN(text_done) struct text out = {0};
			const char *left, *begins = row->begins;
			unsigned bits =
				repair_cut(&all_needs, SLICE(row->message),
					   step, &left, &out);

			cr_expect_eq(bits, row->bits, "%s: is %u", row->name,
				     bits);
			cr_expect(slice_eq(SLICE(left), SLICE(row->left)),
				  "%s: left '%s'", row->name,
				  left == NULL ? "" : left);
			if (begins == NULL)
				begins = row->message;
			cr_expect(slice_starts(text_slice(&out), SLICE(begins)),
				  "%s:\n%s", row->name, text_string(&out));
			cr_expect(slice_ends_nocase(text_slice(&out),
						    SLICE("\r\n")),
				  "%s", row->name);
		}
	}
}

/* Only the last of many parts is long. */
Test(repair, late)
{
	CLEAN(text_done) struct text message = {0}, out = {0};
	const char *left;

	text_add_string(&message, MIXED);
	for (int i = 0; i < 1000; i++)
		text_add_string(&message, "--b\r\n\r\nshort\r\n");
	text_add_string(&message, "--b\r\n\r\n" LONG "\r\n--b--\r\n");
	cr_expect_eq(
		repair_cut(&all_needs, text_slice(&message), 1000, &left, &out),
		QUOTED);
	cr_expect_not_null(strstr(text_string(&out), QP));
}

/* A line that is made never looks like a boundary. */
Test(repair, between)
{
	CLEAN(text_done) struct text message = {0}, out = {0};
	const char *left;

	text_add_string(&message, MIXED "--b\r\n\r\nx\r\n--b--\r\n" X500
					X100 X100 X100 X100 X70 X10 X10
					"xxxxxxxx--b\r\n");
	cr_expect_eq(repair_cut(&all_needs, text_slice(&message), 7, &left,
				&out),
		     BETWEEN);
	cr_expect(slice_ends_nocase(text_slice(&out), SLICE("x\r\nb\r\n")));
}

Test(repair, needs)
{
	static const char message[] = "Bcc: x\r\n\r\n\xc3\xbc" LONG "\r\n";
	static const struct {
		struct repair_needs needs;
		unsigned bits;
	} rows[] = {
		{{false, false, false, false}, 0},
		{{true, false, false, false}, QUOTED | VERSION | TYPE},
		{{false, false, true, false}, BCC},
		{{false, false, false, true}, VERSION | TYPE},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text out = {0};
		const char *left;

		cr_expect_eq(repair_cut(&rows[i].needs, SLICE(message), 1000,
					&left, &out),
			     rows[i].bits);
	}
}

#define CTE(name) "Content-Transfer-Encoding: " name "\r\n"

#define SIGNED_INSIDE                                                          \
	"DKIM-Signature: x\r\n" MIME                                            \
	"Content-Type: multipart/mixed; boundary=c\r\n\r\nf\xc3\xbcr\r\n"      \
	"--c\r\n\r\na\r\n--c--\r\n"

static const struct eight_row {
	const char *name, *message, *left, *repaired;
} eight_rows[] = {
	{"a plain message", "A: b\r\n\r\nGr\xc3\xbc\xc3\x9f"
			    "e aus Berlin, und bis bald.\r\n",
	 NULL,
	 "A: b\r\n" MIME "Content-Type: text/plain; charset=utf-8\r\n" QP
	 "\r\nGr=C3=BC=C3=9Fe aus Berlin, und bis bald.\r\n"},
	{"the part that is 8-bit",
	 MIXED "--b\r\n\r\na=b\r\n--b\r\nContent-Type: image/x-y\r\n\r\n"
	       "\xff\r\n--b--\r\n",
	 NULL,
	 MIXED "--b\r\n\r\na=b\r\n--b\r\nContent-Type: image/x-y\r\n"
	       "Content-Transfer-Encoding: base64\r\n\r\n/w==\r\n--b--\r\n"},
	{"a header stays", MIME "Subject: \xc3\xbc\r\n\r\nx\r\n",
	 "8-bit text in a header", MIME "Subject: \xc3\xbc\r\n\r\nx\r\n"},
	{"a part's header stays",
	 MIXED "--b\r\nX: \xc3\xbc\r\n\r\na\r\n--b--\r\n",
	 "8-bit text in a header",
	 MIXED "--b\r\nX: \xc3\xbc\r\n\r\na\r\n--b--\r\n"},
	{"a preamble", MIXED "f\xc3\xbcr\r\n--b\r\n\r\na\r\n--b--\r\n\xff",
	 NULL, MIXED "f??r\r\n--b\r\n\r\na\r\n--b--\r\n?"},
	{"a preamble, but not that of a forwarded message that is signed",
	 MIXED "f\xc3\xbcr\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       SIGNED_INSIDE "--b--\r\n",
	 "a forwarded message that is signed",
	 MIXED "f??r\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       SIGNED_INSIDE "--b--\r\n"},
	{"labels follow", CTE("8bit") MIXED "--b\r\n" CTE("8BIT") "\r\na=b\r\n"
	 "--b\r\n" CTE("binary") "\r\n\xff\xff\r\n"
	 "--b\r\nContent-Type: message/rfc822\r\n" CTE("8bit")
	 "\r\n" CTE("8bit") "\r\nx\r\n--b--\r\n",
	 NULL,
	 CTE("7bit") MIXED "--b\r\n" CTE("7bit") "\r\na=b\r\n"
	 "--b\r\n" CTE("base64") "\r\n//8=\r\n"
	 "--b\r\nContent-Type: message/rfc822\r\n" CTE("7bit")
	 "\r\n" CTE("7bit") "\r\nx\r\n--b--\r\n"},
	{"labels of what stays",
	 CTE("8bit") MIXED "--b\r\nContent-Type: message/partial\r\n" CTE("8bit")
	 "\r\n\xff\r\n--b--\r\n",
	 "a part of a type message/* that must not be encoded",
	 CTE("8bit") MIXED "--b\r\nContent-Type: message/partial\r\n" CTE("8bit")
	 "\r\n\xff\r\n--b--\r\n"},
	{"long lines are not 7bit", CTE("binary") MIME "\r\n" LONG "\r\n", NULL,
	 CTE("binary") MIME "\r\n" LONG "\r\n"},
	{"a message inside that knows nothing of MIME",
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       "A: b\r\n\r\nGr\xc3\xbc\xc3\x9f" "e aus Berlin, und bis bald.\r\n--b--\r\n",
	 NULL,
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       "A: b\r\n" MIME "Content-Type: text/plain; charset=utf-8\r\n" QP
	       "\r\nGr=C3=BC=C3=9F" "e aus Berlin, und bis bald.\r\n--b--\r\n"},
	{"one with a type, but no version",
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       "Content-Type: image/x-y\r\n\r\n\xff\r\n--b--\r\n",
	 NULL,
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       "Content-Type: image/x-y\r\n" MIME
	       "Content-Transfer-Encoding: base64\r\n\r\n/w==\r\n--b--\r\n"},
	{"and parts in one",
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"
	       "Content-Type: image/x-y\r\n\r\n\xff\r\n--c--\r\n--b--\r\n",
	 NULL,
	 MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n"
	       "Content-Type: multipart/mixed; boundary=c\r\n" MIME
	       "\r\n--c\r\nContent-Type: image/x-y\r\n"
	       "Content-Transfer-Encoding: base64\r\n\r\n/w==\r\n--c--\r\n"
	       "--b--\r\n"},
	{"what should not be 8-bit", MIME QP "\r\n\xc3\xbc\r\n",
	 "an encoded part with 8-bit octets", MIME QP "\r\n\xc3\xbc\r\n"},
};

Test(repair, eight_bit)
{
	static const struct repair_needs needs = {.eight_bit = true};

	for (size_t i = 0; i < COUNT(eight_rows); i++) {
		const struct eight_row *row = &eight_rows[i];
		CLEAN(repair_free_clean) struct repair *repair =
			repair_new(&needs, 10000);
		CLEAN(text_done) struct text out = {0};
		const struct repair_report *report;

		repair_look(repair, SLICE(row->message));
		report = repair_decide(repair);
		repair_write(repair, SLICE(row->message), &out);
		repair_finish(repair, &out);
		cr_expect_str_eq(text_string(&out), row->repaired, "%s",
				 row->name);
		cr_expect_null(report->left, "%s", row->name);
		cr_expect(slice_eq(SLICE(report->left_8bit), SLICE(row->left)),
			  "%s", row->name);
	}
}

/* --- size --- */

#define DASHES10 "----------"
#define PART(fields) "--b\r\n" fields "\r\n"

/* Each is the worst of its kind: what is repeated, between what is there once.
 */
static const struct size_row {
	const char *name, *before, *unit, *behind;
	bool has_part; /* each unit is a part that may get fields */
} size_rows[] = {
	{"tiny", "\r\n", "\xfc", ""},
	{"dashes that begin lines", "\r\n" Y1000, "\r\n-", "\r\n"},
	{"and white space that ends them", "\r\n" Y1000, "\r\n- ", "\r\n"},
	{"white space", "\r\n" Y1000, "\r\n ", "\r\n"},
	{"as in a mailbox", "\r\n\xfc", "\r\nFrom x", "\r\n"},
	{"with an escape more", "\r\n\xfc", "\r\nFrom \xfc", "\r\n"},
	{"with white space", "\r\n\xfc", "\r\nFrom x ", "\r\n"},
	{"as many escapes as there may be", "\r\n" Y1000, "=-----", ""},
	{"one less", "\r\n" Y1000, "=------", ""},
	{"dashes behind soft line breaks", "\r\n" Y1000, DASHES10, "\r\n"},
	{"both", "\r\n" Y1000,
	 "-===========----- " DASHES10 DASHES10 DASHES10 DASHES10 DASHES10,
	 "\r\n"},
	{"a CR at the end", "\r\n" Y1000, "\r", ""},
	{"octets", "Content-Type: image/x\r\n\r\n\xff", "a", "\r\n"},
	{"base64 without line ends", CTE("base64") MIME "\r\n", Y100, "\r\n"},
	{"quoted-printable likewise", QP MIME "\r\n", DASHES10, "\r\n"},
	{"parts", MIXED, PART("") "\xfc\r\n", "--b--\r\n", true},
	{"parts with a type", MIXED, PART("Content-Type:a/b\r\n") "\xfc\r\n",
	 "--b--\r\n", true},
	{"messages in a digest",
	 MIME "Content-Type: multipart/digest; boundary=b\r\n\r\n",
	 PART("") "\r\n\xfc\r\n", "--b--\r\n", true},
	{"messages",
	 MIXED, PART("Content-Type:message/rfc822\r\n") "\r\n\xfc\r\n",
	 "--b--\r\n", true},
	{"labels", MIXED, PART("Content-Transfer-Encoding:8bit\r\n") "\r\n",
	 "--b--\r\n", true},
	{"between parts", MIXED "--b\r\n\r\n--b--\r\n", "\xff", ""},
	{"addresses", "To: ", "a,", "a\r\n\r\nx\r\n"},
	{"one far from the next", "To: ", "a ," Y500 Y100 Y100 Y100 Y100 Y80 ",",
	 "a\r\n\r\nx\r\n"},
	{"words", "A: ", "b ", "c\r\n\r\nx\r\n"},
	{"words with much between", "A: ", Y500 " ", "c\r\n\r\nx\r\n"},
	{"fields", "A: b\r\n",
	 "A: " Y500 Y100 Y100 Y100 Y100 Y80 " bcdefghijklmno\r\n", "\r\nx\r\n"},
};

/* Octets that are made of so many. */
static size_t
repair_size(struct slice message, bool eight_bit)
{
	const struct repair_needs needs = {.long_lines = true,
					   .eight_bit = eight_bit,
					   .version = true};
	CLEAN(repair_free_clean)
	struct repair *repair = repair_new(&needs, SIZE_MAX);
	CLEAN(text_done) struct text out = {0};

	repair_look(repair, message);
	(void)repair_decide(repair);
	repair_write(repair, message, &out);
	repair_finish(repair, &out);
	return out.len;
}

Test(repair, size)
{
	static const size_t counts[] = {1, 2, 7, 100, 1021, 9990};

	for (size_t i = 0; i < COUNT(size_rows); i++) {
		const struct size_row *row = &size_rows[i];

		for (size_t j = 0; j < COUNT(counts); j++) {
			CLEAN(text_done) struct text message = {0};
			size_t n = 0, max;

			text_add_string(&message, row->before);
			for (; n < counts[j] && message.len < 300000; n++)
				text_add_string(&message, row->unit);
			text_add_string(&message, row->behind);
			max = message.len + message.len / 2 +
			      128 * (1 + (row->has_part ? n : 0));
			cr_expect(max <= repair_size_max(message.len), "%s",
				  row->name);
			for (int bits = 0; bits < 2; bits++) {
				size_t size = repair_size(text_slice(&message),
							  bits != 0);

				cr_expect(size <= max,
					  "%s, %zu times: %zu of %zu, not %zu",
					  row->name, counts[j], size,
					  message.len, max);
			}
		}
	}
}
