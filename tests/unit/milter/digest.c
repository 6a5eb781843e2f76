#include <criterion/criterion.h>

#include "milter/digest.h"

/* FIPS 180-4, "abc" and the empty message. */
static const uint8_t abc[DIGEST_SIZE] = {
	0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
	0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
	0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
static const uint8_t nothing[DIGEST_SIZE] = {
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
	0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
	0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};

Test(digest, known_answers)
{
	CLEAN(digest_free_clean) struct digest *whole = digest_new();
	CLEAN(digest_free_clean) struct digest *empty = digest_new();
	uint8_t out[DIGEST_SIZE];

	digest_feed(whole, SLICE("a"));
	digest_feed(whole, SLICE_NONE);
	digest_feed(whole, SLICE("bc"));
	digest_finish(whole, out);
	cr_expect_arr_eq(out, abc, DIGEST_SIZE);
	digest_finish(empty, out);
	cr_expect_arr_eq(out, nothing, DIGEST_SIZE);
}

Test(digest, a_copy_goes_its_own_way)
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	CLEAN(digest_free_clean) struct digest *copy = NULL;
	uint8_t out[DIGEST_SIZE];

	digest_feed(digest, SLICE("ab"));
	copy = digest_dup(digest);
	digest_feed(digest, SLICE("x"));
	digest_feed(copy, SLICE("c"));
	digest_finish(copy, out);
	cr_expect_arr_eq(out, abc, DIGEST_SIZE);
	digest_finish(digest, out);
	cr_expect_arr_neq(out, abc, DIGEST_SIZE);
}
