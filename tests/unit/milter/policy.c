#include "tests/unit/milter/stage.h"

static const struct {
	const char *name;
	size_t from_count;
	const char *from, *malformed;
	bool is_signed;
	const char *author_domain, *section, *reason; /* a part of it */
} rows[] = {
	{"exact", 1, "a@example.com", NULL, true, "example.com", "example.com",
	 "the From domain example.com is signed with 2 selectors"},
	{"one selector", 1, "a@example.net", NULL, true, "example.net",
	 "example.net", "with 1 selector"},
	{"case", 1, "a@EXAMPLE.net", NULL, true, "example.net", "example.net",
	 "example.net"},
	{"subdomain", 1, "a@news.example.com", NULL, true, "news.example.com",
	 "example.com", "news.example.com is signed as a subdomain of "
			"example.com"},
	{"the closest section", 1, "a@x.sub.example.com", NULL, true,
	 "x.sub.example.com", "example.com", "subdomain"},
	{"the exact one before its parent", 1, "a@sub.example.com", NULL, true,
	 "sub.example.com", "sub.example.com", "1 selector"},
	{"no subdomains wanted", 1, "a@news.example.net", NULL, false,
	 "news.example.net", NULL, "no domain section matches"},
	{"not a subdomain", 1, "a@badexample.com", NULL, false,
	 "badexample.com", NULL, "no domain section matches"},
	{"unknown", 1, "a@example.org", NULL, false, "example.org", NULL,
	 "no domain section matches the From domain example.org"},
	{"no active selector", 1, "a@idle.example", NULL, false,
	 "idle.example", "idle.example", "no selector of idle.example"},
	{"no From", 0, "", NULL, false, "", NULL, "there is no From field"},
	{"two From", 2, "a@example.com", NULL, false, "", NULL,
	 "there are 2 From fields"},
	{"From without an address", 1, "undisclosed:;", NULL, false, "", NULL,
	 "names no address"},
	{"empty From", 1, "", NULL, false, "", NULL, "names no address"},
	{"From that cannot be read", 1, "Joe", NULL, false, "", NULL,
	 "cannot be read"},
	{"malformed header", 1, "a@example.com", "a bare LF in the header",
	 false, "", NULL, "a bare LF in the header"},
	{"two of one section", 1, "a@example.com, b@news.example.com", NULL,
	 true, "example.com", "example.com", "2 selectors"},
	{"two of different sections", 1, "a@example.com, b@example.net", NULL,
	 false, "example.com", NULL, "several domain sections, example.com "
				     "and example.net"},
	{"the second is of no section", 1, "a@example.com, b@example.org",
	 NULL, false, "example.com", NULL, "matches the From domain "
					   "example.org"},
	{"group", 1, "T: a@example.com, b@example.com;", NULL, true,
	 "example.com", "example.com", "2 selectors"},
	{"literal", 1, "a@[192.0.2.1]", NULL, false, "[192.0.2.1]", NULL,
	 "no domain section matches the From domain [192.0.2.1]"},
	{"U-label", 1, "a@b\xc3\xbc" "cher.example.com", NULL, true,
	 "xn--bcher-kva.example.com", "example.com", "subdomain"},
};

static bool
contains(struct slice text, const char *part)
{
	return memmem(text.bytes, text.len, part, strlen(part)) != NULL;
}

static void
expect_row(const struct policy *policy, size_t i, enum verdict unsigned_verdict)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct header_facts facts = {rows[i].from_count, SLICE(rows[i].from),
				     rows[i].malformed};
	struct decision decision = {0};

	policy_decide(policy, &facts, &arena, &decision);
	cr_expect_eq(decision.verdict,
		     rows[i].is_signed ? VERDICT_SIGN : unsigned_verdict, "%s",
		     rows[i].name);
	cr_expect(slice_eq(decision.author_domain,
			   SLICE(rows[i].author_domain)),
		  "%s: '%.*s'", rows[i].name,
		  SLICE_ARG(decision.author_domain));
	cr_expect_eq(decision.domain == NULL, rows[i].section == NULL, "%s",
		     rows[i].name);
	if (decision.domain != NULL && rows[i].section != NULL)
		cr_expect(slice_eq(decision.domain->name,
				   SLICE(rows[i].section)),
			  "%s", rows[i].name);
	cr_expect(contains(decision.reason, rows[i].reason), "%s: '%.*s'",
		  rows[i].name, SLICE_ARG(decision.reason));
}

Test(policy, decide)
{
	static const struct {
		enum unsigned_action action;
		enum verdict verdict;
	} actions[] = {{UNSIGNED_RELAY, VERDICT_RELAY},
		       {UNSIGNED_REJECT, VERDICT_REJECT}};

	for (size_t k = 0; k < COUNT(actions); k++) {
		struct signing_options options = {
			.unsigned_action = actions[k].action};
		CLEAN(policy_unref_clean) struct policy *policy =
			stage_policy(&options);

		for (size_t i = 0; i < COUNT(rows); i++)
			expect_row(policy, i, actions[k].verdict);
	}
}

/* RFC 6376 5.4: From has to be there; RFC 8058 4: both List-Unsubscribe. */
Test(policy, signed_fields)
{
	static const char *const oversigned[] = {"From", "Subject", "Date",
						 "To", "Cc", "Reply-To"};
	static const char *const once[] = {
		"Message-ID", "MIME-Version", "Content-Type",
		"Content-Transfer-Encoding", "List-Unsubscribe",
		"List-Unsubscribe-Post", "In-Reply-To", "References"};
	size_t count, over = 0, seen = 0;
	const struct policy_field *fields = policy_fields(&count);

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < COUNT(oversigned); k++)
			if (slice_eq(fields[i].name, SLICE(oversigned[k])))
				cr_expect(fields[i].is_oversigned);
		for (size_t k = 0; k < COUNT(once); k++)
			if (slice_eq(fields[i].name, SLICE(once[k])))
				seen++;
		over += fields[i].is_oversigned ? 1 : 0;
		for (size_t k = 0; k < i; k++)
			cr_expect_not(slice_eq_nocase(fields[i].name,
						      fields[k].name));
	}
	cr_expect_eq(over, COUNT(oversigned));
	cr_expect_eq(seen, COUNT(once));
}

Test(policy, references)
{
	struct signing_options options = {0};
	struct policy *policy = stage_policy(&options);

	cr_expect_eq(policy_ref(policy), policy);
	policy_unref(policy);
	policy_unref(policy);
}
