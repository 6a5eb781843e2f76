/*
 * front - XCLIENT and XFORWARD in a session: who is behind the MTA or the proxy
 * that speaks to us, for those whom the listener believes.
 *
 * XCLIENT   makes the session that of another client, back to the greeting: his
 *           address decides what he may do, his login who he is. TLS stays.
 * XFORWARD  is for the log alone, and for one transaction.
 */
#ifndef RELAY_SERVER_FRONT_H
#define RELAY_SERVER_FRONT_H

#include "relay/server/claims.h"
#include "relay/server/session.h"

/* Whether EHLO offers it to this client. */
bool front_offers(const struct session *session, enum claims_command command);
/* NULL: no objection. XFORWARD adds to what was said before. */
const struct reply *front_check(const struct session *session,
				enum claims_command command, struct slice args,
				struct arena *arena, struct claims *claims_out);
/* After front_check(). */
enum step front_replace(struct session *session, const struct claims *claims);
enum step front_note(struct session *session, const struct claims *claims);
/* What XFORWARD said: NULL where nothing was. */
const struct claims *front_noted(const struct session *session);
/* With the transaction that it was said for. */
void front_forget(struct session *session);

#endif
