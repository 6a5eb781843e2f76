/*
 * bench-signing-opendkim - the loop of tests/bench/signing that is OpenDKIM's:
 * its library as its milter uses it, with the key in PEM for every message.
 *
 *	bench-signing-opendkim KEY MESSAGE COUNT
 *
 * Writes the seconds of CPU and of the clock.
 */
#include "tests/bench/signing.h"

#include <opendkim/dkim.h>

struct bench {
	DKIM_LIB *library;
	struct text key;
	struct slice header, body;
};

static void
expect(DKIM_STAT status)
{
	ASSERT(status == DKIM_STAT_OK);
}

static void
header_feed(DKIM *dkim, struct slice rest)
{
	while (rest.len > 0) {
		const char *end = memmem(rest.bytes, rest.len, "\r\n", 2);
		size_t len;

		/* The message of the bench has no folded field. */
		ASSERT(end != NULL);
		len = (size_t)(end - rest.bytes);
		expect(dkim_header(dkim, (u_char *)rest.bytes, len));
		rest = slice_from(rest, len + 2);
	}
	expect(dkim_eoh(dkim));
}

static void
message_sign(struct bench *bench)
{
	struct slice rest = bench->body;
	DKIM_STAT status;
	DKIM *dkim = dkim_sign(bench->library, (const u_char *)"bench", NULL,
			       (u_char *)text_string(&bench->key),
			       (const u_char *)"rsa",
			       (const u_char *)"example.com",
			       DKIM_CANON_RELAXED, DKIM_CANON_RELAXED,
			       DKIM_SIGN_RSASHA256, -1, &status);
	u_char *value;
	size_t len;

	expect(status);
	header_feed(dkim, bench->header);
	for (; rest.len > 0; rest = slice_from(rest, PIECE_BYTES))
		expect(dkim_body(dkim, (u_char *)rest.bytes,
				 rest.len < PIECE_BYTES ? rest.len
							: PIECE_BYTES));
	expect(dkim_eom(dkim, NULL));
	expect(dkim_getsighdr_d(dkim, strlen(DKIM_SIGNHEADER) + 2, &value,
				&len));
	dkim_free(dkim);
}

int
main(int argc, char **argv)
{
	CLEAN(text_done) struct text message = {0};
	struct bench bench = {0};
	double cpu, clock;
	size_t count;

	if (argc != 4) {
		fprintf(stderr, "usage: %s KEY MESSAGE COUNT\n", argv[0]);
		return 64;
	}
	bench_file(argv[1], &bench.key);
	bench_file(argv[2], &message);
	bench_split(text_slice(&message), &bench.header, &bench.body);
	count = strtoul(argv[3], NULL, 10);
	bench.library = dkim_init(NULL, NULL);
	ASSERT(bench.library != NULL);
	message_sign(&bench);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	clock = seconds(CLOCK_MONOTONIC);
	for (size_t i = 0; i < count; i++)
		message_sign(&bench);
	bench_print(seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
		    seconds(CLOCK_MONOTONIC) - clock);
	dkim_close(bench.library);
	text_done(&bench.key);
	return 0;
}
