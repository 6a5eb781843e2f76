#include <criterion/criterion.h>

#include "milter/bodyhash.h"

/* The canonical body is " C\r\nD E\r\n", 10 bytes (RFC 6376 3.4.5). */
static const char body[] = " C \r\nD \t E\r\n\r\n\r\n";
static const char canonical[] = " C\r\nD E\r\n";

static void
sha256(struct slice bytes, uint8_t out[DIGEST_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();

	digest_feed(digest, bytes);
	digest_finish(digest, out);
}

Test(bodyhash, hashes_as_many_bytes_as_the_limit_says)
{
	size_t len = strlen(canonical);

	for (size_t limit = 0; limit <= len + 1; limit++) {
		for (size_t step = 1; step < sizeof(body); step++) {
			CLEAN(bodyhash_free_clean) struct bodyhash *hash =
				bodyhash_new(CANON_RELAXED,
					     limit > len ? BODYHASH_WHOLE
							 : limit);
			uint8_t expected[DIGEST_SIZE], out[DIGEST_SIZE];
			struct slice rest = SLICE(body);

			for (; rest.len > 0; rest = slice_from(rest, step))
				bodyhash_feed(hash, slice_sub(rest, 0, step));
			cr_expect_eq(bodyhash_finish(hash, out), len);
			sha256(slice_sub(SLICE(canonical), 0, limit),
			       expected);
			cr_expect_arr_eq(out, expected, DIGEST_SIZE,
					 "limit %zu, step %zu", limit, step);
		}
	}
}
