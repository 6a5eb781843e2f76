/*
 * authentication - AUTH (RFC 4954) in a session: who may be asked to log in
 * when, and what is said to whom.
 *
 * The steps of a mechanism are auth.h's.
 */
#ifndef RELAY_SERVER_AUTHENTICATION_H
#define RELAY_SERVER_AUTHENTICATION_H

#include "relay/server/session.h"

/* A client has come: whoever will be asked about it is made ready. */
void authentication_prepare(const struct session *session);
/* The mechanisms that AUTH takes now; none: it is not offered (not wanted here,
 * TLS has to come first, or the client has logged in already). A certificate
 * alone is no login: a user may still say who he is. */
void authentication_offer(const struct session *session, struct text *out);

/* The arguments of AUTH. Gives the mechanism and the initial response, with
 * bytes NULL where there is none; both lie in the arguments. NULL: no
 * objection. */
const struct reply *authentication_check(const struct session *session,
					 struct slice args,
					 struct slice *mechanism_out,
					 struct slice *initial_out);
/* After authentication_check(). */
enum step authentication_begin(struct session *session, struct slice mechanism,
			       struct slice initial);
/* The client's next line, in the state AUTH. */
enum step authentication_respond(struct session *session, struct slice line);

#endif
