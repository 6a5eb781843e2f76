/*
 * bench-canon - what canonicalizing costs beside hashing: body canonicalization
 * with SHA-256 against SHA-256 alone, over the same bytes fed in the same
 * pieces, as the ratio of the fastest of interleaved rounds.
 *
 *	bench-canon [BODY_BYTES [PIECE_BYTES]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "milter/bodyhash.h"

#define ROUNDS 200

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Words with single spaces, as text has; a line of 60 to 76 bytes. Now and
 * then two spaces, or one at the end of a line. */
static void
text_body(struct text *body, size_t len)
{
	unsigned state = 1, column = 0;

	while (body->len < len) {
		state = state * 1103515245 + 12345;
		for (unsigned i = 0; i < 2 + (state >> 16) % 8; i++, column++)
			text_add_byte(body, (char)('a' + (state >> i) % 26));
		if (column > 60) {
			text_add_string(body, (state >> 8) % 64 == 0 ? " \r\n"
								     : "\r\n");
			column = 0;
		} else {
			text_add_string(body, (state >> 8) % 64 == 0 ? "  "
								     : " ");
			column++;
		}
	}
	body->len = len;
}

static void
base64_body(struct text *body, size_t len)
{
	while (body->len < len)
		text_add_string(body,
				"VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSB"
				"sYXp5IGRvZy4gVGhlIHF1aWNrIGJy\r\n");
	body->len = len;
}

/* As HTML written by a program. */
static void
indent_body(struct text *body, size_t len)
{
	for (int depth = 0; body->len < len; depth = (depth + 2) % 24)
		text_addf(body, "%*s<td class=\"cell\">some text</td>\r\n",
			  depth, "");
	body->len = len;
}

/* As bad as it can be. */
static void
blank_body(struct text *body, size_t len)
{
	while (body->len < len)
		text_add_string(body, "a  b \t c   \r\n");
	body->len = len;
}

static const char *filling;

/* The same again and again. */
static void
repeat_body(struct text *body, size_t len)
{
	while (body->len < len)
		text_add_string(body, filling);
	body->len = len;
	body->bytes[len - 1] = 'x';
}

static void
still_body(struct text *body, size_t len)
{
	repeat_body(body, len);
	body->bytes[len - 1] = filling[0];
}

static double
hash_alone(struct slice body, size_t piece)
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	uint8_t out[DIGEST_SIZE];
	double start = now_s();

	for (; body.len > 0; body = slice_from(body, piece))
		digest_feed(digest, slice_sub(body, 0, piece));
	digest_finish(digest, out);
	return now_s() - start;
}

static double
hash_canonical(enum canonicalization canon, struct slice body, size_t piece)
{
	CLEAN(bodyhash_free_clean) struct bodyhash *hash =
		bodyhash_new(canon);
	uint8_t out[DIGEST_SIZE];
	double start = now_s();

	for (; body.len > 0; body = slice_from(body, piece))
		bodyhash_feed(hash, slice_sub(body, 0, piece));
	bodyhash_finish(hash);
	memcpy(out, bodyhash_result(hash, BODYHASH_WHOLE), DIGEST_SIZE);
	return now_s() - start;
}

static double
least(double a, double b)
{
	return a < b ? a : b;
}

static void
measure(const char *name, void (*fill)(struct text *body, size_t len),
	size_t len, size_t piece)
{
	CLEAN(text_done) struct text body = {0};
	double alone = 1e9, simple = 1e9, relaxed = 1e9;

	fill(&body, len);
	for (int i = 0; i < ROUNDS; i++) {
		struct slice bytes = text_slice(&body);

		alone = least(alone, hash_alone(bytes, piece));
		simple = least(simple,
			       hash_canonical(CANON_SIMPLE, bytes, piece));
		relaxed = least(relaxed,
				hash_canonical(CANON_RELAXED, bytes, piece));
	}
	printf("%-8s %8.0f MB/s  %6.2f  %6.2f\n", name,
	       (double)len / alone / 1e6, simple / alone, relaxed / alone);
}

/* What somebody may send in order to keep us busy. is_still: to the end, so
 * that white space may count for nothing. */
static const struct {
	const char *name, *bytes;
	bool is_still;
} fillings[] = {
	{"spaces", "                ", true},
	{"tabs x", "\t\t\t\t\t\t\t\t", false},
	{"CRLF", "\r\n", true},
	{"CRLF x", "\r\n", false},
	{"sp CRLF", " \r\n", true},
	{"spCRLF x", " \r\n", false},
	{"a CRLF", "a\r\n", false},
	{"a sp", "a ", false},
	{"a tab", "a\t", false},
	{"a 2sp", "a  ", false},
	{"a 3sp", "a   ", false},
	{"a spCRLF", "a \r\n", false},
	{"14 2sp", "abcdefghijklmn  ", false},
	{"62 2sp", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh"
		   "ij  ", false},
	{"CR", "\r", false},
	{"LF", "\n", true},
	{"CR a", "\ra", false},
	{"sp CR", " \r", false},
};

int
main(int argc, char **argv)
{
	size_t len = argc > 1 ? strtoul(argv[1], NULL, 10) : (size_t)1 << 20;
	size_t piece = argc > 2 ? strtoul(argv[2], NULL, 10)
				: (size_t)16 << 10;

	if (len == 0 || piece == 0)
		return 1;
	printf("%zu bytes in pieces of %zu; times of SHA-256 alone\n", len,
	       piece);
	printf("%-8s %13s  %6s  %6s\n", "body", "alone", "simple", "relaxed");
	measure("text", text_body, len, piece);
	measure("base64", base64_body, len, piece);
	measure("indent", indent_body, len, piece);
	measure("blanks", blank_body, len, piece);
	for (size_t i = 0; i < COUNT(fillings); i++) {
		filling = fillings[i].bytes;
		measure(fillings[i].name,
			fillings[i].is_still ? still_body : repeat_body, len,
			piece);
	}
	return 0;
}
