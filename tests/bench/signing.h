/*
 * signing - what the loops of tests/bench/signing have in common: a message
 * from a file, and the time that signing it COUNT times takes.
 */
#ifndef BENCH_SIGNING_H
#define BENCH_SIGNING_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/slice.h"

/* Pieces of this size, as an MTA hands a body over. */
#define PIECE_BYTES ((size_t)65536)

static inline double
seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void
bench_file(const char *path, struct text *out)
{
	FILE *file = fopen(path, "rb");
	size_t len;

	ASSERT(file != NULL);
	while ((len = fread(text_room(out, PIECE_BYTES), 1, PIECE_BYTES,
			    file)) > 0)
		text_added(out, len);
	fclose(file);
}

/* Before the empty line, its last CRLF included, and behind it. */
static inline void
bench_split(struct slice message, struct slice *header, struct slice *body)
{
	const char *end = memmem(message.bytes, message.len, "\r\n\r\n", 4);

	ASSERT(end != NULL);
	*header = slice_sub(message, 0, (size_t)(end - message.bytes) + 2);
	*body = slice_from(message, header->len + 2);
}

/* One line: seconds of CPU and of the clock. */
static inline void
bench_print(double cpu_s, double clock_s)
{
	printf("%.9f %.9f\n", cpu_s, clock_s);
}

#endif
