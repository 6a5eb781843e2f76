/*
 * parting - a conversation that nobody needs any more, and its place at the
 * site: a host that allows one connection counts this one until it is closed,
 * and so do we.
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

#endif
