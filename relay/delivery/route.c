#include "relay/delivery/route.h"

/* How close a pattern is: 0 not at all, else the longer the closer. */
static size_t
pattern_match(struct slice pattern, struct slice destination)
{
	struct slice suffix;

	if (slice_eq_nocase(pattern, destination))
		return SIZE_MAX;
	if (slice_eq(pattern, SLICE("*")))
		return 1;
	if (!slice_starts(pattern, SLICE("*.")))
		return 0;
	suffix = slice_from(pattern, 1);
	if (destination.len <= suffix.len ||
	    !slice_ends_nocase(destination, suffix))
		return 0;
	return pattern.len;
}

static const struct route_options *
route_closest(const struct options *options, struct slice destination)
{
	const struct route_options *closest = NULL;
	size_t best = 0;

	for (size_t i = 0; i < options->routes_count; i++) {
		size_t match = pattern_match(options->routes[i].pattern,
					     destination);

		if (match > best) {
			best = match;
			closest = &options->routes[i];
		}
	}
	return closest;
}

bool
route_find(const struct options *options, struct slice destination,
	   struct route *route_out, struct fault *fault)
{
	const struct route_options *closest =
		route_closest(options, destination);
	const struct delivery_options *delivery = &options->delivery;
	const struct login_options *login =
		closest != NULL ? &closest->login : &delivery->login;
	struct slice via = closest != NULL ? closest->via : delivery->smarthost;
	struct route route = {
		.tls = closest != NULL ? closest->tls : delivery->tls,
		.tls_terms = closest != NULL ? closest->tls_terms
					     : delivery->tls_terms,
		.implicit_tls = closest != NULL ? closest->implicit_tls
						: delivery->implicit_tls,
		.port = delivery->port,
		.login = closest != NULL
				 ? 1 + (size_t)(closest - options->routes)
				 : 0,
	};

	if (route.tls == TLS_OPPORTUNISTIC &&
	    (route.implicit_tls || (login->user.len > 0 && !login->without_tls)))
		route.tls = TLS_REQUIRED;
	if (via.len == 0)
		route.is_direct = true;
	else if (!address_split(via, options->delivery.port, &route.host,
				&route.port))
		return fault_set(fault, FAULT_INPUT, "'%.*s' is not host:port",
				 SLICE_ARG(via));
	*route_out = route;
	return true;
}
