/*
 * acceptor - listening sockets on a loop; hands out what they accept.
 *
 * Errors      Out of descriptors: one held in reserve is given up for a moment,
 *             so that the client can be told and sent away instead of waiting
 *             in the kernel's queue with the loop spinning. Where even that
 *             fails, accepting rests for ACCEPT_REST_MS.
 * Thread      The loop's only.
 */
#ifndef RELAY_SERVER_ACCEPTOR_H
#define RELAY_SERVER_ACCEPTOR_H

#include "relay/net/loop.h"

/* Connections taken from one socket in one turn of the loop. */
#define ACCEPTS_MAX 64
#define ACCEPT_REST_MS (1 * SECOND)

struct acceptor;

/* Takes the socket. */
typedef void acceptor_fn(void *owner, int descriptor,
			 struct generation *generation, size_t listener);

/* Listens on every socket of the generation, which it takes, and holds a
 * reference of it. */
struct acceptor *acceptor_open(struct loop *loop, struct generation *generation,
			       const int *descriptors, acceptor_fn *accepted,
			       void *owner);
void acceptor_close(struct acceptor **acceptor);
/* Tells an accepted client "421 4.7.0" (unless TLS comes first) and closes. */
void acceptor_refuse(int descriptor, const struct generation *generation,
		     size_t listener);

#endif
