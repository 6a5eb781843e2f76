/*
 * route - which next hop a destination has. Pure.
 *
 * Of the configured routes the closest pattern wins: the name itself, then the
 * longest "*.example.net", then "*". Without one it is the smarthost; without
 * that, the destination's MX on delivery.port.
 */
#ifndef RELAY_DELIVERY_ROUTE_H
#define RELAY_DELIVERY_ROUTE_H

#include "relay/options.h"

struct route {
	bool is_direct;      /* to the MX of the destination */
	struct slice host;   /* else: a name (A and AAAA, never MX) or an
				address; belongs to the options */
	uint16_t port;
	enum tls_policy tls; /* never opportunistic where a password must
				not travel in clear */
	struct tls_terms tls_terms; /* its names belong to the options */
	bool implicit_tls;   /* TLS from the start */
	size_t login;        /* which of the generation's: relay/login.h */
};

/* False: `via` is not host:port. */
bool route_find(const struct options *options, struct slice destination,
		struct route *route_out, struct fault *fault) MUST_USE;

#endif
