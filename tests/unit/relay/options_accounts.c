#include "relay/options_accounts.h"

#include <criterion/criterion.h>

#include "tests/unit/relay/options_stand.h"

TestSuite(options_accounts, .init = options_stand_init,
	  .fini = options_stand_done);

static struct text said;

static void
hear(const char *text)
{
	text_addf(&said, "%s\n", text);
}

#define HEAD "hostname = \"mail.example.com\"\n"
#define TLS "tls = \"starttls\" tls_cert = \"c\" tls_key = \"c\" "
#define USERS                                                                  \
	HEAD "listener \"a\" { auth = \"required\" auth_file = \"u\" "         \
	     "auth_without_tls = true }\n"
#define NOBODY "c:3: 'account \"bbo\"' holds for nobody"
#define OTHERS "'from' holds for \"bob\", but a user without"

static const struct row {
	const char *name, *input;
	const char *said[2]; /* stands in the lines; NULL: there is no more */
} rows[] = {
	{ "no accounts", USERS, {NULL} },
	{ "each has his own", USERS
	  "account \"bob\" { from = {\"b@example.com\"} }\n"
	  "account \"eve\" { from = {\"e@example.com\"} }\n", {NULL} },
	{ "in whatever case", USERS
	  "account \"BOB\" { from = {\"b@example.com\"} }\n"
	  "account \"Eve\" {}\n", {NULL} },
	{ "a name that nobody has", USERS "account \"bbo\" { }\n", {NOBODY} },
	{ "the same, and so nobody is held to anything", USERS
	  "account \"bbo\" { from = {\"b@example.com\"} }\n",
	  {NOBODY, "such as \"bob\", may send in anybody's name"} },
	{ "one of two", USERS
	  "account \"bob\" { from = {\"b@example.com\"} }\n",
	  {"c:3: " OTHERS " an 'account' section, such as \"eve\","} },
	{ "one of two is held to a number", USERS
	  "account \"bob\" { messages_per_hour = 1 }\n", {NULL} },
	{ "the others are, too", USERS
	  "account \"*\" { from = {\"*@example.com\"} }\n"
	  "account \"bob\" { from = {\"b@example.com\"} }\n", {NULL} },
	{ "the others are not, which is meant", USERS
	  "account \"bob\" { from = {\"b@example.com\"} }\n"
	  "account \"*\" {}\n", {NULL} },
	{ "a certificate's name", HEAD
	  "listener \"a\" { " TLS "tls_clients = \"f\" }\n"
	  "account \"host one\" { from = {\"b@example.com\"} }\n", {NULL} },
	{ "a certificate's name that is another", HEAD
	  "listener \"a\" { " TLS "tls_clients = \"f\" }\n"
	  "account \"bbo\" { }\n", {NOBODY} },
	{ "names that no file has", HEAD
	  "listener \"a\" { xclient_from = {\"127.0.0.1\"} }\n"
	  "account \"bbo\" { }\n", {NULL} },
	{ "names that no file has, and nobody to hold the others", HEAD
	  "listener \"a\" { xclient_from = {\"127.0.0.1\"} }\n"
	  "account \"bob\" { from = {\"b@example.com\"} }\n",
	  {OTHERS " an 'account' section may send"} },
	{ "names that Dovecot has", HEAD
	  "listener \"a\" { auth = \"required\" auth_dovecot = \"d\" "
	  "auth_without_tls = true }\naccount \"bbo\" { }\n", {NULL} },
	{ "nobody who could log in", HEAD "\naccount \"bbo\" { }\n", {NOBODY} },
	{ "a file that is not there", HEAD
	  "listener \"a\" { auth = \"required\" auth_file = \"none\" "
	  "auth_without_tls = true }\naccount \"bbo\" { }\n", {NULL} },
};

Test(options_accounts, whom_no_account_holds)
{
	file_write("u", "bob:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n"
			"eve:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n");
	file_write("f", "000102030405060708090a0b0c0d0e0f"
			"101112131415161718191a1b1c1d1e1f host one\n");
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct fixture fixture;
		struct slice rest, line;

		text_clear(&said);
		cr_assert(fixture_of(&fixture, row->input), "%s: %s",
			  row->name, text_string(&fixture.said));
		accounts_warn(fixture.options, hear);
		rest = text_slice(&said);
		for (size_t j = 0; j < COUNT(row->said) && row->said[j] != NULL;
		     j++)
			cr_expect(slice_split(&rest, '\n', &line) &&
					  memmem(line.bytes, line.len,
						 row->said[j],
						 strlen(row->said[j])) != NULL,
				  "%s: %s", row->name, text_string(&said));
		cr_expect_eq(rest.len, 0, "%s: %s", row->name,
			     text_string(&said));
		fixture_done(&fixture);
	}
	text_done(&said);
}
