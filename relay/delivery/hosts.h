/*
 * hosts - the addresses that a destination's mail may go to, in order.
 *
 * MX by RFC 5321 5.1 (exchangers.h); without MX the domain itself; a null MX
 * (RFC 7505) refuses. Of a smarthost or route its hosts, in their order. A and
 * AAAA of each, as far as they can be used (reach.h), IPv6 first and in turn;
 * neither family crowds out the other. A host that is ourselves (own.h) ends
 * the list: it and all of its preference and worse are dropped.
 *
 * Where none is left, `trouble` and `detail` say why, and what to do. What may
 * pass (the DNS fails, there is no way to IPv6) is waited for; what the
 * domain's owner says or did is told the sender at once.
 *
 * Ownership   Counted, atomically: shared by the connections of a destination
 *             on all loops. All but what connections learn is immutable.
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
	unsigned preference;
	struct address address;  /* with the port */
	/* clock_now_ms(); what connections learnt: atomic. */
	uint64_t failed_until_ms; /* better try others first */
	uint64_t sent_away_until_ms; /* it said 421 to one, and has taken
					nothing since */
};
bool host_is_before(const uint64_t *until_ms);
void host_note(uint64_t *until_ms, uint64_t duration_ms);

struct hosts {
	struct arena arena;
	struct host *items;
	size_t count;             /* 0: see trouble */
	enum outcome_trouble trouble;
	struct slice detail;      /* a sentence for who reads the log; or "" */
	struct slice key;         /* the same for all whose mail goes to the
				     same names and ports; "" without any */
	int references;
};
/* The index of what to try as the i-th. Those of equal best preference take
 * turns in being the first: RFC 5321 5.1 wants the load spread. */
size_t hosts_in_turn(const struct hosts *hosts, unsigned turn, size_t i);
struct hosts *hosts_ref(struct hosts *hosts);
void hosts_unref(struct hosts *hosts);

#define HOSTS_NOT_OWN UINT32_MAX

struct hosts_lookup;
struct hosts_query {
	/* Once, from the loop, never after hosts_cancel(); a reference. */
	void (*done)(struct hosts_query *query, struct hosts *hosts);
	bool is_prompt; /* dns.h */
	/* its own */
	const struct options *options;
	struct route route;
	struct slice domain; /* of the route, as the DNS has it */
	struct hosts *hosts;
	struct dns *dns;
	struct dns_query mx;
	struct arena arena;       /* of the lookups */
	struct hosts_lookup *lookups; /* in the order of the hosts */
	size_t lookups_count, waiting;
	unsigned own_preference;  /* of this relay as MX, or HOSTS_NOT_OWN */
	struct slice no_host;     /* what an MX names that is no host */
	const char *no_name;      /* why the domain does not exist; NULL: it may */
	bool is_asking_mx, has_mx, has_left_over;
};
/* Gives the hosts at once where no DNS is needed (done does not come then),
 * else NULL. The options must live until done. */
struct hosts *hosts_start(struct hosts_query *query, struct dns *dns,
			  const struct options *options,
			  const struct route *route);
void hosts_cancel(struct hosts_query *query);
/* It is under way, and prompt from now on. */
void hosts_hurry(struct hosts_query *query);

#endif
