/*
 * server - the SMTP server: what the process's start and stop know of it.
 */
#ifndef RELAY_SERVER_SERVER_H
#define RELAY_SERVER_SERVER_H

#include "relay/generation.h"
#include "relay/net/loop.h"
#include "relay/queue/schedule.h"

struct server;

/* descriptors[i] is the listening socket of generation->options->listeners[i].
 * The first loop accepts, and deals sessions to the loops with the fewest. */
bool server_new(struct loop *main_loop, struct loop *loops, size_t loops_count,
		struct store *store, struct schedule *schedule,
		struct server **server_out, struct fault *fault) MUST_USE;
/* On the main loop, before server_stop(): takes the listening sockets of a
 * generation; the ones of the generation before are closed, soon. */
void server_listen(struct server *server, struct generation *generation,
		   const int *descriptors);
/* On the main loop: closes the listeners, 421 to who sends no message now; lets
 * messages that are coming do so until grace_ms is over. One that is all there
 * is answered, however long that takes. `stopped` is called on the main loop. */
void server_stop(struct server *server, uint64_t grace_ms,
		 void (*stopped)(void *owner), void *owner);
/* Any thread. */
struct server_counters {
	uint64_t sessions; /* now */
	uint64_t rejected; /* messages and recipients, since the start */
};
void server_count(const struct server *server, struct server_counters *out);
void server_free(struct server *server); /* after the loops have ended */

#endif
