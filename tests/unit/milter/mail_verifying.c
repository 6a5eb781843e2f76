#include <criterion/criterion.h>

#include "milter/mail_verifying.h"

#define NOW 1763760000

/* There is one key to ask for, and no answer. */
static unsigned under_way;

static struct records *
silent_start(void *owner, const struct slice *names, size_t count,
	     uint64_t timeout_ms)
{
	(void)owner;
	(void)timeout_ms;
	cr_assert_eq(count, 1);
	cr_expect(slice_eq(names[0], SLICE("s._domainkey.example.com")));
	under_way++;
	return (struct records *)&under_way;
}

static enum lookup_status
silent_take(struct records *records, size_t i, struct slice *texts, size_t max,
	    size_t *count_out)
{
	(void)records;
	(void)i;
	(void)texts;
	(void)max;
	*count_out = 0;
	return LOOKUP_FAILED;
}

static void
silent_end(struct records *records)
{
	(void)records;
	under_way--;
}

static const struct records_source silent = {
	.start = silent_start, .take = silent_take, .end = silent_end};

#define OURS "Authentication-Results: mx.example.org; dkim=pass"
#define OTHER "Authentication-Results: mx.example.net; dkim=pass"

static const struct {
	const char *name;
	const char *fields[8];
	uint32_t forged[8]; /* ends with 0 */
} rows[] = {
	{"none", {"From: a@example.com"}, {0}},
	{"one", {"From: a@example.com", OURS}, {1}},
	{"one of others", {OTHER}, {0}},
	{"between others", {OTHER, "To: b", OURS, OTHER, "X: y", OURS, OTHER},
	 {2, 4}},
	{"only ours", {OURS, OURS, OURS, OURS, OURS, OURS}, {1, 2, 3, 4, 5, 6}},
	{"in small letters, with a space",
	 {"authentication-RESULTS : MX.example.org; none"}, {1}},
	{"with an 8-bit byte and a bare CR",
	 {"Authentication-Results: (\xe4\r) mx.example.org; none"}, {1}},
	{"of ARC", {"ARC-Authentication-Results: i=1; mx.example.org; none"},
	 {0}},
	{"one of ARC does not count",
	 {"ARC-Authentication-Results: i=1; mx.example.org; none", OTHER, OURS},
	 {2}},
	{"no field at all", {"Authentication-Results"}, {0}},
};

Test(mail_verifying, finds_forged_fields)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(mail_verifying_free_clean)
		struct mail_verifying *verifying = mail_verifying_new(
			&silent, 1, NOW, SLICE("mx.example.org"));
		const uint32_t *forged;
		size_t count, expected = 0;

		for (size_t k = 0; k < COUNT(rows[i].fields) &&
				   rows[i].fields[k] != NULL;
		     k++)
			mail_verifying_header(verifying,
					      SLICE(rows[i].fields[k]));
		mail_verifying_end_of_header(verifying);
		forged = mail_verifying_forged(verifying, &count);
		while (rows[i].forged[expected] != 0)
			expected++;
		cr_expect_eq(count, expected, "%s: %zu", rows[i].name, count);
		for (size_t k = 0; k < count && k < expected; k++)
			cr_expect_eq(forged[k], rows[i].forged[k], "%s",
				     rows[i].name);
	}
}

Test(mail_verifying, gives_the_field)
{
	struct mail_verifying *verifying = mail_verifying_new(
		&silent, 1, NOW, SLICE("mx.example.org"));
	const struct verification *results;
	struct slice field;
	size_t count;

	mail_verifying_header(
		verifying,
		SLICE("DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s; "
		      "h=From; b=AAAA; "
		      "bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="));
	mail_verifying_header(verifying, SLICE("From: a@example.com"));
	mail_verifying_end_of_header(verifying);
	cr_expect_eq(under_way, 1);
	field = mail_verifying_end(verifying);
	cr_expect(slice_starts(field,
			       SLICE("Authentication-Results: "
				     "mx.example.org;\r\n\tdkim=temperror "
				     "reason=\"")),
		  "%.*s", SLICE_ARG(field));
	results = mail_verifying_results(verifying, &count);
	cr_assert_eq(count, 1);
	cr_expect_eq(results[0].status, VERIFY_TEMPERROR);
	mail_verifying_free(verifying);
	cr_expect_eq(under_way, 0);
}
