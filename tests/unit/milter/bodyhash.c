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

/* All limits at once, asked for in an order of no kind, some twice. */
Test(bodyhash, hashes_as_many_bytes_as_each_limit_says)
{
	static const uint64_t limits[] = {10, 3, 0, 7, 3, 9, 1, 11,
					  BODYHASH_WHOLE};
	size_t len = strlen(canonical);

	for (size_t step = 1; step < sizeof(body); step++) {
		CLEAN(bodyhash_free_clean) struct bodyhash *hash =
			bodyhash_new(CANON_RELAXED);
		struct slice rest = SLICE(body);

		for (size_t i = 0; i < COUNT(limits); i++)
			bodyhash_limit(hash, limits[i]);
		for (; rest.len > 0; rest = slice_from(rest, step))
			bodyhash_feed(hash, slice_sub(rest, 0, step));
		cr_expect_eq(bodyhash_finish(hash), len);
		for (size_t i = 0; i < COUNT(limits); i++) {
			uint8_t expected[DIGEST_SIZE];
			size_t limit = limits[i] > len ? len
						       : (size_t)limits[i];

			sha256(slice_sub(SLICE(canonical), 0, limit),
			       expected);
			cr_expect_arr_eq(bodyhash_result(hash, limits[i]),
					 expected, DIGEST_SIZE,
					 "limit %zu, step %zu", limit, step);
		}
	}
}

Test(bodyhash, hashes_nothing_of_an_empty_body)
{
	CLEAN(bodyhash_free_clean) struct bodyhash *hash =
		bodyhash_new(CANON_RELAXED);
	uint8_t expected[DIGEST_SIZE];

	bodyhash_limit(hash, 0);
	cr_expect_eq(bodyhash_finish(hash), 0);
	sha256(SLICE_NONE, expected);
	cr_expect_arr_eq(bodyhash_result(hash, 0), expected, DIGEST_SIZE);
	cr_expect_arr_eq(bodyhash_result(hash, BODYHASH_WHOLE), expected,
			 DIGEST_SIZE);
}

Test(bodyhash, takes_as_many_limits_as_it_says)
{
	CLEAN(bodyhash_free_clean) struct bodyhash *hash =
		bodyhash_new(CANON_SIMPLE);

	for (uint64_t limit = BODYHASH_LIMITS_MAX; limit > 0; limit--)
		bodyhash_limit(hash, limit);
	bodyhash_feed(hash, SLICE("0123456789\r\n"));
	cr_expect_eq(bodyhash_finish(hash), 12);
	for (uint64_t limit = 1; limit <= 12; limit++) {
		uint8_t expected[DIGEST_SIZE];

		sha256(slice_sub(SLICE("0123456789\r\n"), 0, (size_t)limit),
		       expected);
		cr_expect_arr_eq(bodyhash_result(hash, limit), expected,
				 DIGEST_SIZE);
	}
}
