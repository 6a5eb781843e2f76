/*
 * addressees - who writes and who gets a message that is composed here, as
 * people say it: "bob@example.net", "Bob <bob@example.net>, carol@example.org".
 * Pure.
 *
 * Names outside ASCII become encoded words (RFC 2047), domains A-labels. A local
 * part outside ASCII stays as it is (RFC 6532): the message then needs hosts with
 * SMTPUTF8.
 */
#ifndef RELAY_SEND_ADDRESSEES_H
#define RELAY_SEND_ADDRESSEES_H

#include "relay/submit/letter.h"

struct addressees {
	/* the caller's, before the first use; zero elsewhere */
	const char *name;  /* of the field: "To" */
	/* The value, folded (RFC 5322 2.2.3); the caller's to free. "": nobody
	 * so far. */
	struct text value;
	size_t column;
};

/* Adds them to the field, and their addresses to the mailing. INPUT: they cannot
 * be read, have no domain, or are too many. */
bool addressees_add(struct addressees *addressees, struct slice words,
		    struct mailing *mailing, struct arena *arena,
		    struct fault *fault) MUST_USE;

#endif
