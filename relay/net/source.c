#include "relay/net/source.h"

#include <unistd.h>

#include "base/clean.h"

/* To connect a datagram socket is to choose its route and its source. */
bool
source_find(const struct address *peer, struct address *source_out)
{
	CLEAN(clean_descriptor) int descriptor =
		socket(peer->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct address source = {.len = sizeof(source.v6)};

	if (descriptor < 0 ||
	    connect(descriptor, &peer->any, peer->len) != 0 ||
	    getsockname(descriptor, &source.any, &source.len) != 0)
		return false;
	*source_out = source;
	return true;
}
