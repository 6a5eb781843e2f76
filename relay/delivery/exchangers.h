/*
 * exchangers - the hosts that a domain's MX records name, in the order in which
 * they are to be tried. RFC 5321 5.1. Does no I/O.
 *
 * The lowest preference first, shuffled where equal. A host that is named twice
 * counts once, at its best. What names no host ("localhost") is left out, and so
 * is the root, which alone is a null MX (RFC 7505). "192.0.2.1" should not be
 * there, but what it means is plain, and others deliver there.
 */
#ifndef RELAY_DELIVERY_EXCHANGERS_H
#define RELAY_DELIVERY_EXCHANGERS_H

#include "relay/limits.h"
#include "relay/net/dns.h"

struct exchanger {
	struct slice name;
	unsigned preference;
};

struct exchangers {
	struct exchanger items[MX_HOSTS_MAX];
	size_t count;
	size_t left_over;      /* worse ones, for which there was no room */
	bool is_null;          /* the domain accepts no mail */
	struct slice no_host;  /* a name that no host has; "" where all do */
};

/* The names are the records'. */
void exchangers_take(struct exchangers *exchangers,
		     const struct dns_record *records, size_t count);

#endif
