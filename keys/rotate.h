/*
 * rotate - the next step in replacing a domain's keys, so that at no moment a
 * message is signed with a key that the DNS does not publish (RFC 6376 3.1,
 * 6.1.2):
 *
 *	a new key → its record is published → it signs, the old one is retired
 *	→ the old one's record goes → the old key goes
 *
 * What is outside the configuration is done here: keys are made, the DNS is
 * asked. The configuration is its administrator's: what is to change there is
 * told with its line.
 */
#ifndef KEYS_ROTATE_H
#define KEYS_ROTATE_H

#include "keys/check.h"
#include "keys/commands.h"

enum rotate_result {
	ROTATE_MADE,  /* keys; told what is to be done with them */
	ROTATE_TOLD,  /* what is to be done, which is all */
	ROTATE_WAITS, /* for the DNS; ask again later */
	ROTATE_WRONG, /* the DNS publishes something else */
};

/* only: of all options those of one domain, in order of `domain`, which is not
 * the default one. Appends sentences to `out`. */
bool rotate_next(const struct keys_options *all,
		 const struct keys_options *only,
		 const struct keyring_domain *domain,
		 const struct keys_dns *dns, struct text *out,
		 enum rotate_result *result_out, struct fault *fault) MUST_USE;

#endif
