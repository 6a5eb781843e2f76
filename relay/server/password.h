/*
 * password - is this the password of that user; and the hashes that auth_file
 * holds. crypt(3), and SCRAM-SHA-256's keys by GNU SASL.
 *
 * Takes long, on purpose: tens of milliseconds. Worker threads only.
 */
#ifndef RELAY_SERVER_PASSWORD_H
#define RELAY_SERVER_PASSWORD_H

#include "relay/users.h"

/* Octets; crypt(3) takes no more. */
#define PASSWORD_MAX 511
/* RFC 7677 4 wants 4096 at least; what OWASP advises for PBKDF2 with SHA-256
 * would make each login of a device cost half a second. */
#define PASSWORD_ITERATIONS 65536

/* user NULL: nobody of that name; then false, after about as long. */
bool password_matches(const struct user *user, struct slice password) MUST_USE;

/* What stands behind the colon. Cleanse it. */
bool password_hash(enum user_scheme scheme, struct slice password,
		   struct text *hash_out, struct fault *fault) MUST_USE;

#endif
