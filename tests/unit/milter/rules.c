#include "milter/rules.h"

#include <criterion/criterion.h>

static struct slice short_list[] = {SLICE_LITERAL("Subject"),
				    SLICE_LITERAL("from"),
				    SLICE_LITERAL("X-Own")};
static struct slice one[] = {SLICE_LITERAL("X-Once")};
static struct slice none[] = {SLICE_LITERAL("None")};
static struct slice oversigned[] = {SLICE_LITERAL("subject"),
				    SLICE_LITERAL("X-New")};

/* Names in order; "+" behind those that are oversigned. */
static void
fields_write(const struct policy_rules *rules, struct text *out)
{
	for (size_t i = 0; i < rules->fields_count; i++)
		text_addf(out, "%s%.*s%s", i > 0 ? " " : "",
			  SLICE_ARG(rules->fields[i].name),
			  rules->fields[i].is_oversigned ? "+" : "");
}

static const struct {
	const char *name;
	struct signing_options common;
	struct domain_signing_options domain;
	const char *fields;
} rows[] = {
	{"a list of headers alone is not made longer",
	 {.headers = short_list, .headers_count = 3},
	 {0},
	 "From+ Subject+ X-Own"},
	{"both lists",
	 {.headers = short_list, .headers_count = 3, .oversign = oversigned,
	  .oversign_count = 2},
	 {0},
	 "From Subject+ X-Own X-New+"},
	{"the domain's own headers",
	 {.headers = short_list, .headers_count = 3},
	 {.headers = one, .headers_count = 1},
	 "From+ X-Once"},
	{"the domain's own oversigning",
	 {.headers = one, .headers_count = 1, .oversign = one,
	  .oversign_count = 1},
	 {.oversign = oversigned, .oversign_count = 2},
	 "From X-Once subject+ X-New+"},
	{"no oversigning",
	 {.headers = short_list, .headers_count = 3, .oversign = none,
	  .oversign_count = 1},
	 {0},
	 "From Subject X-Own"},
	{"no oversigning of a domain",
	 {.headers = one, .headers_count = 1},
	 {.oversign = none, .oversign_count = 1},
	 "From X-Once"},
};

Test(rules, lists)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text text = {0};
		struct policy_rules rules;

		rules_make(&rows[i].common, &rows[i].domain, &arena, &rules);
		fields_write(&rules, &text);
		cr_expect_str_eq(text_string(&text), rows[i].fields, "%s",
				 rows[i].name);
	}
}

Test(rules, the_built_in_list)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct signing_options common = {0};
	struct policy_rules rules;
	size_t count;
	const struct policy_field *fields = policy_fields(&count);

	rules_make(&common, NULL, &arena, &rules);
	cr_assert_eq(rules.fields_count, count);
	for (size_t i = 0; i < count; i++) {
		cr_expect(slice_eq(rules.fields[i].name, fields[i].name));
		cr_expect_eq(rules.fields[i].is_oversigned,
			     fields[i].is_oversigned);
	}
}

Test(rules, what_a_domain_says_goes_before_what_all_say)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct signing_options common = {.header_canon = CANON_RELAXED,
					 .body_canon = CANON_RELAXED,
					 .expire_ms = 5000};
	struct domain_signing_options domain = {0};
	struct policy_rules rules;

	rules_make(&common, &domain, &arena, &rules);
	cr_expect_eq(rules.header_canon, CANON_RELAXED);
	cr_expect_eq(rules.expire_s, 5);
	cr_expect_eq(rules.identity.len, 0);
	domain = (struct domain_signing_options){
		.has_canonicalization = true,
		.header_canon = CANON_SIMPLE,
		.body_canon = CANON_SIMPLE,
		.has_expire = true,
		.identity = SLICE("@example.com"),
	};
	rules_make(&common, &domain, &arena, &rules);
	cr_expect_eq(rules.header_canon, CANON_SIMPLE);
	cr_expect_eq(rules.body_canon, CANON_SIMPLE);
	cr_expect_eq(rules.expire_s, 0);
	cr_expect(slice_eq(rules.identity, SLICE("@example.com")));
}

Test(rules, names)
{
	static const struct {
		const char *name;
		bool is_good;
	} names[] = {
		{"From", true},	      {"X-Own", true},
		{"", false},	      {"a b", false},
		{"a:", false},	      {"a;b", false},
		{"received", false},  {"DKIM-Signature", false},
		{"Bcc", false},	      {"Return-Path", false},
		{"a\xc3\xa4", false}, {"ARC-Seal", false},
	};

	for (size_t i = 0; i < COUNT(names); i++)
		cr_expect_eq(policy_name_problem(SLICE(names[i].name)) == NULL,
			     names[i].is_good, "%s", names[i].name);
}
