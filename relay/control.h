/*
 * control - the socket through which commands ask a running relay.
 *
 * "control" in the state directory, for the relay's user and root (0600). A
 * client sends one line, a request, and gets "ok" or "error REASON" as the
 * first line, what it asked for behind that, and the end. Requests:
 *
 *	status text    status json
 *
 * Bounds      CONTROL_CLIENTS_MAX at once, further ones are closed unheard; a
 *             line of CONTROL_LINE_MAX; CONTROL_TIMEOUT_MS for all of it,
 *             however slowly a client sends or reads.
 * Thread      The main loop's; nothing here waits.
 */
#ifndef RELAY_CONTROL_H
#define RELAY_CONTROL_H

#include "relay/queue/schedule.h"

#define CONTROL_SOCKET "control"

struct control;

/* The store's lock is ours, so whatever stands at the name is a dead relay's
 * and is replaced. */
bool control_new(struct loop *main_loop, struct store *store,
		 struct schedule *schedule, struct control **control_out,
		 struct fault *fault) MUST_USE;
/* No more clients, and those that are there go; on the main loop, which ends
 * only when all are gone. Frees. */
void control_close(struct control *control);

#endif
