/*
 * route - which next hop a destination has, and how to talk to it. Pure.
 *
 * Which of the configured routes it is, relay/routing.h says; without one it is
 * the smarthost, and without that the MX of the domain on delivery.port.
 */
#ifndef RELAY_DELIVERY_ROUTE_H
#define RELAY_DELIVERY_ROUTE_H

#include "relay/limits.h"
#include "relay/options.h"

struct next_hop {
	struct slice host; /* a name (A and AAAA, never MX) or an address;
			      belongs to the options */
	uint16_t port;
};

struct route {
	struct slice domain; /* of the recipients; the destination's */
	bool is_direct;      /* to the MX of the domain */
	struct next_hop hops[NEXT_HOPS_MAX]; /* else: in order */
	size_t hops_count;
	uint16_t port;       /* of MX hosts */
	enum tls_policy tls; /* never opportunistic where a password must
				not travel in clear */
	struct tls_terms tls_terms; /* its names belong to the options */
	bool implicit_tls;   /* TLS from the start */
	enum route_sign sign;
	struct source_options source; /* helo: never empty */
	uint64_t max_rate;   /* messages a minute; 0: as they come */
	size_t login;        /* which of the generation's: relay/login.h */
};

/* False: `via` is not host:port, or (ABSENT) the destination's route is no
 * more: then no delivery belongs to it. */
bool route_find(const struct options *options, struct slice destination,
		struct route *route_out, struct fault *fault) MUST_USE;

#endif
