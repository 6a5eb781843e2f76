/*
 * dns_cache - answers of one loop's resolver, kept for their TTL.
 *
 * Bounded by DNS_CACHE_MAX entries and DNS_CACHE_BYTES_MAX; the one unused for
 * longest goes first. Lookup is by a balanced tree, because strangers choose
 * the names. Results are counted: one may be evicted while it is being handed
 * out.
 */
#ifndef RELAY_NET_DNS_CACHE_H
#define RELAY_NET_DNS_CACHE_H

#include "relay/net/dns.h"

struct dns_key {
	struct slice name; /* as struct dns_name's bytes */
	enum dns_type type;
};
int dns_key_compare(const void *a, const void *b); /* both struct dns_key */

struct dns_result {
	struct dns_key key; /* the first member: the tree compares it */
	struct list link;
	struct arena arena;
	struct dns_answer answer;
	uint64_t expires_ms; /* clock_now_ms() */
	size_t size_bytes;
	unsigned references;
};
struct dns_result *dns_result_new(struct slice name, enum dns_type type);
void dns_result_unref(struct dns_result *result);

struct dns_cache {
	void *tree;
	struct list recent; /* last used first */
	size_t count, bytes;
};
void dns_cache_init(struct dns_cache *cache);
void dns_cache_done(struct dns_cache *cache);
/* A reference for the caller; NULL: not there, or too old. */
struct dns_result *dns_cache_find(struct dns_cache *cache,
				  const struct dns_key *key, uint64_t now_ms);
/* Takes a reference of its own; replaces what was there. */
void dns_cache_add(struct dns_cache *cache, struct dns_result *result,
		   uint64_t now_ms, uint64_t ttl_ms);
void dns_cache_clear(struct dns_cache *cache);

#endif
