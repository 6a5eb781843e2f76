/*
 * source - the address from which this machine would speak to another, as its
 * routes have it now. Asks the kernel; nothing is sent, nothing waits.
 */
#ifndef RELAY_NET_SOURCE_H
#define RELAY_NET_SOURCE_H

#include "relay/net/address.h"

/* False: there is no way to the peer, or no address of its family. */
bool source_find(const struct address *peer, struct address *source_out)
	MUST_USE;

#endif
