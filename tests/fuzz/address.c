/*
 * Addresses and networks: what is taken can be written and read again.
 */
#include "relay/net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
comes_back(const struct address *address)
{
	char text[ADDRESS_TEXT_SIZE];
	struct address again;

	address_write(address, text);
	ASSERT(address_parse(SLICE(text), 0, &again, NULL));
	ASSERT(address_eq(address, &again));
	if (address->any.sa_family == AF_UNIX)
		return;
	address_write_literal(address, text);
	ASSERT(address_parse_host(SLICE(text), address_port(address), &again));
	ASSERT(address_eq(address, &again));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = slice_of(bytes, len), host;
	struct address address;
	struct network network;
	struct fault fault = {0};
	uint16_t port;

	if (address_parse(input, 25, &address, &fault))
		comes_back(&address);
	else
		ASSERT(fault.text[0] != '\0');
	if (address_parse_host(input, 25, &address)) {
		comes_back(&address);
		if (network_parse(input, &network, &fault))
			ASSERT(network_contains(&network, &address));
	}
	if (address_split(input, 0, &host, &port)) {
		ASSERT(port > 0);
		ASSERT(host.len > 0);
		ASSERT(host.bytes >= input.bytes);
		ASSERT(host.bytes + host.len <= input.bytes + input.len);
	}
	if (network_parse(input, &network, &fault))
		ASSERT(network.prefix_len <= (network.is_v6 ? 128 : 32));
	return 0;
}
