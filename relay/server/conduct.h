/*
 * conduct - how much of what a client gets wrong is borne, until it is told to
 * go. Pure.
 *
 * Error     What no program comes to that speaks SMTP: a command that is not
 *           known, malformed or out of its order, a wrong password. The
 *           CONDUCT_ERRORS_MAX-th ends the session.
 * Refusal   Of an address, of a message. Who may relay is never sent away for
 *           it: a list has addresses that have died. A stranger is, at the
 *           CONDUCT_REFUSALS_MAX-th.
 * Idling    A stranger's commands that lead nowhere, such as NOOP: at the
 *           CONDUCT_IDLE_MAX-th.
 *
 * What is temporary (450 to 452) counts as nothing, and a message that is taken
 * makes up for everything.
 */
#ifndef RELAY_SERVER_CONDUCT_H
#define RELAY_SERVER_CONDUCT_H

#include "relay/net/reply.h"

#define CONDUCT_ERRORS_MAX 5
#define CONDUCT_REFUSALS_MAX 20
#define CONDUCT_IDLE_MAX 100

/* A zeroed one is ready. */
struct conduct {
	unsigned errors, refusals, idle;
};

/* Each: false where that was enough. */

bool conduct_refused(struct conduct *conduct, const struct reply *reply,
		     bool is_stranger);
/* What was pipelined behind a command that was refused, before its sender could
 * know: a refusal, whatever the reply. */
bool conduct_refused_behind(struct conduct *conduct, bool is_stranger);
bool conduct_idled(struct conduct *conduct, bool is_stranger);

/* A word of HTTP. A browser may have been talked into speaking to us: what it
 * posts must not be taken for commands. */
bool conduct_is_foreign(struct slice verb);

#endif
