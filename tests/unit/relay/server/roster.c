#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/server/roster.h"

#define MANY 5000

static struct slice
numbered(char out[32], size_t number)
{
	int len = snprintf(out, 32, "%zu@Example.org", number);

	return slice_of(out, (size_t)len);
}

/* Small and large: a table comes with the ninth. */
Test(roster, knows_each_that_is_there)
{
	struct message *message = message_new(SLICE("a@example.com"));
	struct roster roster = {0};
	char text[32];

	for (size_t i = 0; i < MANY; i++) {
		struct recipient recipient = {
			.address = numbered(text, i),
			.destination = SLICE("example.org")};

		cr_assert_not(roster_has(&roster, message, &recipient), "%zu",
			      i);
		message_add_recipient(message, recipient.address,
				      recipient.destination);
		roster_note(&roster, message);
		cr_assert(roster_has(&roster, message, &recipient), "%zu", i);
		recipient.address = numbered(text, i / 2);
		cr_assert(roster_has(&roster, message, &recipient), "%zu of %zu",
			  i / 2, i);
	}
	roster_done(&roster);
	message_unref(message);
}

static const struct {
	const char *name;
	struct recipient recipient;
	bool is_known;
} rows[] = {
	{"the same", {{"b@example.org", 13}, {"example.org", 11}, {"", 0}, 0},
	 true},
	{"its domain in capitals",
	 {{"b@EXAMPLE.org", 13}, {"example.org", 11}, {"", 0}, 0}, true},
	{"its local part in capitals",
	 {{"B@example.org", 13}, {"example.org", 11}, {"", 0}, 0}, false},
	{"another domain",
	 {{"b@example.net", 13}, {"example.net", 11}, {"", 0}, 0}, false},
	{"NOTIFY", {{"b@example.org", 13}, {"example.org", 11}, {"", 0},
		    NOTIFY_NEVER}, false},
	{"ORCPT", {{"b@example.org", 13}, {"example.org", 11},
		   {"rfc822;b", 8}, 0}, false},
};

Test(roster, what_is_the_same)
{
	struct message *message = message_new(SLICE("a@example.com"));
	struct roster roster = {0};

	message_add_recipient(message, SLICE("b@example.org"),
			      SLICE("example.org"));
	roster_note(&roster, message);
	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(roster_has(&roster, message, &rows[i].recipient),
			     rows[i].is_known, "%s", rows[i].name);
	roster_done(&roster);
	message_unref(message);
}
