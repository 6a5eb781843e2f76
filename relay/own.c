#include "relay/own.h"

#include <sys/socket.h>
#include <unistd.h>

bool
own_is_name(const struct options *options, struct slice name, uint16_t port)
{
	if (!slice_eq_nocase(name, options->hostname))
		return false;
	for (size_t i = 0; i < options->listeners_count; i++)
		if (address_port(&options->listeners[i].address) == port)
			return true;
	return false;
}

static bool
is_loopback(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
	return address->any.sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

/* What the kernel would send from: to an address of its own it sends from that
 * same address. Nothing is sent. To list all addresses would take a netlink
 * socket, which services are not often let have. */
static bool
is_sent_here(const struct address *address)
{
	CLEAN(clean_descriptor)
	int probe = socket(address->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC,
			   0);
	struct address from = {0};
	socklen_t len = sizeof(from.v6);

	if (probe < 0 || connect(probe, &address->any, address->len) < 0 ||
	    getsockname(probe, &from.any, &len) < 0)
		return false;
	from.len = len;
	address_set_port(&from, address_port(address));
	return address_eq(&from, address);
}

/* "*:25"; "[::]:25" and "0.0.0.0:25" of their own family only. */
static bool
listens_everywhere(const struct listener_options *listener,
		   const struct address *hop)
{
	const struct address *address = &listener->address;

	if (!listener->is_any && address->any.sa_family != hop->any.sa_family)
		return false;
	if (address->any.sa_family == AF_INET)
		return address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

bool
own_is_address(const struct options *options, const struct address *address)
{
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];

		if (listener->address.any.sa_family == AF_UNIX ||
		    address_port(&listener->address) != address_port(address))
			continue;
		if (address_eq(&listener->address, address) ||
		    (listens_everywhere(listener, address) &&
		     (is_loopback(address) || is_sent_here(address))))
			return true;
	}
	return false;
}
