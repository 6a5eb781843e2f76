#include "relay/net/address.h"

#include <arpa/inet.h>
#include <stdio.h>

#define UNIX_PREFIX "unix:"

/* inet_pton() wants a NUL behind the text, and would stop at one inside. */
static bool
text_to_bytes(int family, struct slice text, void *bytes_out)
{
	char copy[INET6_ADDRSTRLEN];

	if (text.len == 0 || text.len >= sizeof(copy) ||
	    slice_find(text, '\0') >= 0)
		return false;
	memcpy(copy, text.bytes, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, bytes_out) == 1;
}

static bool
parse_v4(struct slice text, uint16_t port, struct address *address_out)
{
	struct address address = {.len = sizeof(struct sockaddr_in)};

	address.v4.sin_family = AF_INET;
	address.v4.sin_port = htons(port);
	if (!text_to_bytes(AF_INET, text, &address.v4.sin_addr))
		return false;
	*address_out = address;
	return true;
}

static bool
parse_v6(struct slice text, uint16_t port, struct address *address_out)
{
	struct address address = {.len = sizeof(struct sockaddr_in6)};

	address.v6.sin6_family = AF_INET6;
	address.v6.sin6_port = htons(port);
	if (!text_to_bytes(AF_INET6, text, &address.v6.sin6_addr))
		return false;
	*address_out = address;
	return true;
}

bool
address_parse_host(struct slice text, uint16_t port,
		   struct address *address_out)
{
	static const char tag[] = "IPv6:";

	if (text.len >= 2 && text.bytes[0] == '[' &&
	    text.bytes[text.len - 1] == ']') {
		text = slice_sub(text, 1, text.len - 2);
		/* RFC 5321 4.1.3 */
		if (slice_starts_nocase(text, SLICE(tag)))
			return parse_v6(slice_from(text, sizeof(tag) - 1),
					port, address_out);
	}
	return parse_v4(text, port, address_out) ||
	       parse_v6(text, port, address_out);
}

static bool
parse_port(struct slice text, uint16_t *port_out)
{
	uint64_t port;

	if (text.len > 5 || !slice_number(text, &port) || port == 0 ||
	    port > UINT16_MAX)
		return false;
	*port_out = (uint16_t)port;
	return true;
}

/* Cuts "[host]" or "[host]:port". */
static bool
split_brackets(struct slice text, struct slice *host_out,
	       struct slice *port_out)
{
	ptrdiff_t end = slice_find(text, ']');
	struct slice rest;

	if (end < 2)
		return false;
	rest = slice_from(text, (size_t)end + 1);
	if (rest.len > 0 && rest.bytes[0] != ':')
		return false;
	*host_out = slice_sub(text, 1, (size_t)end - 1);
	*port_out = rest;
	return true;
}

bool
address_split(struct slice text, uint16_t default_port, struct slice *host_out,
	      uint16_t *port_out)
{
	struct slice host = text, rest = SLICE_NONE;
	ptrdiff_t colon = slice_find(text, ':');
	uint16_t port = default_port;

	if (text.len > 0 && text.bytes[0] == '[') {
		if (!split_brackets(text, &host, &rest))
			return false;
	} else if (colon >= 0 && colon == slice_find_last(text, ':')) {
		host = slice_sub(text, 0, (size_t)colon);
		rest = slice_from(text, (size_t)colon);
	}
	/* Else more than one colon: an IPv6 address that has no port. */
	if (host.len == 0)
		return false;
	if (rest.len > 0 && !parse_port(slice_from(rest, 1), &port))
		return false;
	if (port == 0)
		return false;
	*host_out = host;
	*port_out = port;
	return true;
}

static bool
parse_unix(struct slice path, struct address *address_out, struct fault *fault)
{
	struct address address = {.len = 0};

	if (path.len == 0 || path.bytes[0] != '/')
		return fault_set(fault, FAULT_INPUT,
				 "'unix:' needs an absolute path");
	if (slice_find(path, '\0') >= 0)
		return fault_set(fault, FAULT_INPUT, "a NUL in a path");
	if (path.len >= sizeof(address.local.sun_path))
		return fault_set(fault, FAULT_INPUT,
				 "the path of a socket has at most %zu bytes",
				 sizeof(address.local.sun_path) - 1);
	address.local.sun_family = AF_UNIX;
	memcpy(address.local.sun_path, path.bytes, path.len);
	address.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				  path.len + 1);
	*address_out = address;
	return true;
}

