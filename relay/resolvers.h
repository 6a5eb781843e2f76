/*
 * resolvers - the name servers of the machine, for a configuration that names
 * none.
 *
 * DHCP clients, VPNs and NetworkManager write /etc/resolv.conf anew, at boot also
 * for the first time, while we run: the supervisor looks at it now and then.
 *
 * Ownership   Plain values.
 * Thread      Any; a watch is its owner's.
 */
#ifndef RELAY_RESOLVERS_H
#define RELAY_RESOLVERS_H

#include "relay/limits.h"
#include "relay/options.h"

struct resolvers {
	struct address items[DNS_RESOLVERS_MAX];
	size_t count;
};

/* Those of a resolv.conf(5); passed over is what cannot be asked, such as a
 * link-local address with a zone. */
void resolvers_of(struct slice resolv_conf, struct resolvers *out);
/* "192.0.2.53 2001:db8::53" */
void resolvers_write(const struct resolvers *resolvers, struct text *out);
void resolvers_parse(struct slice text, struct resolvers *out);

struct resolvers_watch {
	struct resolvers asked;
	bool follows; /* the configuration names none */
	uint64_t due_ms;
};

/* What is asked now is what these options have, which may be of long ago: the
 * next look is not waited for. */
void resolvers_watch_begin(struct resolvers_watch *watch,
			   const struct options *options);
/* True where the machine has others by now than are asked. While it has none,
 * which is also how a file looks that is just being written, nothing changes. */
bool resolvers_watch_finds(struct resolvers_watch *watch,
			   struct resolvers *others_out);

#endif
