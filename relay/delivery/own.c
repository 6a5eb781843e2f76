#include "relay/delivery/own.h"

void
own_init(struct own *own, const struct options *options)
{
	*own = (struct own){.options = options};
}

void
own_done(struct own *own)
{
	if (own->interfaces != NULL)
		uv_free_interface_addresses(own->interfaces,
					    own->interfaces_count);
}

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

static bool
interface_has(const uv_interface_address_t *interface,
	      const struct address *address)
{
	int family = interface->address.address4.sin_family;

	if (family != address->any.sa_family)
		return false;
	if (family == AF_INET)
		return interface->address.address4.sin_addr.s_addr ==
		       address->v4.sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&interface->address.address6.sin6_addr,
				  &address->v6.sin6_addr);
}

static bool
machine_has(struct own *own, const struct address *address)
{
	if (is_loopback(address))
		return true;
	if (!own->is_loaded &&
	    uv_interface_addresses(&own->interfaces,
				   &own->interfaces_count) != 0)
		own->interfaces = NULL;
	own->is_loaded = true;
	for (int i = 0; own->interfaces != NULL && i < own->interfaces_count;
	     i++)
		if (interface_has(&own->interfaces[i], address))
			return true;
	return false;
}

/* "*:25", "[::]:25", "0.0.0.0:25" */
static bool
listens_everywhere(const struct listener_options *listener)
{
	const struct address *address = &listener->address;

	if (address->any.sa_family == AF_INET)
		return address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

bool
own_is_address(struct own *own, const struct address *address)
{
	for (size_t i = 0; i < own->options->listeners_count; i++) {
		const struct listener_options *listener =
			&own->options->listeners[i];

		if (listener->address.any.sa_family == AF_UNIX ||
		    address_port(&listener->address) != address_port(address))
			continue;
		if (address_eq(&listener->address, address) ||
		    (listens_everywhere(listener) && machine_has(own, address)))
			return true;
	}
	return false;
}
