/*
 * hosts_private - what hosts.c and hosts_absent.c share: the lookups of one
 * query, and why a destination has no host.
 */
#ifndef RELAY_DELIVERY_HOSTS_PRIVATE_H
#define RELAY_DELIVERY_HOSTS_PRIVATE_H

#include "relay/delivery/hosts.h"

/* The answer to one question about a name: the addresses worth trying. */
struct hosts_found {
	struct hosts_lookup *lookup;
	struct dns_query query;
	bool is_waiting;
	const char *failure; /* NULL: answered */
	struct address *addresses; /* at most MX_HOST_ADDRESSES_MAX */
	size_t count;
};

/* A and AAAA of one name. */
struct hosts_lookup {
	struct hosts_query *query;
	struct slice name;
	uint16_t port;
	bool is_address; /* not a name that is looked up */
	unsigned preference;
	struct hosts_found v4, v6;
	unsigned reaches; /* what was found of its addresses: 1 << enum reach */
	bool is_own;
};

/* The detail is copied. */
void hosts_trouble(struct hosts *hosts, enum outcome_trouble trouble,
		   struct slice detail);
/* type: "MX", "A", "AAAA". */
void hosts_dns_trouble(struct hosts *hosts, const char *type,
		       struct slice name, const char *reason);
/* Of a query whose lookups are done, and have left no host. */
void hosts_explain(struct hosts_query *query);

#endif
