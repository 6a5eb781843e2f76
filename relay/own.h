/*
 * own - whether a host that mail may go to is this relay itself: by its name,
 * or by an address and port that one of our listeners has. RFC 5321 5.1.
 *
 * The port counts: another server of this machine is somebody else.
 */
#ifndef RELAY_OWN_H
#define RELAY_OWN_H

#include "relay/options.h"

bool own_is_name(const struct options *options, struct slice name,
		 uint16_t port);
bool own_is_address(const struct options *options,
		    const struct address *address);

#endif
