/*
 * address - network addresses, networks and "host:port" as text and as
 * sockaddr. Pure: no I/O.
 */
#ifndef RELAY_NET_ADDRESS_H
#define RELAY_NET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fault.h"
#include "base/slice.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un local;
	};
	socklen_t len;
};

/* A network in CIDR form. IPv4-mapped IPv6 addresses match IPv4 networks. */
struct network {
	uint8_t bytes[16];
	bool is_v6;
	unsigned prefix_len; /* bits */
	bool is_exception;   /* of a larger one in the same list */
};

/* "127.0.0.1:25", "[::1]:25", "*:25" (all IPv6 and IPv4: is_any), with
 * default_port (0: required) where none is written; "unix:/path". */
bool address_parse(struct slice text, uint16_t default_port,
		   struct address *address_out, struct fault *fault) MUST_USE;
/* An address without a port, "192.0.2.1" or "2001:db8::1", also in [] and as
 * "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). */
bool address_parse_host(struct slice text, uint16_t port,
			struct address *address_out) MUST_USE;
/* Splits "host:port" (host a name or an address, [] for IPv6; handed out
 * without them). */
bool address_split(struct slice text, uint16_t default_port,
		   struct slice *host_out, uint16_t *port_out) MUST_USE;
uint16_t address_port(const struct address *address);
void address_set_port(struct address *address, uint16_t port);
/* An IPv4-mapped IPv6 address becomes the IPv4 address that it is. */
void address_unmap(struct address *address);
bool address_eq(const struct address *a, const struct address *b);
/* "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path", "unix:" for a nameless
 * peer, "unknown" for AF_UNSPEC; _host without the port and brackets. */
#define ADDRESS_TEXT_SIZE 128
void address_write(const struct address *address,
		   char out[ADDRESS_TEXT_SIZE]);
void address_write_host(const struct address *address,
			char out[ADDRESS_TEXT_SIZE]);
/* As an address literal of RFC 5321 4.1.3: "[192.0.2.1]",
 * "[IPv6:2001:db8::1]". */
void address_write_literal(const struct address *address,
			   char out[ADDRESS_TEXT_SIZE]);

bool network_parse(struct slice text, struct network *network_out,
		   struct fault *fault) MUST_USE;
bool network_contains(const struct network *network,
		      const struct address *address);
/* Whether the closest of them that holds the address is no exception; there is
 * one that does. Unix sockets count as loopback. */
bool networks_contain(const struct network *networks, size_t count,
		      const struct address *address);
/* Not of the world: RFC 1918, RFC 6598, RFC 3927, RFC 4193, link-local
 * (RFC 4291), loopback, a Unix socket. */
bool address_is_private(const struct address *address);

#endif
