#include <criterion/criterion.h>

#include "milter/senders.h"

static const struct {
	const char *pattern, *local, *domain;
	bool matches;
} pattern_rows[] = {
	{"*@example.com", "a", "example.com", true},
	{"*@example.com", "", "example.com", true},
	{"*@example.com", "a@b", "example.com", true},
	{"*@EXAMPLE.com", "a", "example.COM", true},
	{"*@example.com", "a", "a.example.com", false},
	{"*@*.example.com", "a", "a.b.example.com", true},
	{"*@*.example.com", "a", "example.com", false},
	{"a*b*c@example.com", "aXbbYc", "example.com", true},
	{"a*b*c@example.com", "aXbbYcd", "example.com", false},
	{"*ab*bc@example.com", "abc", "example.com", false},
	{"*ab*bc@example.com", "abbc", "example.com", true},
	{"joe@example.com", "joe", "example.com", true},
	{"joe@example.com", "joey", "example.com", false},
	{"*@*", "", "", true},
	{"example.com", "a", "example.com", false},
};

Test(senders, patterns)
{
	for (size_t i = 0; i < COUNT(pattern_rows); i++)
		cr_expect_eq(senders_pattern_matches(
				     SLICE(pattern_rows[i].pattern),
				     SLICE(pattern_rows[i].local),
				     SLICE(pattern_rows[i].domain)),
			     pattern_rows[i].matches, "%s: %s@%s",
			     pattern_rows[i].pattern, pattern_rows[i].local,
			     pattern_rows[i].domain);
}

/* Many stars and a long text: no more than the product of both. */
Test(senders, patterns_end_soon, .timeout = 120)
{
	CLEAN(text_done) struct text pattern = {0}, local = {0};

	for (size_t i = 0; i < 30; i++)
		text_add_string(&pattern, "*a");
	text_add_string(&pattern, "*b@x");
	for (size_t i = 0; i < 100000; i++)
		text_add_byte(&local, 'a');
	cr_expect_not(senders_pattern_matches(text_slice(&pattern),
					     text_slice(&local), SLICE("x")));
}

/* ---- the table ---- */

static struct sender_options table[] = {
	{.pattern = SLICE_LITERAL("a@example.com")},
	{.pattern = SLICE_LITERAL("*@*.example.com")},
	{.pattern = SLICE_LITERAL("b@Example.COM")},
	{.pattern = SLICE_LITERAL("*@example.com")},
	{.pattern = SLICE_LITERAL("*@*")},
	{.pattern = SLICE_LITERAL("*@example.com")},
	{.pattern = SLICE_LITERAL("*@example.net")},
};

static const struct {
	const char *local, *domain, *numbers;
} table_rows[] = {
	{"a", "example.com", "0 3 4 5 "}, {"B", "example.com", "2 3 4 5 "},
	{"c", "EXAMPLE.com", "3 4 5 "},	  {"a", "x.example.com", "1 4 "},
	{"a", "example.net", "4 6 "},	  {"a", "example.org", "4 "},
	{"a", "", "4 "},		  {"", "example.co", "4 "},
	{"a", "zzz", "4 "},
};

/* In the order of the file, whether they are found by domain or gone through. */
Test(senders, next)
{
	struct keys_options keys = {0};
	struct keyring *keyring = keyring_new(&keys, NULL, 0);
	struct signing_options options = {.senders = table,
					  .senders_count = COUNT(table)};
	CLEAN(arena_done) struct arena arena = {0};
	struct senders senders;

	senders_make(&options, keyring, &arena, &senders);
	for (size_t i = 0; i < COUNT(table_rows); i++) {
		CLEAN(text_done) struct text numbers = {0};
		const struct sender *sender = NULL;

		while ((sender = senders_next(
				&senders, SLICE(table_rows[i].local),
				SLICE(table_rows[i].domain), sender)) != NULL)
			text_addf(&numbers, "%zu ", sender->number);
		cr_expect_str_eq(text_string(&numbers), table_rows[i].numbers,
				 "%s@%s", table_rows[i].local,
				 table_rows[i].domain);
	}
	keyring_unref(keyring);
}

static const struct {
	const char *identity, *author, *domain, *result;
} identity_rows[] = {
	{"", "example.com", "example.com", ""},
	{"a@example.com", "example.org", "example.com", "a@example.com"},
	{"a@news.example.com", "example.com", "Example.com",
	 "a@news.example.com"},
	{"a@badexample.com", "example.com", "example.com", ""},
	{"@*", "news.example.com", "example.com", "@news.example.com"},
	{"a*@*", "example.org", "example.com", ""},
};

Test(senders, identity)
{
	for (size_t i = 0; i < COUNT(identity_rows); i++) {
		CLEAN(arena_done) struct arena arena = {0};
		struct sender sender = {
			.identity = SLICE(identity_rows[i].identity)};
		struct slice result = senders_identity(
			&sender, SLICE(identity_rows[i].author),
			SLICE(identity_rows[i].domain), &arena);

		cr_expect(slice_eq(result, SLICE(identity_rows[i].result)),
			  "%s: '%.*s'", identity_rows[i].identity,
			  SLICE_ARG(result));
	}
}
