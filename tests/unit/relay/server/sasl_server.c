#include "relay/server/sasl_server.h"

#include <criterion/criterion.h>

#include "base/base64.h"
#include "relay/server/password.h"

/* "keys" has 4096 iterations and twelve octets of salt; what `signet passwd`
 * writes has neither. */
static const char file[] =
	"crypt:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n"
	"ordinal:$1$abcdefgh$68oYbDkYCRiI1EfhAzAP81\n"
	"latin:$1$abcdefgh$tNtvWLHUQE/fK44cZvTYf/\n"
	"keys:{SCRAM-SHA-256}4096,c2FsdHNhbHRzYWx0,"
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n";

static struct users *users;

static void
set_up(void)
{
	cr_assert(users_new(SLICE(file), &users, NULL));
}

static void
tear_down(void)
{
	users_free(users);
}

static void
open_for(const char *mechanism, struct sasl_server **server_out)
{
	struct sasl_setup setup = {.mechanism = SLICE(mechanism),
				   .users = users,
				   .certified = SLICE("a client")};

	cr_assert(sasl_server_open(&setup, server_out, NULL));
}

/* What the server says to the first message of SCRAM: salt and iterations. */
static void
ask(const char *name, struct text *salt_out, struct text *iterations_out)
{
	CLEAN(text_done) struct text first = {0}, challenge = {0};
	struct sasl_server *server = NULL;
	struct slice rest, part;

	text_addf(&first, "n,,n=%s,r=nonce", name);
	open_for("SCRAM-SHA-256", &server);
	cr_assert_eq(sasl_server_step(server, true, text_slice(&first),
				      &challenge),
		     SASL_CHALLENGE);
	rest = text_slice(&challenge);
	cr_assert(slice_split(&rest, ',', &part)); /* r= */
	cr_assert(slice_split(&rest, ',', &part));
	cr_assert(base64_read(salt_out, slice_from(part, 2)));
	text_add(iterations_out, rest);
	sasl_server_close(&server);
}

/* Who does not exist, or has no keys, looks like who has. */
Test(sasl_server, scram_tells_nobody_from_nobody, .init = set_up,
     .fini = tear_down)
{
	static const char *const names[] = {"keys", "crypt", "nobody", "other"};

	for (size_t i = 0; i < COUNT(names); i++) {
		CLEAN(text_done) struct text salt = {0}, again = {0};
		CLEAN(text_done) struct text count = {0}, count_again = {0};

		ask(names[i], &salt, &count);
		ask(names[i], &again, &count_again);
		cr_expect_eq(salt.len, 12, "%s", names[i]);
		cr_expect_str_eq(text_string(&count), "i=4096", "%s",
				 names[i]);
		cr_expect(slice_eq(text_slice(&salt), text_slice(&again)),
			  "%s", names[i]);
	}
}

static enum sasl_verdict
log_in(const char *name, const char *password)
{
	CLEAN(text_done) struct text response = {0}, challenge = {0};
	struct sasl_server *server = NULL;
	enum sasl_verdict verdict;

	text_add_byte(&response, '\0');
	text_add_string(&response, name);
	text_add_byte(&response, '\0');
	text_add_string(&response, password);
	open_for("PLAIN", &server);
	verdict = sasl_server_step(server, true, text_slice(&response),
				   &challenge);
	sasl_server_close(&server);
	return verdict;
}

static enum sasl_verdict
log_in_by_login(const char *name, const char *password)
{
	CLEAN(text_done) struct text challenge = {0};
	struct sasl_server *server = NULL;
	enum sasl_verdict verdict;

	open_for("LOGIN", &server);
	cr_assert_eq(sasl_server_step(server, true, SLICE(name), &challenge),
		     SASL_CHALLENGE);
	verdict = sasl_server_step(server, true, SLICE(password), &challenge);
	sasl_server_close(&server);
	return verdict;
}

/* U+00AA, which SASLprep makes an "a" of: the hash is of what was typed. */
Test(sasl_server, mechanisms_agree_on_a_password, .init = set_up,
     .fini = tear_down)
{
	cr_expect_eq(log_in("ordinal", "p\xc2\xaass"), SASL_IN);
	cr_expect_eq(log_in("ordinal", "pass"), SASL_REFUSED);
	cr_expect_eq(log_in_by_login("ordinal", "p\xc2\xaass"), SASL_IN);
	cr_expect_eq(log_in_by_login("ordinal", "pass"), SASL_REFUSED);
}

/* A client that knows no UTF-8: the octets are those that were hashed, or not. */
Test(sasl_server, a_password_in_any_charset, .init = set_up, .fini = tear_down)
{
	static const struct {
		const char *name, *password;
		enum sasl_verdict verdict;
	} rows[] = {
		{"latin", "gr\xfc\xdf" "e", SASL_IN},
		{"latin", "gr\xc3\xbc\xc3\x9f" "e", SASL_REFUSED},
		{"latin", "gr\xfc\xdf" "x", SASL_REFUSED},
		{"latin", "x", SASL_REFUSED},
		{"keys", "gr\xfc\xdf" "e", SASL_REFUSED},
		{"nobody", "gr\xfc\xdf" "e", SASL_REFUSED},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		cr_expect_eq(log_in(rows[i].name, rows[i].password),
			     rows[i].verdict, "PLAIN, %zu", i);
		cr_expect_eq(log_in_by_login(rows[i].name, rows[i].password),
			     rows[i].verdict, "LOGIN, %zu", i);
	}
	cr_expect_eq(log_in("latin", ""), SASL_REFUSED);
}

/* Whose entry it takes the time of, his password is of no use. */
Test(sasl_server, a_decoy_lets_nobody_in, .init = set_up, .fini = tear_down)
{
	static const char *const names[] = {"nobody", "other", "third",
					    "fourth", "fifth", "sixth"};

	cr_expect_eq(log_in("crypt", "secret"), SASL_IN);
	cr_expect_eq(log_in("crypt", "pencil"), SASL_REFUSED);
	for (size_t i = 0; i < COUNT(names); i++)
		cr_expect_eq(log_in(names[i], "secret"), SASL_REFUSED, "%s",
			     names[i]);
}

Test(sasl_server, a_file_without_users_lets_nobody_in)
{
	cr_assert(users_new(SLICE("# nobody yet\n"), &users, NULL));
	cr_expect_eq(log_in("nobody", "secret"), SASL_REFUSED);
	users_free(users);
}

/* RFC 4422 A: who the client is, is known; it may ask to act as him only. */
Test(sasl_server, external)
{
	static const struct {
		const char *response;
		size_t len;
		enum sasl_verdict verdict;
	} rows[] = {
		{"", 0, SASL_IN},
		{"a client", 8, SASL_IN},
		{"another", 7, SASL_REFUSED},
		{"A client", 8, SASL_REFUSED},
		{"a client\0", 9, SASL_MALFORMED},
	};

	users = NULL;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice response = slice_of(rows[i].response, rows[i].len);

		for (int is_first = 0; is_first < 2; is_first++) {
			CLEAN(text_done) struct text challenge = {0};
			struct sasl_server *server = NULL;

			open_for("external", &server);
			if (!is_first)
				cr_expect_eq(sasl_server_step(server, false,
							      SLICE_NONE,
							      &challenge),
					     SASL_CHALLENGE);
			cr_expect_eq(sasl_server_step(server, true, response,
						      &challenge),
				     rows[i].verdict, "%zu", i);
			cr_expect_eq(challenge.len, 0);
			cr_expect(slice_eq(sasl_server_user(server),
					   SLICE("a client")));
			sasl_server_close(&server);
		}
	}
}
