#include "relay/server/password.h"

#include <criterion/criterion.h>

static struct users *users;

static const struct user *
user_with(struct slice hash)
{
	CLEAN(text_done) struct text line = {0};

	text_addf(&line, "a:%.*s\n", SLICE_ARG(hash));
	cr_assert(users_new(text_slice(&line), &users, NULL));
	return users_find(users, SLICE("a"));
}

Test(password, fits_what_was_made_of_it)
{
	static const enum user_scheme schemes[] = {USER_CRYPT, USER_SCRAM};
	static const char *const passwords[] = {
		"secret", "p\xc3\xa4ss word", ":,$}{", "0123456789abcdef0123"};

	for (size_t i = 0; i < COUNT(schemes); i++)
		for (size_t j = 0; j < COUNT(passwords); j++) {
			CLEAN(secret_cleanse) struct text hash = {0};
			const struct user *user;

			cr_assert(password_hash(schemes[i], SLICE(passwords[j]),
						&hash, NULL));
			user = user_with(text_slice(&hash));
			cr_expect_eq(user->scheme, schemes[i]);
			cr_expect(password_matches(user, SLICE(passwords[j])));
			cr_expect_not(password_matches(user, SLICE("secre")));
			cr_expect_not(password_matches(user, SLICE_NONE));
			cr_expect_not(password_matches(
				user, slice_of("secret\0", 7)));
			users_free(users);
		}
}

/* From openssl passwd -1, -5 and -6, of "secret". */
Test(password, knows_others_hashes)
{
	static const char *const hashes[] = {
		"$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
		"$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
		"$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8P"
		"SwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
	};

	for (size_t i = 0; i < COUNT(hashes); i++) {
		const struct user *user = user_with(SLICE(hashes[i]));

		cr_expect(password_matches(user, SLICE("secret")), "%zu", i);
		cr_expect_not(password_matches(user, SLICE("Secret")), "%zu",
			      i);
		users_free(users);
	}
}

/* RFC 7677 3: the salt, 4096 iterations and "pencil"; the keys are what
 * Python's hashlib and hmac make of them by RFC 5802 3. */
Test(password, knows_the_keys_of_rfc_7677)
{
	const struct user *user = user_with(SLICE(
		"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="));

	cr_expect(password_matches(user, SLICE("pencil")));
	cr_expect_not(password_matches(user, SLICE("pencil ")));
	users_free(users);
}

Test(password, is_nobodys)
{
	cr_expect_not(password_matches(NULL, SLICE("secret")));
	cr_expect_not(password_matches(NULL, SLICE_NONE));
}

Test(password, has_bounds)
{
	CLEAN(secret_cleanse) struct text hash = {0};
	char longest[PASSWORD_MAX + 1];
	struct fault fault;

	memset(longest, 'x', sizeof(longest));
	cr_expect(password_hash(USER_CRYPT, slice_of(longest, PASSWORD_MAX),
				&hash, NULL));
	cr_expect(password_matches(user_with(text_slice(&hash)),
				   slice_of(longest, PASSWORD_MAX)));
	users_free(users);
	cr_expect_not(password_hash(USER_CRYPT,
				    slice_of(longest, PASSWORD_MAX + 1), &hash,
				    &fault));
	cr_expect_not(password_hash(USER_CRYPT, SLICE_NONE, &hash, &fault));
	cr_expect_not(password_hash(USER_SCRAM, slice_of("a\0b", 3), &hash,
				    &fault));
}
