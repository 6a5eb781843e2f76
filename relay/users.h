/*
 * users - who may log in at a listener: its auth_file, parsed.
 *
 *	# a comment
 *	USER:HASH
 *
 * HASH is what crypt(3) makes ("$y$…", "$6$…", "$2b$…"), with or without the
 * scheme in braces that Dovecot writes before it ("{SHA512-CRYPT}"), or
 * "{SCRAM-SHA-256}ITERATIONS,SALT,STOREDKEY,SERVERKEY", the last three in
 * base64 (RFC 5803 has the same parts; so do Dovecot and GNU SASL write it).
 * What stands behind another colon is for others and passed over.
 *
 * The supervisor reads the files; the relay process gets their bytes with the
 * generation. Passwords themselves are never stored.
 *
 * Ownership   struct users owns its bytes; immutable, shared by all threads.
 * Secrets     Hashes are cleansed on free, and appear in no fault and no log.
 */
#ifndef RELAY_USERS_H
#define RELAY_USERS_H

#include "base/fault.h"
#include "relay/secret_file.h"

#define USERS_FILE_MAX ((size_t)16 << 20)
#define USER_NAME_MAX 255  /* octets */
#define USER_HASH_MAX 384  /* what crypt(3) gives: CRYPT_OUTPUT_SIZE */
/* Where an entry asks for more, each login would cost seconds. */
#define USER_ITERATIONS_MAX 1000000

enum user_scheme { USER_CRYPT, USER_SCRAM };

struct user {
	struct slice name;
	enum user_scheme scheme;
	struct slice hash;         /* of crypt(3) */
	/* of SCRAM-SHA-256; texts in base64 */
	struct slice iterations, salt, stored_key, server_key;
};

struct users;

/* The file as it stands. */
bool users_read(struct slice path, bool strict_modes, secret_warn_fn *warn,
		struct text *bytes_out, struct fault *fault) MUST_USE;
/* Copies the bytes. The fault names the line. */
bool users_new(struct slice bytes, struct users **users_out,
	       struct fault *fault) MUST_USE;
void users_free(struct users *users); /* takes NULL */
/* NULL: nobody of that name; octets are compared. */
const struct user *users_find(const struct users *users, struct slice name);
/* All of them, by name. */
size_t users_count(const struct users *users);
const struct user *users_at(const struct users *users, size_t i);
/* Somebody, the same for the same number: what is asked about a name that does
 * not exist is to look, and to take, as it would of him. NULL: nobody at all. */
const struct user *users_decoy(const struct users *users, uint32_t number);
/* The same of those whose entry is of the scheme. */
const struct user *users_decoy_of(const struct users *users,
				  enum user_scheme scheme, uint32_t number);
/* Whether somebody's entry is of the scheme. */
bool users_have(const struct users *users, enum user_scheme scheme);
/* Whether two entries, of two files perhaps, have the same password, as far as
 * what stands there tells. */
bool user_has_same_secret(const struct user *a, const struct user *b);

#endif
