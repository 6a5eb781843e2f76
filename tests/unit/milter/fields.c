#include <criterion/criterion.h>

#include "milter/fields.h"

static const char *const header[] = {
	"From: a", "To: 1", "Received: 1", "to: 2", "Received: 2", "TO: 3",
};

static void
header_fill(struct fields *fields)
{
	for (size_t i = 0; i < COUNT(header); i++) {
		struct slice whole = SLICE(header[i]);

		fields_add(fields,
			   slice_sub(whole, 0, (size_t)slice_find(whole, ':')),
			   whole);
	}
}

/* RFC 6376 5.4.2. */
Test(fields, taken_from_the_bottom_up)
{
	static const struct {
		const char *name, *whole;
	} rows[] = {
		{"To", "TO: 3"},	  {"received", "Received: 2"},
		{"tO", "to: 2"},	  {"From", "From: a"},
		{"To", "To: 1"},	  {"To", NULL},
		{"To", NULL},		  {"RECEIVED", "Received: 1"},
		{"Received", NULL},	  {"From", NULL},
		{"Subject", NULL},	  {"", NULL},
		{"Zzz", NULL},
	};
	CLEAN(fields_done) struct fields fields = {0};

	header_fill(&fields);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < COUNT(rows); i++) {
			struct slice whole = SLICE_NONE;
			bool ok = fields_take(&fields, SLICE(rows[i].name),
					      &whole);

			cr_expect_eq(ok, rows[i].whole != NULL, "row %zu", i);
			cr_expect(slice_eq(whole, SLICE(rows[i].whole)),
				  "row %zu: %.*s", i, SLICE_ARG(whole));
		}
		fields_rewind(&fields);
	}
}

Test(fields, place)
{
	CLEAN(fields_done) struct fields fields = {0};
	struct slice names[16] = {{0}};
	size_t placed = 0;

	header_fill(&fields);
	cr_assert_leq(fields.count, COUNT(names));
	fields_place(&fields, SLICE("tO"), names);
	fields_place(&fields, SLICE("Cc"), names);
	for (size_t i = 0; i < COUNT(names); i++) {
		placed += names[i].len > 0;
		cr_expect(names[i].len == 0 ||
			  slice_eq_nocase(names[i], SLICE("To")));
	}
	cr_expect_eq(placed, 3);
}

/* A header of many equal names and an h= of many take no square of time. */
Test(fields, many, .timeout = 120)
{
	CLEAN(fields_done) struct fields fields = {0};
	struct slice whole;

	for (int i = 0; i < 200000; i++)
		fields_add(&fields, SLICE("To"), SLICE("To:"));
	for (int i = 0; i < 200000; i++)
		cr_assert(fields_take(&fields, SLICE("to"), &whole));
	cr_expect_not(fields_take(&fields, SLICE("to"), &whole));
}

Test(fields, digest_is_of_the_canonical_fields)
{
	static const struct slice names[] = {SLICE_LITERAL("to"),
					     SLICE_LITERAL("to"),
					     SLICE_LITERAL("x"),
					     SLICE_LITERAL("from")};
	CLEAN(fields_done) struct fields fields = {0};
	CLEAN(digest_free_clean) struct digest *expected = digest_new();
	CLEAN(digest_free_clean) struct digest *digest = NULL;
	uint8_t a[DIGEST_SIZE], b[DIGEST_SIZE];

	header_fill(&fields);
	digest = fields_digest(&fields, names, COUNT(names), CANON_RELAXED);
	digest_feed(expected, SLICE("to:3\r\nto:2\r\nfrom:a\r\n"));
	digest_finish(digest, a);
	digest_finish(expected, b);
	cr_expect_arr_eq(a, b, DIGEST_SIZE);
}

Test(fields, one_can_be_withheld)
{
	static const char *const wholes[] = {"A: 0", "A: 1", "A: 2"};

	for (size_t i = 0; i <= COUNT(wholes); i++) {
		CLEAN(fields_done) struct fields fields = {0};
		struct slice whole;

		for (size_t k = 0; k < COUNT(wholes); k++)
			fields_add(&fields, SLICE("A"), SLICE(wholes[k]));
		fields_withhold(&fields, i == COUNT(wholes) ? SLICE_NONE
							    : SLICE(wholes[i]));
		for (size_t k = COUNT(wholes); k-- > 0;) {
			if (k == i)
				continue;
			cr_assert(fields_take(&fields, SLICE("a"), &whole));
			cr_expect_eq(whole.bytes, wholes[k], "%zu %zu", i, k);
		}
		cr_expect_not(fields_take(&fields, SLICE("a"), &whole));
	}
}