bool
address_parse(struct slice text, uint16_t default_port,
	      struct address *address_out, struct fault *fault)
{
	struct slice host;
	uint16_t port;

	if (slice_starts(text, SLICE(UNIX_PREFIX)))
		return parse_unix(slice_from(text, sizeof(UNIX_PREFIX) - 1),
				  address_out, fault);
	if (!address_split(text, default_port, &host, &port))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is not ADDRESS:PORT (as in "
				 "\"127.0.0.1:25\", \"[::1]:25\", \"*:25\")",
				 SLICE_ARG(text));
	if (slice_eq(host, SLICE("*")))
		host = SLICE("::");
	if (!address_parse_host(host, port, address_out))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is not an IP address",
				 SLICE_ARG(host));
	return true;
}

uint16_t
address_port(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return ntohs(address->v4.sin_port);
	if (address->any.sa_family == AF_INET6)
		return ntohs(address->v6.sin6_port);
	return 0;
}

void
address_set_port(struct address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET)
		address->v4.sin_port = htons(port);
	else if (address->any.sa_family == AF_INET6)
		address->v6.sin6_port = htons(port);
}

void
address_unmap(struct address *address)
{
	struct address plain = {.len = sizeof(struct sockaddr_in)};

	if (address->any.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
		return;
	plain.v4.sin_family = AF_INET;
	plain.v4.sin_port = address->v6.sin6_port;
	memcpy(&plain.v4.sin_addr, &address->v6.sin6_addr.s6_addr[12], 4);
	*address = plain;
}

static struct slice
local_path(const struct address *address)
{
	size_t room = sizeof(address->local.sun_path), head;

	head = offsetof(struct sockaddr_un, sun_path);
	if (address->len <= head)
		return SLICE_NONE;
	if (address->len - head < room)
		room = address->len - head;
	return slice_of(address->local.sun_path,
			strnlen(address->local.sun_path, room));
}

bool
address_eq(const struct address *a, const struct address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	if (a->any.sa_family == AF_INET6)
		return a->v6.sin6_port == b->v6.sin6_port &&
		       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
	return slice_eq(local_path(a), local_path(b));
}

static void
write_ip(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
	const void *bytes = address->any.sa_family == AF_INET
				    ? (const void *)&address->v4.sin_addr
				    : (const void *)&address->v6.sin6_addr;

	ASSERT(inet_ntop(address->any.sa_family, bytes, out,
			 ADDRESS_TEXT_SIZE) != NULL);
}

static void
write_local(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
	struct slice path = SLICE_NONE;

	if (address->any.sa_family == AF_UNIX)
		path = local_path(address);
	else if (address->any.sa_family == AF_UNSPEC) {
		snprintf(out, ADDRESS_TEXT_SIZE, "unknown");
		return;
	}
	snprintf(out, ADDRESS_TEXT_SIZE, UNIX_PREFIX "%.*s", SLICE_ARG(path));
}

static bool
is_ip(const struct address *address)
{
	return address->any.sa_family == AF_INET ||
	       address->any.sa_family == AF_INET6;
}

void
address_write_host(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
	if (is_ip(address))
		write_ip(address, out);
	else
		write_local(address, out);
}

void
address_write(const struct address *address, char out[ADDRESS_TEXT_SIZE])
{
	char host[ADDRESS_TEXT_SIZE];
	bool is_v6 = address->any.sa_family == AF_INET6;

	if (!is_ip(address)) {
		write_local(address, out);
		return;
	}
	write_ip(address, host);
	snprintf(out, ADDRESS_TEXT_SIZE, is_v6 ? "[%.100s]:%u" : "%.100s:%u",
		 host, address_port(address));
}

void
address_write_literal(const struct address *address,
		      char out[ADDRESS_TEXT_SIZE])
{
	char host[ADDRESS_TEXT_SIZE];
	bool is_v6 = address->any.sa_family == AF_INET6;

	if (!is_ip(address)) {
		/* RFC 5321 knows no literal for a local socket. */
		snprintf(out, ADDRESS_TEXT_SIZE, "[127.0.0.1]");
		return;
	}
	write_ip(address, host);
	snprintf(out, ADDRESS_TEXT_SIZE, is_v6 ? "[IPv6:%.100s]" : "[%.100s]",
		 host);
}

static bool
bits_are_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	unsigned mask = 0xffu & (0xff00u >> rest);

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

static bool
has_host_bits(const struct network *network)
{
	unsigned bits = network->is_v6 ? 128 : 32;

	for (unsigned i = network->prefix_len; i < bits; i++)
		if ((network->bytes[i / 8] & (0x80u >> (i % 8))) != 0)
			return true;
	return false;
}

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0,    0,
					  0, 0, 0, 0, 0xff, 0xff};

