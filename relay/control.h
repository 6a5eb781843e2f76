/*
 * control - the socket through which commands ask a running relay.
 *
 * "control" in the state directory, for the relay's user and root (0600). A
 * client sends one line, a request (control_request.h), and gets an answer and
 * the end:
 *
 *	ok                    or "error KIND REASON", and nothing else
 *	NAME VALUE            a head, any number of lines
 *	                      an empty line
 *	BODY                  to the end
 *
 * The head of `list` and of what alters the queue has "more CURSOR" where there
 * is more to ask for, "damaged ID: REASON" for each record that cannot be read,
 * and how many messages were "altered", left alone because they are "busy",
 * "unfit" (retry of what is held, release of what is not), not written
 * ("failed") or "lost" (cannot be read).
 *
 * Bounds      CONTROL_CLIENTS_MAX at once, further ones are closed unheard; a
 *             line of CONTROL_LINE_MAX; STORE_PAGE_MAX deliveries for each
 *             request; CONTROL_TIMEOUT_MS to ask, and once more to take the
 *             answer, however slowly a client sends or reads.
 * Thread      The main loop's; nothing here waits. What is read is read, and
 *             made into text, on the store's reader threads.
 */
#ifndef RELAY_CONTROL_H
#define RELAY_CONTROL_H

#include "relay/delivery/destination.h"
#include "relay/server/server.h"

#define CONTROL_SOCKET "control"

struct control;

/* What is asked about; all of it outlives the control. */
struct control_parts {
	struct loop *main_loop;
	struct loop *loops;
	size_t loops_count;
	struct store *store;
	struct schedule *schedule;
	struct server *server;
	struct delivery_service *delivery;
};

/* The store's lock is ours, so whatever stands at the name is a dead relay's
 * and is replaced. */
bool control_new(const struct control_parts *parts,
		 struct control **control_out, struct fault *fault) MUST_USE;
/* No more clients, and those that are there go; on the main loop, which ends
 * only when all are gone. Frees. */
void control_close(struct control *control);

#endif
