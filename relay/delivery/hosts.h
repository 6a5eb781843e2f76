/*
 * hosts - the addresses that a destination's mail may go to, in order.
 *
 * MX by RFC 5321 5.1: by preference, shuffled where equal; without MX the
 * domain itself; a null MX (RFC 7505) refuses. A and AAAA of each, IPv6 first
 * and in turn, families that this machine cannot use left out. A host that is
 * ourselves ends the list: it and all of its preference and worse are dropped.
 *
 * Ownership   Counted, atomically: shared by the connections of a destination
 *             on all loops. All but the two times of a host is immutable.
 */
#ifndef RELAY_DELIVERY_HOSTS_H
#define RELAY_DELIVERY_HOSTS_H

#include "base/arena.h"
#include "relay/delivery/route.h"
#include "relay/limits.h"
#include "relay/net/dns.h"
#include "relay/queue/outcome.h"

struct host {
	struct slice name;       /* as in the MX record or the route */
	bool is_name;            /* not an address: fit for SNI */
	unsigned preference;
	struct address address;  /* with the port */
	/* clock_now_ms(); what connections learnt: atomic. */
	uint64_t failed_until_ms; /* better try others first */
	uint64_t clear_until_ms;  /* its TLS does not work */
};
bool host_is_before(const uint64_t *until_ms);
void host_note(uint64_t *until_ms, uint64_t duration_ms);

struct hosts {
	struct arena arena;
	struct host *items;
	size_t count;             /* 0: see trouble */
	enum outcome_trouble trouble;
	struct slice detail;      /* "SERVFAIL", … or "" */
	int references;
};
struct hosts *hosts_ref(struct hosts *hosts);
void hosts_unref(struct hosts *hosts);

struct hosts_lookup;
struct hosts_query {
	/* Once, from the loop, never after hosts_cancel(); a reference. */
	void (*done)(struct hosts_query *query, struct hosts *hosts);
	/* its own */
	const struct options *options;
	struct route route;
	struct hosts *hosts;
	struct dns *dns;
	struct dns_query mx;
	struct hosts_lookup *lookups;
	size_t lookups_count, waiting;
	bool is_asking_mx;
	bool has_left_out_v6;
};
/* Gives the hosts at once where no DNS is needed (done does not come then),
 * else NULL. The options must live until done. */
struct hosts *hosts_start(struct hosts_query *query, struct dns *dns,
			  const struct options *options,
			  const struct route *route, struct slice destination);
void hosts_cancel(struct hosts_query *query);

#endif
