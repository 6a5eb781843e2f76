/*
 * cache - conversations that nobody needs just now, kept for a moment for
 * whoever wants to talk to the same host in the same way. One for each loop.
 *
 * The same way is the same site (site.h) under the same configuration: then
 * TLS policy, the names asked of a certificate, login, port and names of the
 * hosts are the same. A conversation is for who would have come to that very
 * address by his own list, in the order of preference.
 *
 * Ownership   The cache has what is put in, with its place at the site, until
 *             it is taken, or ends by itself: a client's time of idleness goes
 *             on.
 * Thread      Its loop's.
 */
#ifndef RELAY_DELIVERY_CACHE_H
#define RELAY_DELIVERY_CACHE_H

#include "relay/delivery/client.h"
#include "relay/delivery/site.h"

struct cache {
	struct list kept;
};

struct kept {
	struct list link;
	struct cache *cache;
	struct client *client;
	struct hosts *hosts;           /* a reference */
	const struct host *host;       /* of those */
	struct generation *generation; /* a reference */
	struct site_place place;
	uint64_t opened_ms;
	size_t index; /* when taken: which of the taker's hosts it is */
};

void cache_init(struct cache *cache);
/* The client is idle, and the cache's from now on. */
void cache_put(struct cache *cache, struct kept *kept);
/* NULL: none that fits. Else the caller's, who puts it back, or takes out what
 * is in it and calls kept_free(). */
struct kept *cache_take(struct cache *cache, const struct site *site,
			const struct generation *generation,
			const struct hosts *hosts);
/* What is still in it goes: the client at once. */
void kept_free(struct kept *kept);
/* All quit. */
void cache_end(struct cache *cache);

#endif
