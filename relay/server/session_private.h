/*
 * What session.c (states, events, the one loop that consumes input),
 * session_line.c (its lines) and session_reply.c (what is said to the client,
 * and of it in the log) share. For them only.
 */
#ifndef RELAY_SERVER_SESSION_PRIVATE_H
#define RELAY_SERVER_SESSION_PRIVATE_H

#include "relay/server/session.h"

/* --- session.c --- */

/* For the state that it is in, from now on. */
void session_set_deadline(struct session *session);

/* --- session_line.c --- */

/* Up to the CRLF of a line that was too long. False: more has to come. */
bool session_skip_line(struct session *session, struct slice input);
/* The next line and what it leads to. */
enum step session_read_line(struct session *session, bool *more_needed);

/* --- session_reply.c --- */

/* He goes by himself. */
void session_gone(const struct session *session, const char *reason);

#endif
