/*
 * ipv6 - whether IPv6 as a whole seems to lead anywhere from here: a route does
 * not say so. One for the whole process.
 *
 * It seems to lead nowhere when IPV6_FAILURES addresses in as many networks
 * gave no answer, one after the other and none answering meanwhile, while some
 * of IPv4 did. Then, for IPV6_AVOIDED_MS, a host's IPv4 is better tried first.
 * After that one more failure is enough; one answer over IPv6 ends it all.
 *
 * Thread      Any; a lock is held for a moment, and not to ask.
 */
#ifndef RELAY_DELIVERY_IPV6_H
#define RELAY_DELIVERY_IPV6_H

#include <pthread.h>

#include "base/clock.h"
#include "relay/net/address.h"

#define IPV6_FAILURES 3
#define IPV6_AVOIDED_MS (10 * MINUTE)

struct ipv6 {
	uint64_t avoided_until_ms; /* clock_now_ms(); atomic */
	pthread_mutex_t lock;
	/* under it */
	uint64_t failed[IPV6_FAILURES]; /* networks: a site has a /48 */
	size_t failed_count;
	bool has_failed; /* since it was last avoided */
	bool has_v4;     /* has answered since then, or the first failure */
	bool is_told;    /* that it leads nowhere */
};
void ipv6_init(struct ipv6 *ipv6);
void ipv6_done(struct ipv6 *ipv6);

/* What a connection to an address met with. What neither answered nor failed so
 * (it refused us) says nothing. */
enum ipv6_news { IPV6_NO_NEWS, IPV6_LEADS_NOWHERE, IPV6_WORKS_AGAIN };
enum ipv6_news ipv6_note_reached(struct ipv6 *ipv6,
				 const struct address *address);
enum ipv6_news ipv6_note_unreached(struct ipv6 *ipv6,
				   const struct address *address);

bool ipv6_is_avoided(const struct ipv6 *ipv6);

#endif
