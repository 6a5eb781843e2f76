/*
 * parting - a conversation that nobody needs any more, and its place at the
 * site: a host that allows one connection counts this one until it is closed,
 * and so do we. Whoever has another conversation in the same place waits for
 * that.
 *
 * Thread      The loop's of the client.
 */
#ifndef RELAY_DELIVERY_PARTING_H
#define RELAY_DELIVERY_PARTING_H

#include "relay/delivery/client.h"
#include "relay/delivery/site.h"

/* The client is about to quit, or has just ended: clears the place, which is
 * given back once its connection is closed. That takes as long as the peer
 * takes for QUIT and for its own end of the connection, within bounds. */
void parting_keep(struct client *client, struct site_place *place);

/* The same, but the place stays the owner's: closed() comes then. */
struct parting *parting_await(struct client *client, void (*closed)(void *owner),
			      void *owner);
/* The owner waits no more, and the place is as with parting_keep(). */
void parting_take_over(struct parting *parting, struct site_place *place);

#endif
