#include <criterion/criterion.h>

#include "milter/inspect.h"
#include "tests/vectors/dkim.h"

#define NOW 1763760000
#define TIMEOUT_MS 1234

/* The names asked for, and an answer for each that has a row. */
struct records {
	size_t count, takes;
	char names[4][128];
};
static struct records asked;
static unsigned starts, ends;

static const struct answer {
	const char *name;
	enum lookup_status status;
	const char *record;
} answers[] = {
	{"brisbane._domainkey.football.example.com", LOOKUP_FOUND,
	 RFC8463_RECORD_ED25519},
	{"test._domainkey.football.example.com", LOOKUP_FOUND,
	 RFC8463_RECORD_RSA},
	{"slow._domainkey.example.com", LOOKUP_FAILED, NULL},
	{"gone._domainkey.example.com", LOOKUP_ABSENT, NULL},
};

static struct records *
fake_start(void *owner, const struct slice *names, size_t count,
	   uint64_t timeout_ms)
{
	cr_assert_eq(owner, &asked);
	cr_assert_eq(timeout_ms, TIMEOUT_MS);
	cr_assert_leq(count, COUNT(asked.names));
	starts++;
	asked = (struct records){.count = count};
	for (size_t i = 0; i < count; i++)
		memcpy(asked.names[i], names[i].bytes, names[i].len);
	return &asked;
}

static enum lookup_status
fake_take(struct records *records, size_t i, struct slice *texts, size_t max,
	  size_t *count_out)
{
	cr_assert_geq(max, 1);
	cr_assert_lt(i, records->count);
	records->takes++;
	for (size_t k = 0; k < COUNT(answers); k++)
		if (strcmp(answers[k].name, records->names[i]) == 0) {
			*count_out = answers[k].record != NULL ? 1 : 0;
			texts[0] = SLICE(answers[k].record);
			return answers[k].status;
		}
	*count_out = 0;
	return LOOKUP_FAILED;
}

static void
fake_end(struct records *records)
{
	cr_assert_eq(records, &asked);
	ends++;
}

static const struct records_source source = {.owner = &asked,
					     .start = fake_start,
					     .take = fake_take,
					     .end = fake_end};

static void
fields_feed(struct inspect *inspect, const char *fields)
{
	struct slice rest = SLICE(fields);

	while (rest.len > 0) {
		const char *end = rest.bytes;

		do
			end = strstr(end, "\r\n") + 2;
		while (ascii_is_wsp(*end));
		inspect_header(inspect,
			       slice_sub(rest, 0,
					 (size_t)(end - rest.bytes) - 2));
		rest = slice_from(rest, (size_t)(end - rest.bytes));
	}
}

#define OTHER(domain, selector)                                                \
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=" domain "; "  \
	"s=" selector "; h=From; b=AAAA; "                                      \
	"bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=\r\n"

static const struct {
	const char *name, *signatures;
	size_t asked;
	const char *results;
} rows[] = {
	{"none", "", 0, ""},
	{"two keys", RFC8463_SIGNATURE_RSA "\r\n" RFC8463_SIGNATURE_ED25519
	 "\r\n", 2, "pass pass "},
	{"one key, asked for once", RFC8463_SIGNATURE_RSA "\r\n"
	 RFC8463_SIGNATURE_RSA "\r\n", 1, "pass pass "},
	{"a malformed one between two", RFC8463_SIGNATURE_RSA "\r\n"
	 "DKIM-Signature: hello\r\n" RFC8463_SIGNATURE_ED25519 "\r\n", 2,
	 "pass permerror pass "},
	{"no answer, and none there", OTHER("example.com", "slow")
	 OTHER("example.com", "gone") RFC8463_SIGNATURE_RSA "\r\n", 3,
	 "temperror permerror pass "},
	{"only malformed ones", "DKIM-Signature: hello\r\n", 0, "permerror "},
};

Test(inspect, asks_for_what_it_needs)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(inspect_free_clean) struct inspect *inspect =
			inspect_new(&source, TIMEOUT_MS, NOW);
		CLEAN(text_done) struct text names = {0};
		const struct verification *results;
		size_t count;

		asked = (struct records){0};
		fields_feed(inspect, rows[i].signatures);
		fields_feed(inspect, RFC8463_FIELDS);
		cr_expect_eq(asked.count, 0);
		inspect_end_of_header(inspect);
		cr_expect_eq(asked.count, rows[i].asked, "%s: %zu",
			     rows[i].name, asked.count);
		cr_expect_eq(asked.takes, 0, "%s", rows[i].name);
		inspect_body(inspect, SLICE(RFC8463_BODY));
		results = inspect_end(inspect, &count);
		for (size_t k = 0; k < count; k++)
			text_addf(&names, "%s ",
				  verify_status_name(results[k].status));
		cr_expect_str_eq(text_string(&names), rows[i].results, "%s",
				 rows[i].name);
	}
	cr_expect_eq(starts, 4);
	cr_expect_eq(ends, starts);
}

Test(inspect, may_end_at_any_stage)
{
	struct inspect *inspect = inspect_new(&source, TIMEOUT_MS, NOW);

	inspect_free(inspect);
	inspect = inspect_new(&source, TIMEOUT_MS, NOW);
	fields_feed(inspect, RFC8463_SIGNATURE_RSA "\r\n");
	inspect_free(inspect);
	cr_expect_eq(starts, 0);
	inspect = inspect_new(&source, TIMEOUT_MS, NOW);
	fields_feed(inspect, RFC8463_SIGNATURE_RSA "\r\n");
	inspect_end_of_header(inspect);
	inspect_free(inspect);
	cr_expect_eq(starts, 1);
	cr_expect_eq(ends, 1);
}
