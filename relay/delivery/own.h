/*
 * own - whether a host that mail may go to is this relay itself: by its name,
 * or by an address and port that one of our listeners has. RFC 5321 5.1.
 *
 * The port counts: another server of this machine is somebody else.
 */
#ifndef RELAY_DELIVERY_OWN_H
#define RELAY_DELIVERY_OWN_H

#include <uv.h>

#include "relay/options.h"

/* Asks for the machine's addresses once, when the first listener on "*" needs
 * them. */
struct own {
	const struct options *options;
	/* its own */
	uv_interface_address_t *interfaces;
	int interfaces_count;
	bool is_loaded;
};
void own_init(struct own *own, const struct options *options);
void own_done(struct own *own);

bool own_is_name(const struct options *options, struct slice name,
		 uint16_t port);
bool own_is_address(struct own *own, const struct address *address);

#endif
