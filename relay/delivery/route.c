#include "relay/delivery/route.h"

#include "relay/routing.h"

static bool
hops_read(const struct slice *via, size_t count, struct route *route,
	  struct fault *fault)
{
	ASSERT(count <= NEXT_HOPS_MAX);
	for (size_t i = 0; i < count; i++)
		if (!address_split(via[i], route->port, &route->hops[i].host,
				   &route->hops[i].port))
			return fault_set(fault, FAULT_INPUT,
					 "'%.*s' is not host:port",
					 SLICE_ARG(via[i]));
	route->hops_count = count;
	route->is_direct = count == 0;
	return true;
}

/* Each by itself: a route may give only the name. */
static struct source_options
source_choose(const struct options *options, const struct route_options *chosen)
{
	struct source_options source = options->delivery.source;

	if (chosen != NULL && chosen->source.bind_count > 0) {
		source.bind = chosen->source.bind;
		source.bind_count = chosen->source.bind_count;
	}
	if (chosen != NULL && chosen->source.helo.len > 0)
		source.helo = chosen->source.helo;
	if (source.helo.len == 0)
		source.helo = options->hostname;
	return source;
}

bool
route_find(const struct options *options, struct slice destination,
	   struct route *route_out, struct fault *fault)
{
	const struct route_options *chosen;
	const struct delivery_options *delivery = &options->delivery;
	const struct login_options *login = &delivery->login;
	struct route route = {
		.domain = routing_domain(destination),
		.tls = delivery->tls,
		.tls_terms = delivery->tls_terms,
		.implicit_tls = delivery->implicit_tls,
		.max_rate = delivery->max_rate,
		.port = delivery->port,
	};

	if (!routing_at(options, destination, &chosen))
		return fault_set(fault, FAULT_ABSENT,
				 "the route of '%.*s' is no more",
				 SLICE_ARG(destination));
	if (chosen != NULL) {
		login = &chosen->login;
		route.tls = chosen->tls;
		route.tls_terms = chosen->tls_terms;
		route.sign = chosen->sign;
		route.implicit_tls = chosen->implicit_tls;
		route.max_rate = chosen->max_rate;
		route.login = 1 + (size_t)(chosen - options->routes);
	}
	route.source = source_choose(options, chosen);
	if (route.tls == TLS_OPPORTUNISTIC &&
	    (route.implicit_tls || (login->user.len > 0 && !login->without_tls)))
		route.tls = TLS_REQUIRED;
	if (!hops_read(chosen != NULL ? chosen->via : delivery->smarthost,
		       chosen != NULL ? chosen->via_count
				      : delivery->smarthost_count,
		       &route, fault))
		return false;
	*route_out = route;
	return true;
}
