/* An arbitrary value: a comment in front of it makes no difference to whether
 * it claims our name. And whatever a signature says, the field that tells of
 * it is one field of plain ASCII that claims our name. */
#include "milter/authres.h"
#include "milter/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char id[] = "mx.example.com";

static void
claim_check(struct slice value)
{
	CLEAN(text_done) struct text behind = {0};

	text_add_string(&behind, " (a) ");
	text_add(&behind, value);
	ASSERT(authres_claims(text_slice(&behind), SLICE(id)) ==
	       authres_claims(value, SLICE(id)));
}

static void
field_check(struct slice field, size_t lines)
{
	struct slice name, value;

	ASSERT(slice_ends_nocase(field, SLICE("\r\n")));
	field.len -= 2;
	ASSERT(header_field_parse(field, &name, &value) == NULL);
	ASSERT(authres_is_field(name));
	ASSERT(authres_claims(value, SLICE(id)));
	for (size_t i = 0; i < field.len; i++) {
		char c = field.bytes[i];

		ASSERT((c >= ' ' && c < 0x7f) || c == '\r' || c == '\n' ||
		       c == '\t');
		lines -= c == ';';
	}
	/* One ";" for each result, and no other. */
	ASSERT(lines == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct verification results[2] = {0};
	struct authres authres = {.id = SLICE(id),
				  .results = results,
				  .count = COUNT(results)};
	struct slice rest = slice_of(bytes, len), part;
	CLEAN(text_done) struct text out = {0};

	claim_check(rest);
	for (size_t i = 0; i < COUNT(results); i++) {
		struct verification *result = &results[i];
		struct slice *texts[] = {
			&result->domain, &result->selector,
			&result->algorithm, &result->b,
			&result->domain_name, &result->reason,
		};

		for (size_t k = 0; k < COUNT(texts); k++)
			if (slice_split(&rest, '\n', &part))
				*texts[k] = part;
		result->status = len % 2 == i ? VERIFY_PASS : VERIFY_FAIL;
	}
	authres_write(&authres, &out);
	field_check(text_slice(&out), COUNT(results));
	return 0;
}
