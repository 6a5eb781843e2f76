/*
 * login - how to log in at next hops: the user of the options, and the password
 * of the file that they name.
 *
 * The supervisor reads the files (login_read()); the relay process gets their
 * first lines with the generation and joins them to the options again
 * (logins_new()). There is one login for `delivery` and one for each route, in
 * this order.
 *
 * Ownership   struct logins belongs to a generation and is shared by all loops.
 *             All but refused_until_ms is immutable.
 * Secrets     Passwords are cleansed on free, and appear in no fault and no log.
 */
#ifndef RELAY_LOGIN_H
#define RELAY_LOGIN_H

#include "base/fault.h"
#include "base/slice.h"
#include "relay/secret_file.h"

struct options;

#define LOGIN_PASSWORD_MAX 255 /* octets; as many as RFC 4616 2 promises */

struct login {
	struct slice user, password;
	bool may_be_clear;         /* without TLS, too */
	/* clock_now_ms(), atomic: the password was refused, and nobody tries
	 * again before then. */
	uint64_t refused_until_ms;
};

/* The password of one file: its first line, without line end. Warnings, of a
 * mode that lets others in, go to `warn`, which may be NULL; strict_modes makes
 * them FAULT_DENIED. */
bool login_read(struct slice path, bool strict_modes, secret_warn_fn *warn,
		struct text *password_out, struct fault *fault) MUST_USE;
/* Of all of them: a line for each login, empty where there is none. */
bool login_read_all(const struct options *options, secret_warn_fn *warn,
		    struct text *lines_out, struct fault *fault) MUST_USE;

struct logins;
/* The options must live as long. */
bool logins_new(const struct options *options, struct slice lines,
		struct logins **logins_out, struct fault *fault) MUST_USE;
void logins_free(struct logins *logins); /* takes NULL */
/* 0: of `delivery`; i + 1: of the i-th route. NULL: no AUTH there. */
struct login *logins_at(struct logins *logins, size_t i);

#endif
