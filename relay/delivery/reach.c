#include "relay/delivery/reach.h"

#include "relay/net/source.h"

/* 0.0.0.0 and :: are no addresses of a host, and lead to this machine where
 * somebody connects to them all the same. RFC 6890. */
static bool
is_nowhere(const struct address *address)
{
	const struct in6_addr *v6 = &address->v6.sin6_addr;
	uint32_t v4;

	if (address->any.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(v6) ||
		       IN6_IS_ADDR_MULTICAST(v6) || IN6_IS_ADDR_LINKLOCAL(v6);
	v4 = ntohl(address->v4.sin_addr.s_addr);
	/* 0/8, 169.254/16, and from 224/4 on. */
	return v4 >> 24 == 0 || v4 >> 16 == 0xa9fe || v4 >> 28 >= 0xe;
}

/* Unique local addresses: RFC 4193. */
static bool
is_local_v6(const struct address *address)
{
	return (address->v6.sin6_addr.s6_addr[0] & 0xfe) == 0xfc;
}

/* To nobody (RFC 5737), where only the way to everybody leads. */
static bool
has_v4_way(void)
{
	struct address nobody, source;

	return address_parse_host(SLICE("192.0.2.1"), 0, &nobody) &&
	       source_find(&nobody, &source);
}

/* A route alone is not enough: from a unique local address nobody comes back
 * from the Internet. Where there is nothing else, somebody translates it: the
 * network of a container, or of pods, that has IPv6 only. */
static bool
has_way(const struct address *address)
{
	struct address source;

	if (!source_find(address, &source))
		return false;
	return !is_local_v6(&source) || is_local_v6(address) || !has_v4_way();
}

enum reach
reach_check(const struct options *options, const struct address *address,
	    bool is_configured)
{
	const struct delivery_options *delivery = &options->delivery;

	if (!is_configured && is_nowhere(address))
		return REACH_NOWHERE;
	if (!is_configured &&
	    networks_contain(delivery->refuse_addresses,
			     delivery->refuse_addresses_count, address))
		return REACH_REFUSED;
	if (address->any.sa_family != AF_INET6)
		return REACH_GOOD;
	switch (delivery->ipv6) {
	case IPV6_OFF:
		return REACH_IPV6_OFF;
	case IPV6_AUTO:
		return has_way(address) ? REACH_GOOD : REACH_NO_ROUTE;
	case IPV6_PREFER:
		break;
	}
	return REACH_GOOD;
}
