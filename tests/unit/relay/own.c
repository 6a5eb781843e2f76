#include <criterion/criterion.h>

#include <uv.h>

#include "relay/own.h"

static const struct own_row {
	const char *name, *listener;
	const char *address;
	bool is_own;
} own_rows[] = {
	{ "its address", "192.0.2.1:25", "192.0.2.1:25", true },
	{ "another port", "192.0.2.1:2525", "192.0.2.1:25", false },
	{ "another address", "192.0.2.1:25", "192.0.2.2:25", false },
	{ "of IPv6", "[2001:db8::1]:25", "[2001:db8::1]:25", true },
	{ "loopback, all addresses", "*:25", "127.0.0.1:25", true },
	{ "any loopback, all addresses", "*:25", "127.9.9.9:25", true },
	{ "loopback of IPv6, all addresses", "*:25", "[::1]:25", true },
	{ "all addresses of IPv4", "0.0.0.0:25", "127.0.0.1:25", true },
	{ "all addresses of IPv6", "[::]:25", "[::1]:25", true },
	{ "all addresses of IPv4, of IPv6", "0.0.0.0:25", "[::1]:25", false },
	{ "all addresses of IPv6, of IPv4", "[::]:25", "127.0.0.1:25", false },
	{ "all addresses, another port", "*:2525", "127.0.0.1:25", false },
	{ "all addresses, nobody of this machine", "*:25", "192.0.2.1:25",
	  false },
	{ "all addresses, and nobody's", "*:25", "[2001:db8::1]:25", false },
	{ "loopback, an address", "192.0.2.1:25", "127.0.0.1:25", false },
	{ "a socket without a port", "unix:/run/signet/submit", "127.0.0.1:25",
	  false },
};

static void
listener_set(struct listener_options *listener, const char *text)
{
	struct fault fault;

	*listener = (struct listener_options){.is_any = text[0] == '*'};
	cr_assert(address_parse(SLICE(text), 0, &listener->address, &fault),
		  "%s", text);
}

Test(own, address)
{
	for (size_t i = 0; i < COUNT(own_rows); i++) {
		const struct own_row *row = &own_rows[i];
		struct listener_options listener;
		struct options options = {.listeners = &listener,
					  .listeners_count = 1};
		struct address address;
		struct fault fault;

		listener_set(&listener, row->listener);
		cr_assert(address_parse(SLICE(row->address), 0, &address,
					&fault));
		cr_expect_eq(own_is_address(&options, &address), row->is_own, "%s",
			     row->name);
	}
}

/* Whatever addresses this machine has, they are its own. */
Test(own, address_of_an_interface)
{
	struct listener_options listener;
	struct options options = {.listeners = &listener,
				  .listeners_count = 1};
	uv_interface_address_t *interfaces;
	int count;

	listener_set(&listener, "*:25");
	cr_assert_eq(uv_interface_addresses(&interfaces, &count), 0);
	for (int i = 0; i < count; i++) {
		struct address address = {.len = sizeof(address.v6)};

		address.v6 = interfaces[i].address.address6;
		if (address.any.sa_family == AF_INET)
			address.len = sizeof(address.v4);
		address_set_port(&address, 25);
		cr_expect(own_is_address(&options, &address), "%s",
			  interfaces[i].name);
	}
	uv_free_interface_addresses(interfaces, count);
}

static const struct name_row {
	const char *name, *hostname, *asked;
	uint16_t port;
	bool is_own;
} name_rows[] = {
	{ "ours", "relay.example.org", "relay.example.org", 25, true },
	{ "ours, otherwise written", "relay.example.org", "Relay.Example.ORG",
	  25, true },
	{ "another server of this machine", "relay.example.org",
	  "relay.example.org", 26, false },
	{ "another name", "relay.example.org", "mx.example.org", 25, false },
};

Test(own, name)
{
	for (size_t i = 0; i < COUNT(name_rows); i++) {
		const struct name_row *row = &name_rows[i];
		struct listener_options listeners[2];
		struct options options = {.listeners = listeners,
					  .listeners_count = 2,
					  .hostname = SLICE(row->hostname)};

		listener_set(&listeners[0], "unix:/run/signet/submit");
		listener_set(&listeners[1], "192.0.2.1:25");
		cr_expect_eq(own_is_name(&options, SLICE(row->asked),
					 row->port),
			     row->is_own, "%s", row->name);
	}
}
