/*
 * submission - handing a message to the relay of this machine by SMTP, as any
 * client would, for commands: it waits.
 */
#ifndef RELAY_SUBMIT_SUBMISSION_H
#define RELAY_SUBMIT_SUBMISSION_H

#include "relay/options.h"
#include "relay/submit/letter.h"

/* The listener of the configuration that takes mail from here: one on a Unix
 * socket first, else the first whose allow_from has the address that a
 * connection from here comes from, and which neither begins with TLS nor makes
 * everybody log in. INPUT: there is none. */
bool submission_place(const struct options *options,
		      struct address *address_out,
		      struct fault *fault) MUST_USE;
/* A connection, before its greeting. ABSENT: no relay answers there. */
bool submission_connect(const struct address *address, int *socket_out,
			struct fault *fault) MUST_USE;

struct submission {
	struct slice helo;     /* our name */
	struct slice from;     /* reverse-path, without <>; "": the null path */
	struct slice *to;      /* without <> */
	size_t to_count;
	/* RFC 3461, in its own words; "": not asked for. */
	struct slice ret, envid, notify;
	void (*tell)(struct slice line); /* the dialogue; NULL: nobody */
};

/*
 * All recipients, or none: while one of them is refused nothing is sent. More
 * of them than the relay takes at once (452, RFC 5321 4.5.3.1.10) go in several
 * transactions, of which the first ones then stand.
 *
 * INPUT: refused for good; the reply is in the fault. BUSY: try again. SYSTEM:
 * the conversation broke.
 */
bool submission_send(const struct submission *submission,
		     const struct address *address, struct letter *letter,
		     struct fault *fault) MUST_USE;

#endif
