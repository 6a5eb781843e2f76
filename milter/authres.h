/*
 * authres - the Authentication-Results field: writes ours, knows those that
 * claim to be ours (RFC 8601).
 *
 * Writing     One resinfo for each signature, in the message's order, or
 *             dkim=none. What comes from the message is written only where it
 *             is short and has no other bytes than domains and base64 have:
 *             nothing in it ends a line, a comment or a string.
 * Claiming    RFC 8601 5 has a receiver remove the fields that carry its own
 *             authserv-id and are not its own. Who reads the field later may
 *             read it less strictly than the grammar has it, so a field is ours
 *             where any of the usual misreadings gives our name: comments
 *             that nest or do not, quotes and backslashes seen or not, space
 *             around dots, a job id behind "/", a dot at the end, another case,
 *             U-labels. Nothing but the authserv-id is looked at.
 *
 * Pure.
 */
#ifndef MILTER_AUTHRES_H
#define MILTER_AUTHRES_H

#include "milter/verify.h"

/* Lines of the field, without CRLF; what cannot be cut may be longer. */
#define AUTHRES_LINE_MAX 78

struct authres {
	struct slice id; /* authserv-id: authres_id_is_sound() */
	const struct verification *results; /* none VERIFY_PENDING */
	size_t count;
	size_t ignored; /* verifier_ignored() */
};

/* It needs no quotes: a token of RFC 2045 5.1. */
bool authres_id_is_sound(struct slice id);

/* Appends the field with its CRLF. */
void authres_write(const struct authres *authres, struct text *out);

/* "pass", "fail", "policy", "neutral", "temperror" or "permerror" (RFC 8601
 * 2.7.1; "none" is the result of a message). */
const char *authres_result(const struct verification *result);

/* The name of a field is Authentication-Results. */
bool authres_is_field(struct slice name);
/* The value of such a field, from behind its colon, claims this authserv-id. */
bool authres_claims(struct slice value, struct slice id);

#endif
