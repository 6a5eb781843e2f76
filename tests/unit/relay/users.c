#include "relay/users.h"

#include <criterion/criterion.h>

#define CRYPT "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"
#define DES "ab01FAX.bQRSU"
#define BSDI "_J9..abcdefghijklmno"
#define KEY "03wBIFW79nT8pWEWcElBzplnn8dKKnxzI9TjuI/JODU="
#define SALT "c2FsdA=="
#define SCRAM "{SCRAM-SHA-256}4096," SALT "," KEY "," KEY

Test(users, reads_lines)
{
	static const struct {
		const char *bytes, *name;
		enum user_scheme scheme;
		const char *hash;
	} rows[] = {
		{"a:" CRYPT, "a", USER_CRYPT, CRYPT},
		{"a:" CRYPT "\r\n", "a", USER_CRYPT, CRYPT},
		{"# b:x\n\n  a:" CRYPT "\n", "a", USER_CRYPT, CRYPT},
		{"b:" CRYPT "\na:" CRYPT "\nc:" CRYPT, "a", USER_CRYPT, CRYPT},
		{"a:{CRYPT}" CRYPT, "a", USER_CRYPT, CRYPT},
		{"a:{md5-crypt}" CRYPT, "a", USER_CRYPT, CRYPT},
		{"a:" DES, "a", USER_CRYPT, DES},
		{"a:" BSDI, "a", USER_CRYPT, BSDI},
		{"a@example.com:" CRYPT ":1000:1000::/var/empty", "a@example.com",
		 USER_CRYPT, CRYPT},
		{"\xc3\xa4:" CRYPT, "\xc3\xa4", USER_CRYPT, CRYPT},
		{"a:" SCRAM, "a", USER_SCRAM, ""},
		{"a:{scram-sha-256}1," SALT "," KEY "," KEY ":x", "a",
		 USER_SCRAM, ""},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct fault fault = {0};
		struct users *users = NULL;
		const struct user *user;

		cr_assert(users_new(SLICE(rows[i].bytes), &users, &fault),
			  "%zu: %s", i, fault.text);
		user = users_find(users, SLICE(rows[i].name));
		cr_assert_not_null(user, "%zu", i);
		cr_expect_eq(user->scheme, rows[i].scheme, "%zu", i);
		cr_expect(slice_eq(user->hash, SLICE(rows[i].hash)), "%zu", i);
		cr_expect(users_have(users, rows[i].scheme));
		cr_expect_not(users_have(users, rows[i].scheme == USER_CRYPT
							? USER_SCRAM
							: USER_CRYPT));
		cr_expect_null(users_find(users, SLICE("nobody")));
		cr_expect_null(users_find(users, SLICE_NONE));
		users_free(users);
	}
}

Test(users, splits_the_keys)
{
	struct users *users = NULL;
	const struct user *user;

	cr_assert(users_new(SLICE("a:" SCRAM), &users, NULL));
	user = users_find(users, SLICE("a"));
	cr_expect(slice_eq(user->iterations, SLICE("4096")));
	cr_expect(slice_eq(user->salt, SLICE(SALT)));
	cr_expect(slice_eq(user->stored_key, SLICE(KEY)));
	cr_expect(slice_eq(user->server_key, SLICE(KEY)));
	users_free(users);
}

Test(users, refuses)
{
	static const struct {
		const char *bytes, *says;
	} rows[] = {
		{"a", "line 1: a line is USER:HASH"},
		{"\n\n:" CRYPT, "line 3: a name stands before"},
		{"a:", "user 'a': what stands behind the colon"},
		{"a::" CRYPT, "user 'a': what stands behind the colon"},
		{"a:*", "no hash that crypt(3) knows"},
		{"a:!" CRYPT, "no hash that crypt(3) knows"},
		{"a:$9$x$y", "no hash that crypt(3) knows"},
		{"a:secret", "no hash that crypt(3) knows"},
		{"a:fourteenletter", "no hash that crypt(3) knows"},
		{"a:_plaintext", "no hash that crypt(3) knows"},
		{"a:{PLAIN}secret", "the scheme is not known"},
		{"a:{SSHA}x", "the scheme is not known"},
		{"a:{CRYPT" CRYPT, "ends with '}'"},
		{"a:{SCRAM-SHA-256}4096," SALT "," KEY, "takes ITERATIONS"},
		{"a:" SCRAM ",x", "takes ITERATIONS"},
		{"a:{SCRAM-SHA-256}x," SALT "," KEY "," KEY,
		 "takes ITERATIONS"},
		{"a:{SCRAM-SHA-256}4096,," KEY "," KEY, "takes ITERATIONS"},
		{"a:{SCRAM-SHA-256}4096," SALT "," SALT "," KEY,
		 "takes ITERATIONS"},
		{"a:{SCRAM-SHA-256}0," SALT "," KEY "," KEY, "from 1 to"},
		{"a:{SCRAM-SHA-256}1000001," SALT "," KEY "," KEY, "from 1 to"},
		{"a:" CRYPT "\nb:" CRYPT "\na:" SCRAM, "user 'a' stands there "
						       "twice"},
		{"a\tb:" CRYPT, "line 1: a control character"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct fault fault = {0};
		struct users *users = NULL;

		cr_expect_not(users_new(SLICE(rows[i].bytes), &users, &fault),
			      "%zu", i);
		cr_expect_not_null(strstr(fault.text, rows[i].says), "%zu: %s",
				   i, fault.text);
		cr_expect_null(strstr(fault.text, "cHJi5PXp"), "%zu: %s", i,
			       fault.text);
		cr_expect_null(users);
	}
}

Test(users, nobody_is_no_fault)
{
	struct users *users = NULL;

	cr_assert(users_new(SLICE("# nobody yet\n"), &users, NULL));
	cr_expect_null(users_find(users, SLICE("a")));
	users_free(users);
	users_free(NULL);
}
