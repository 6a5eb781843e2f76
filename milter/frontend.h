/*
 * frontend - libmilter: its callbacks, its threads, its listening socket. The
 * only file that knows it.
 *
 * libmilter opens its listening socket itself. Ours is bound by somebody who
 * may, outlives a process, and changes with a reload. So libmilter opens a
 * socket of its own at a place that nobody knows, of the same address family,
 * and ours is put in its place.
 *
 * libmilter takes SIGHUP, SIGTERM and SIGINT for a stop. The process ignores
 * them; frontend_start() needs a thread that does not block them.
 *
 * Bounds      service.connections_max; a further connection is closed as soon
 *             as it says a word. How long one may be silent is milter/sessions.h.
 * Thread      Every function of the service is called from libmilter's threads
 *             (milter/sessions.h), any number at a time; one connection's in
 *             order. libmilter's own pool (without milter/sessions.c) may leave
 *             what an MTA says to a thread that is on its way to wait for the
 *             DNS: that message then waits for two timeouts instead of one.
 */
#ifndef MILTER_FRONTEND_H
#define MILTER_FRONTEND_H

#include <sys/socket.h>

#include "base/fault.h"
#include "milter/mail.h"

/* One generation of what is configured; immutable. */
struct frontend_rules {
	struct mail_rules mail;
	unsigned connections_max;
};

/* What the process does for it. */
struct frontend_service {
	void *owner;
	/* A reference on what is in force now, to be given back. */
	const struct frontend_rules *(*rules_ref)(void *owner);
	void (*rules_unref)(const struct frontend_rules *rules);
	/* Whether sign_from holds the client; NULL: it has no address. */
	bool (*is_listed)(const struct frontend_rules *rules,
			  const struct sockaddr *client);
	mail_sign_fn *sign;
	/* libmilter has ended, unasked: there is no milter any more. */
	void (*ended)(void *owner);
};

/* Once in a process. The listening socket stays the caller's. */
bool frontend_start(const struct frontend_service *service, int listening,
		    struct fault *fault) MUST_USE;
/* Another listening socket, of the same address family; or the same one, after
 * frontend_close(). */
void frontend_listen(int listening);
/* No connection is accepted any more; those that are there go on. */
void frontend_close(void);
/* Whether no message is between MAIL and the answer to its end, which has been
 * sent. If so, none begins any more: the process may end. */
bool frontend_is_quiet(void);

#endif
