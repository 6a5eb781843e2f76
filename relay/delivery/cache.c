#include "relay/delivery/cache.h"

#include <stdlib.h>

#include "relay/delivery/parting.h"
#include "relay/generation.h"

void
cache_init(struct cache *cache)
{
	list_init(&cache->kept);
}

void
kept_free(struct kept *kept)
{
	list_remove(&kept->link);
	if (kept->client != NULL)
		client_close(&kept->client);
	if (kept->place.site != NULL)
		site_give(&kept->place);
	hosts_unref(kept->hosts);
	generation_unref(kept->generation);
	free(kept);
}

static void
kept_on_client(void *owner, enum client_event event)
{
	struct kept *kept = owner;

	ASSERT(event == CLIENT_ENDED);
	parting_keep(kept->client, &kept->place);
	/* It frees itself. */
	kept->client = NULL;
	kept_free(kept);
}

void
cache_put(struct cache *cache, struct kept *kept)
{
	kept->cache = cache;
	client_pass_on(kept->client, kept_on_client, kept, false);
	/* The one that was used last is the first to be used again: the others
	 * may end. */
	list_add_first(&cache->kept, &kept->link);
}

/* Whether somebody with these hosts would go there now: to the best that has
 * not failed lately, or to one of the same preference. */
static bool
kept_fits(const struct kept *kept, const struct hosts *hosts, size_t *index_out)
{
	bool has_better = false;

	for (size_t i = 0; i < hosts->count; i++) {
		const struct host *host = &hosts->items[i];

		if (i > 0 && host->preference != host[-1].preference &&
		    has_better)
			return false;
		if (address_eq(&host->address, &kept->host->address) &&
		    slice_eq(host->name, kept->host->name)) {
			*index_out = i;
			return true;
		}
		has_better |= !host_is_before(&host->failed_until_ms);
	}
	return false;
}

struct kept *
cache_take(struct cache *cache, const struct site *site,
	   const struct generation *generation, const struct hosts *hosts)
{
	LIST_EACH (item, &cache->kept) {
		struct kept *kept = CONTAINER(item, struct kept, link);

		if (kept->place.site != site ||
		    kept->generation != generation ||
		    !client_is_ready(kept->client) ||
		    !kept_fits(kept, hosts, &kept->index))
			continue;
		list_remove(item);
		return kept;
	}
	return NULL;
}

void
cache_end(struct cache *cache)
{
	struct list *item;

	while ((item = list_take_first(&cache->kept)) != NULL) {
		struct kept *kept = CONTAINER(item, struct kept, link);

		if (client_is_ready(kept->client)) {
			parting_keep(kept->client, &kept->place);
			client_quit(&kept->client);
		}
		kept_free(kept);
	}
}
