#include "relay/net/proxy.h"

#include <arpa/inet.h>

#define LINE_MAX_V1 107 /* with CRLF */
#define HEAD_SIZE_V2 16
#define SIGNATURE_V2 "\r\n\r\n\0\r\nQUIT\n"

static bool
begins(struct slice input, struct slice with)
{
	size_t len = input.len < with.len ? input.len : with.len;

	return slice_eq(slice_sub(input, 0, len), slice_sub(with, 0, len));
}

/* --- version 1 --- */

static bool
port_parse(struct slice text, uint16_t *port_out)
{
	uint64_t number;

	if (!slice_number(text, &number) || number > UINT16_MAX ||
	    (text.len > 1 && text.bytes[0] == '0'))
		return false;
	*port_out = (uint16_t)number;
	return true;
}

static bool
host_parse(struct slice text, bool is_v6, uint16_t port, struct address *out)
{
	return (slice_find(text, ':') >= 0) == is_v6 &&
	       slice_find(text, '[') < 0 &&
	       address_parse_host(text, port, out);
}

static enum proxy_status
line_parse(struct slice line, struct address *client_out)
{
	struct slice word, family, source, target, source_port, target_port;
	struct address client, ours;
	uint16_t port, our_port;
	bool is_v6;

	if (!slice_split(&line, ' ', &word) ||
	    !slice_split(&line, ' ', &family))
		return PROXY_MALFORMED;
	if (slice_eq(family, SLICE("UNKNOWN")))
		return PROXY_UNKNOWN;
	is_v6 = slice_eq(family, SLICE("TCP6"));
	if (!is_v6 && !slice_eq(family, SLICE("TCP4")))
		return PROXY_MALFORMED;
	if (!slice_split(&line, ' ', &source) ||
	    !slice_split(&line, ' ', &target) ||
	    !slice_split(&line, ' ', &source_port) ||
	    !slice_split(&line, ' ', &target_port) || line.len > 0 ||
	    !port_parse(source_port, &port) ||
	    !port_parse(target_port, &our_port) ||
	    !host_parse(source, is_v6, port, &client) ||
	    !host_parse(target, is_v6, our_port, &ours))
		return PROXY_MALFORMED;
	*client_out = client;
	return PROXY_CLIENT;
}

static enum proxy_status
parse_v1(struct slice input, struct address *client_out, size_t *used_out)
{
	ptrdiff_t lf = slice_find(slice_sub(input, 0, LINE_MAX_V1), '\n');

	if (lf < 0)
		return input.len < LINE_MAX_V1 ? PROXY_MORE : PROXY_MALFORMED;
	if (lf < 1 || input.bytes[lf - 1] != '\r')
		return PROXY_MALFORMED;
	*used_out = (size_t)lf + 1;
	return line_parse(slice_sub(input, 0, (size_t)lf - 1), client_out);
}

/* --- version 2 --- */

static uint16_t
number_at(struct slice bytes, size_t at)
{
	return (uint16_t)((uint8_t)bytes.bytes[at] << 8 |
			  (uint8_t)bytes.bytes[at + 1]);
}

static enum proxy_status
addresses_parse(uint8_t family, struct slice bytes, struct address *client_out)
{
	struct address client = {0};

	switch (family >> 4) {
	case 1: /* AF_INET: two addresses, two ports */
		if (bytes.len < 12)
			return PROXY_MALFORMED;
		client.v4.sin_family = AF_INET;
		memcpy(&client.v4.sin_addr, bytes.bytes, 4);
		client.v4.sin_port = htons(number_at(bytes, 8));
		client.len = sizeof(client.v4);
		break;
	case 2: /* AF_INET6 */
		if (bytes.len < 36)
			return PROXY_MALFORMED;
		client.v6.sin6_family = AF_INET6;
		memcpy(&client.v6.sin6_addr, bytes.bytes, 16);
		client.v6.sin6_port = htons(number_at(bytes, 32));
		client.len = sizeof(client.v6);
		break;
	default: /* Unix sockets, and what is yet to come */
		return PROXY_UNKNOWN;
	}
	*client_out = client;
	return PROXY_CLIENT;
}

static enum proxy_status
parse_v2(struct slice input, struct address *client_out, size_t *used_out)
{
	enum { LOCAL = 0x20, PROXY = 0x21, STREAM = 1 };
	uint8_t command, family;
	size_t len;

	if (input.len < HEAD_SIZE_V2)
		return PROXY_MORE;
	command = (uint8_t)input.bytes[12];
	family = (uint8_t)input.bytes[13];
	len = number_at(input, 14);
	if (HEAD_SIZE_V2 + len > PROXY_HEADER_MAX ||
	    (command != LOCAL && command != PROXY))
		return PROXY_MALFORMED;
	if (input.len < HEAD_SIZE_V2 + len)
		return PROXY_MORE;
	*used_out = HEAD_SIZE_V2 + len;
	if (command == LOCAL || (family & 0x0f) != STREAM)
		return PROXY_UNKNOWN;
	return addresses_parse(family, slice_sub(input, HEAD_SIZE_V2, len),
			       client_out);
}

enum proxy_status
proxy_parse(struct slice input, struct address *client_out, size_t *used_out)
{
	enum proxy_status status = PROXY_MALFORMED;

	if (begins(input, SLICE("PROXY ")))
		status = parse_v1(input, client_out, used_out);
	else if (begins(input,
			slice_of(SIGNATURE_V2, sizeof(SIGNATURE_V2) - 1)))
		status = parse_v2(input, client_out, used_out);
	/* A mapped address is the IPv4 address that it is: what the client may,
	 * and with whom it shares limits, must not depend on how the proxy
	 * writes it. */
	if (status == PROXY_CLIENT)
		address_unmap(client_out);
	return status;
}
