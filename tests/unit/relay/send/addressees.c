#include "relay/send/addressees.h"

#include <criterion/criterion.h>

#define LONG "somebody.with.a.long.name.indeed@example.net"

static const struct addressees_row {
	const char *words, *value, *addresses; /* NULL: refused */
} rows[] = {
	{"bob@example.net", "bob@example.net", "bob@example.net"},
	{" bob@example.net , carol@example.org,", "bob@example.net, "
	 "carol@example.org", "bob@example.net carol@example.org"},
	{"Bob <bob@example.net>", "Bob <bob@example.net>", "bob@example.net"},
	{"\"a, b\" <c@example.net>", "\"a, b\" <c@example.net>",
	 "c@example.net"},
	{"bob@example.net, Bob <bob@example.net>",
	 "bob@example.net, Bob <bob@example.net>", "bob@example.net"},
	{"J\xc3\xbcrgen <j@example.net>",
	 "=?utf-8?B?SsO8cmdlbg==?= <j@example.net>", "j@example.net"},
	{"\"\xc3\xbc \\\"x\\\", y\" <j@example.net>",
	 "=?utf-8?B?w7wgIngiLCB5?= <j@example.net>", "j@example.net"},
	{"bob@b\xc3\xbc" "cher.example", "bob@xn--bcher-kva.example",
	 "bob@xn--bcher-kva.example"},
	{"j\xc3\xbc@example.net", "j\xc3\xbc@example.net",
	 "j\xc3\xbc@example.net"},
	{"team: a@example.net, b@example.net;",
	 "team: a@example.net, b@example.net;",
	 "a@example.net b@example.net"},
	{LONG ", " LONG "x", LONG ",\r\n " LONG "x", LONG " " LONG "x"},
	{"t\xc3\xa9" "am: a@example.net;", NULL, NULL},
	{"bob", NULL, NULL},
	{"bob@", NULL, NULL},
	{"bob@example.net carol@example.net", NULL, NULL},
	{"<bob@example.net", NULL, NULL},
	{"(unended bob@example.net", NULL, NULL},
};

static void
addresses_join(const struct mailing *mailing, struct text *out)
{
	for (size_t i = 0; i < mailing->count; i++) {
		if (i > 0)
			text_add_byte(out, ' ');
		text_add(out, mailing->addresses[i]);
	}
}

Test(addressees, rows)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct addressees_row *row = &rows[i];
		CLEAN(arena_done) struct arena arena = {0};
		CLEAN(text_done) struct text joined = {0};
		struct slice addresses[8];
		struct mailing mailing = {.addresses = addresses, .max = 8};
		struct addressees addressees = {.name = "To"};
		struct fault fault = {0};
		bool is_taken = addressees_add(&addressees, SLICE(row->words),
					       &mailing, &arena, &fault);

		cr_expect_eq(is_taken, row->value != NULL, "'%s': %s",
			     row->words, fault.text);
		addresses_join(&mailing, &joined);
		if (row->value != NULL) {
			cr_expect_str_eq(text_string(&addressees.value),
					 row->value, "'%s'", row->words);
			cr_expect_str_eq(text_string(&joined), row->addresses,
					 "'%s'", row->words);
		}
		text_done(&addressees.value);
	}
}
