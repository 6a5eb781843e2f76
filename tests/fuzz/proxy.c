/* What a proxy says: read at once and in two pieces it is the same, and its
 * length lies within what came. */
#include "relay/net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = slice_of(bytes, len);
	struct address client, again;
	size_t used = 0, used_again = 0;
	enum proxy_status status = proxy_parse(input, &client, &used);

	if (status == PROXY_MORE || status == PROXY_MALFORMED)
		return 0;
	ASSERT(used > 0 && used <= len && used <= PROXY_HEADER_MAX);
	ASSERT(proxy_parse(slice_sub(input, 0, used), &again, &used_again) ==
	       status);
	ASSERT(used_again == used);
	ASSERT(proxy_parse(slice_sub(input, 0, used - 1), &again,
			   &used_again) == PROXY_MORE);
	if (status == PROXY_CLIENT)
		ASSERT(client.any.sa_family == AF_INET ||
		       client.any.sa_family == AF_INET6);
	return 0;
}
