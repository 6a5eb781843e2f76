#include "relay/server/rewriting.h"

#include <criterion/criterion.h>

static struct slice pattern = SLICE_LITERAL("*@example.com");

/* Each rule by itself; who needs none, the account says. */
Test(rewriting, the_account_goes_first)
{
	struct listener_options listener = {
		.rewrite = {SLICE_LITERAL("l@example.com"),
			    SLICE_LITERAL("b@example.com"), REWRITE_ALWAYS}};
	struct account_options account = {
		.from = &pattern,
		.from_count = 1,
		.rewrite = {SLICE_LITERAL("a@example.com"), SLICE_NONE,
			    REWRITE_NEEDED}};
	struct rewrite of_listener = rewriting_of(&listener, NULL, NULL);
	struct rewrite of_account = rewriting_of(&listener, &account, NULL);

	cr_expect(slice_eq(of_listener.from.to, listener.rewrite.from));
	cr_expect(slice_eq(of_listener.sender.to, listener.rewrite.sender));
	cr_expect_eq(of_listener.from.when, REWRITE_ALWAYS);
	cr_expect_eq(of_listener.allowed_count, 0);
	cr_expect(slice_eq(of_account.from.to, account.rewrite.from));
	cr_expect_eq(of_account.from.when, REWRITE_NEEDED);
	cr_expect(slice_eq(of_account.sender.to, listener.rewrite.sender));
	cr_expect_eq(of_account.sender.when, REWRITE_ALWAYS);
	cr_expect_eq(of_account.allowed, &pattern);
	cr_expect_eq(of_account.allowed_count, 1);
}

static const struct {
	const char *address, *local, *domain;
	const char *becomes; /* NULL: stays */
} rows[] = {
	{"a@localhost", "a", "localhost", "a@example.com"},
	{"", "", "", NULL},
	{"printer", "", "", "printer@example.com"},
	{"a@my_host", "", "", "a@example.com"},
	{"Canon iR", "", "", "postmaster@example.com"},
	{"a@[192.0.2.1]", "a", "[192.0.2.1]", "a@example.com"},
	{"\xc3\xbc@example.org", "\xc3\xbc", "example.org",
	 "postmaster@example.com"},
};

Test(rewriting, senders)
{
	const struct rewrite rewrite = {
		.sender = {SLICE("*@example.com"), REWRITE_ALWAYS}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text out = {0};
		struct path path = {.address = SLICE(rows[i].address),
				    .local = SLICE(rows[i].local),
				    .domain = SLICE(rows[i].domain),
				    .is_literal = rows[i].domain[0] == '['};
		bool is_due = rewriting_sender(&rewrite, &path, &out);

		cr_expect_eq(is_due, rows[i].becomes != NULL, "%s",
			     rows[i].address);
		if (is_due && rows[i].becomes != NULL)
			cr_expect_str_eq(text_string(&out), rows[i].becomes,
					 "%s", rows[i].address);
	}
}
