/*
 * author - the addresses that a From field names (RFC 5322 3.4, 4.4; groups by
 * RFC 6854; UTF-8 by RFC 6532), as far as signing needs them: local parts and
 * domains.
 *
 * Read as the grammar has it: quoted strings, nested comments, display names,
 * groups, routes, encoded words (they are atoms here), and the obsolete forms:
 * white space and comments around dots, dots in display names, empty list
 * elements. 8-bit bytes may stand wherever an atom may.
 *
 * Two common mistakes are taken, because every reader of mail agrees on what
 * address is meant: an unquoted "@" in a display name before <address>; and a
 * display name that should be quoted (Six, Joe <joe@example.com>) or is broken
 * otherwise, where <address> ends the field and there is no other "@", "<" or
 * ">" in it. Whatever else does not fit is refused with the reason: an author
 * that two readers may see differently is nobody.
 */
#ifndef MILTER_AUTHOR_H
#define MILTER_AUTHOR_H

#include "base/arena.h"
#include "base/fault.h"

/* More addresses in one From are refused. */
#define AUTHORS_MAX 100

struct authors {
	/* Of each address. A local part is given without quotes and
	 * backslashes; it may hold any byte. */
	struct slice *locals;
	struct slice *domains; /* A-labels, lower case; or "[literal]" */
	size_t count;          /* of addresses; 0: only empty groups */
	/* What some readers take for another address than the grammar does, in
	 * words; NULL: nothing. Who has to make sure that nobody is shown
	 * anybody else refuses it. */
	const char *dispute;
};

/* value: of the From field. The result lives in the arena. */
bool authors_parse(struct slice value, struct arena *arena,
		   struct authors *authors_out, struct fault *fault) MUST_USE;
/* The same of the addresses that programs of this machine give, in fields or on
 * a command line: one without a domain is of `domain`, and where that is given a
 * semicolon, too, ends an address. At most `max`. */
bool mailboxes_parse(struct slice value, struct slice domain, size_t max,
		     struct arena *arena, struct authors *mailboxes_out,
		     struct fault *fault) MUST_USE;
/* Appends "local@domain", the local part quoted where it has to be. */
void mailbox_write(struct slice local, struct slice domain, struct text *out);

#endif
