/*
 * reach - whether mail may and can go to an address that the DNS or a recipient
 * named: not where no host can be, not where delivery.refuse_addresses forbids,
 * not over an IPv6 that this machine does not have.
 */
#ifndef RELAY_DELIVERY_REACH_H
#define RELAY_DELIVERY_REACH_H

#include "relay/options.h"

enum reach {
	REACH_GOOD,
	REACH_NOWHERE,  /* 0.0.0.0, ::, multicast, link-local, … */
	REACH_REFUSED,  /* by delivery.refuse_addresses */
	REACH_NO_ROUTE, /* IPv6, which this machine has not now */
	REACH_IPV6_OFF, /* IPv6, which delivery.ipv6 forbids */
};

/* is_configured: our own configuration names it, and is believed. */
enum reach reach_check(const struct options *options,
		       const struct address *address, bool is_configured);

#endif
