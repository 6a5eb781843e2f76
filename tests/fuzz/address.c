/* What is read as an address is written so that it reads the same. */
#include "relay/net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice text = slice_of(bytes, len), host;
	char out[ADDRESS_TEXT_SIZE];
	struct address address, again;
	struct network network;
	uint16_t port;

	if (address_parse(text, 25, &address, NULL)) {
		address_write(&address, out);
		if (address.any.sa_family != AF_UNIX) {
			ASSERT(address_parse(SLICE(out), 0, &again, NULL));
			ASSERT(address_eq(&address, &again));
		}
		address_write_host(&address, out);
		address_write_literal(&address, out);
	}
	if (address_parse_host(text, 25, &address)) {
		address_write_host(&address, out);
		ASSERT(address_parse_host(SLICE(out), 25, &again));
		ASSERT(address_eq(&address, &again));
		address_unmap(&address);
		ASSERT(address_port(&address) == 25);
	}
	if (address_split(text, 25, &host, &port)) {
		ASSERT(host.bytes >= text.bytes);
		ASSERT(host.bytes + host.len <= text.bytes + text.len);
	}
	if (network_parse(text, &network, NULL)) {
		ASSERT(network.prefix_len <= 128);
		ASSERT(address_parse_host(SLICE("127.0.0.1"), 1, &again));
		(void)network_contains(&network, &again);
	}
	return 0;
}
