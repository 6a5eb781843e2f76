#include "relay/server/password.h"

#include <crypt.h>
#include <gsasl.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/base64.h"

#define SALT_SIZE 16

/* For users that do not exist: a password of nobody, hashed as crypt_gensalt()
 * would have it by default. */
#define NOBODY "$y$j9T$2Xn0iX0xJ4oZcQ3WcF7fL/$"

static bool
is_same(struct slice a, struct slice b)
{
	unsigned char difference = 0;

	if (a.len != b.len)
		return false;
	/* Takes as long wherever they differ. */
	for (size_t i = 0; i < a.len; i++)
		difference = (unsigned char)(difference |
					     (a.bytes[i] ^ b.bytes[i]));
	return difference == 0;
}

/* A C string, as both libraries want it. False: it cannot be anybody's. */
static bool
password_copy(struct slice password, char out[PASSWORD_MAX + 1])
{
	if (password.len > PASSWORD_MAX || slice_find(password, '\0') >= 0)
		return false;
	if (password.len > 0)
		memcpy(out, password.bytes, password.len);
	out[password.len] = '\0';
	return true;
}

/* --- crypt(3) --- */

static bool
crypt_run(const char *password, struct slice setting, struct text *hash_out)
{
	struct crypt_data *data = memory_new(sizeof(*data));
	CLEAN(text_done) struct text copy = {0};
	const char *hash;
	bool is_done;

	text_add(&copy, setting);
	hash = crypt_r(password, text_string(&copy), data);
	/* On failure libxcrypt gives a text that begins so. */
	is_done = hash != NULL && hash[0] != '*';
	if (is_done)
		text_add_string(hash_out, hash);
	explicit_bzero(data, sizeof(*data));
	free(data);
	return is_done;
}

static bool
crypt_matches(const char *password, struct slice stored)
{
	CLEAN(secret_cleanse) struct text hash = {0};

	return crypt_run(password, stored, &hash) &&
	       is_same(text_slice(&hash), stored);
}

/* --- SCRAM-SHA-256 --- */

struct keys {
	char stored[GSASL_HASH_SHA256_SIZE], server[GSASL_HASH_SHA256_SIZE];
};

/* RFC 5802 3, with the password prepared as 2.2 has it. */
static bool
keys_make(const char *password, unsigned iterations, struct slice salt,
	  struct keys *keys_out)
{
	char salted[GSASL_HASH_SHA256_SIZE], client[GSASL_HASH_SHA256_SIZE];
	char *prepared = NULL;
	int code = gsasl_saslprep(password, GSASL_ALLOW_UNASSIGNED, &prepared,
				  NULL);

	if (code == GSASL_OK)
		code = gsasl_scram_secrets_from_password(
			GSASL_HASH_SHA256, prepared, iterations, salt.bytes,
			salt.len, salted, client, keys_out->server,
			keys_out->stored);
	if (prepared != NULL)
		explicit_bzero(prepared, strlen(prepared));
	gsasl_free(prepared);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	return code == GSASL_OK;
}

static bool
scram_matches(const char *password, const struct user *user)
{
	CLEAN(text_done) struct text salt = {0};
	CLEAN(secret_cleanse) struct text stored = {0};
	uint64_t iterations;
	struct keys keys;
	bool matches;

	/* users.c has looked at all of it. */
	if (!slice_number(user->iterations, &iterations) ||
	    !base64_read(&salt, user->salt) ||
	    !base64_read(&stored, user->stored_key))
		return false;
	matches = keys_make(password, (unsigned)iterations, text_slice(&salt),
			    &keys) &&
		  is_same(slice_of(keys.stored, sizeof(keys.stored)),
			  text_slice(&stored));
	explicit_bzero(&keys, sizeof(keys));
	return matches;
}

bool
password_matches(const struct user *user, struct slice password)
{
	char copy[PASSWORD_MAX + 1];
	bool matches;

	if (!password_copy(password, copy))
		return false;
	if (user == NULL) {
		(void)crypt_matches(copy, SLICE(NOBODY));
		matches = false;
	} else {
		matches = user->scheme == USER_SCRAM
				  ? scram_matches(copy, user)
				  : crypt_matches(copy, user->hash);
	}
	explicit_bzero(copy, sizeof(copy));
	return matches;
}

/* --- making them --- */

static bool
crypt_hash(const char *password, struct text *hash_out, struct fault *fault)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	/* NULL, 0: the method and the cost that the library prefers. */
	if (crypt_gensalt_rn(NULL, 0, NULL, 0, setting, sizeof(setting)) ==
	    NULL)
		return fault_errno(fault, "making a salt");
	return crypt_run(password, SLICE(setting), hash_out) ||
	       fault_set(fault, FAULT_SYSTEM, "crypt(3) makes no hash");
}

static bool
scram_hash(const char *password, struct text *hash_out, struct fault *fault)
{
	char salt[SALT_SIZE];
	struct keys keys;

	if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		return fault_errno(fault, "making a salt");
	if (!keys_make(password, PASSWORD_ITERATIONS,
		       slice_of(salt, sizeof(salt)), &keys))
		return fault_set(fault, FAULT_INPUT,
				 "the password is no text that SCRAM takes "
				 "(RFC 4013)");
	text_addf(hash_out, "{SCRAM-SHA-256}%d,", PASSWORD_ITERATIONS);
	base64_write(hash_out, slice_of(salt, sizeof(salt)));
	text_add_byte(hash_out, ',');
	base64_write(hash_out, slice_of(keys.stored, sizeof(keys.stored)));
	text_add_byte(hash_out, ',');
	base64_write(hash_out, slice_of(keys.server, sizeof(keys.server)));
	explicit_bzero(&keys, sizeof(keys));
	return true;
}

bool
password_hash(enum user_scheme scheme, struct slice password,
	      struct text *hash_out, struct fault *fault)
{
	char copy[PASSWORD_MAX + 1];
	bool is_done;

	if (password.len == 0)
		return fault_set(fault, FAULT_INPUT, "the password is empty");
	if (!password_copy(password, copy))
		return fault_set(fault, FAULT_INPUT,
				 "a password has at most %d octets, and no NUL",
				 PASSWORD_MAX);
	is_done = scheme == USER_SCRAM ? scram_hash(copy, hash_out, fault)
				       : crypt_hash(copy, hash_out, fault);
	explicit_bzero(copy, sizeof(copy));
	return is_done;
}