/* "::ffff:192.0.2.0/120" is 192.0.2.0/24 in other words. */
static void
network_unmap(struct network *network)
{
	if (!network->is_v6 || network->prefix_len < 96 ||
	    memcmp(network->bytes, mapped_prefix, sizeof(mapped_prefix)) != 0)
		return;
	memmove(network->bytes, network->bytes + 12, 4);
	memset(network->bytes + 4, 0, 12);
	network->is_v6 = false;
	network->prefix_len -= 96;
}

bool
network_parse(struct slice text, struct network *network_out,
	      struct fault *fault)
{
	struct network network = {0};
	ptrdiff_t slash = slice_find(text, '/');
	struct slice host = text;
	uint64_t prefix_len;

	if (slash >= 0)
		host = slice_sub(text, 0, (size_t)slash);
	if (!text_to_bytes(AF_INET, host, network.bytes)) {
		network.is_v6 = true;
		if (!text_to_bytes(AF_INET6, host, network.bytes))
			return fault_set(fault, FAULT_INPUT,
					 "'%.*s' is not a network (as in "
					 "\"192.0.2.0/24\" or "
					 "\"2001:db8::/32\")",
					 SLICE_ARG(text));
	}
	network.prefix_len = network.is_v6 ? 128 : 32;
	if (slash >= 0) {
		struct slice bits = slice_from(text, (size_t)slash + 1);

		if (!slice_number(bits, &prefix_len) ||
		    prefix_len > network.prefix_len)
			return fault_set(fault, FAULT_INPUT,
					 "'%.*s': the prefix is a number up "
					 "to %u", SLICE_ARG(text),
					 network.prefix_len);
		network.prefix_len = (unsigned)prefix_len;
	}
	if (has_host_bits(&network))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' has bits set behind its prefix",
				 SLICE_ARG(text));
	network_unmap(&network);
	*network_out = network;
	return true;
}

bool
network_contains(const struct network *network, const struct address *address)
{
	struct address plain = *address;

	address_unmap(&plain);
	if (plain.any.sa_family == AF_INET)
		return !network->is_v6 &&
		       bits_are_equal(network->bytes,
				      (const uint8_t *)&plain.v4.sin_addr,
				      network->prefix_len);
	if (plain.any.sa_family == AF_INET6)
		return network->is_v6 &&
		       bits_are_equal(network->bytes,
				      plain.v6.sin6_addr.s6_addr,
				      network->prefix_len);
	return false;
}

static bool
networks_hold(const struct network *networks, size_t count,
	      const struct address *address)
{
	const struct network *closest = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct network *network = &networks[i];

		if (!network_contains(network, address))
			continue;
		if (closest == NULL ||
		    network->prefix_len > closest->prefix_len ||
		    (network->prefix_len == closest->prefix_len &&
		     network->is_exception))
			closest = network;
	}
	return closest != NULL && !closest->is_exception;
}

bool
networks_contain(const struct network *networks, size_t count,
		 const struct address *address)
{
	struct address loopback[2] = {0};
	size_t loopbacks = COUNT(loopback);

	if (address->any.sa_family == AF_UNIX) {
		ASSERT(address_parse_host(SLICE("127.0.0.1"), 0, &loopback[0]));
		ASSERT(address_parse_host(SLICE("::1"), 0, &loopback[1]));
	} else {
		loopback[0] = *address;
		loopbacks = 1;
	}
	for (size_t j = 0; j < loopbacks; j++)
		if (networks_hold(networks, count, &loopback[j]))
			return true;
	return false;
}

bool
address_is_private(const struct address *address)
{
	static const struct network networks[] = {
		{.bytes = {10}, .prefix_len = 8},
		{.bytes = {172, 16}, .prefix_len = 12},
		{.bytes = {192, 168}, .prefix_len = 16},
		{.bytes = {100, 64}, .prefix_len = 10},
		{.bytes = {169, 254}, .prefix_len = 16},
		{.bytes = {127}, .prefix_len = 8},
		{.bytes = {0xfc}, .is_v6 = true, .prefix_len = 7},
		{.bytes = {0xfe, 0x80}, .is_v6 = true, .prefix_len = 10},
		{.bytes = {[15] = 1}, .is_v6 = true, .prefix_len = 128},
	};

	return networks_contain(networks, COUNT(networks), address);
}
