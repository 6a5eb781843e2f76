#include <search.h>
#include <stdlib.h>

#include "relay/limits.h"
#include "relay/net/dns_cache.h"

int
dns_key_compare(const void *a, const void *b)
{
	const struct dns_key *left = a, *right = b;

	if (left->type != right->type)
		return left->type < right->type ? -1 : 1;
	return slice_compare(left->name, right->name);
}

struct dns_result *
dns_result_new(struct slice name, enum dns_type type)
{
	struct dns_result *result = memory_new(sizeof(*result));

	list_init(&result->link);
	result->arena = ARENA_SMALL;
	result->key.name = arena_copy(&result->arena, name);
	result->key.type = type;
	result->references = 1;
	return result;
}

void
dns_result_unref(struct dns_result *result)
{
	ASSERT(result->references > 0);
	if (--result->references > 0)
		return;
	arena_done(&result->arena);
	free(result);
}

void
dns_cache_init(struct dns_cache *cache)
{
	*cache = (struct dns_cache){.tree = NULL};
	list_init(&cache->recent);
}

static void
cache_remove(struct dns_cache *cache, struct dns_result *result)
{
	ASSERT(cache->count > 0);
	ASSERT(cache->bytes >= result->size_bytes);
	tdelete(&result->key, &cache->tree, dns_key_compare);
	list_remove(&result->link);
	cache->count--;
	cache->bytes -= result->size_bytes;
	dns_result_unref(result);
}

void
dns_cache_clear(struct dns_cache *cache)
{
	LIST_EACH(item, &cache->recent)
		cache_remove(cache, CONTAINER(item, struct dns_result, link));
	ASSERT(cache->count == 0);
}

void
dns_cache_done(struct dns_cache *cache)
{
	dns_cache_clear(cache);
}

struct dns_result *
dns_cache_find(struct dns_cache *cache, const struct dns_key *key,
	       uint64_t now_ms)
{
	void *node = tfind(key, &cache->tree, dns_key_compare);
	struct dns_result *result;

	if (node == NULL)
		return NULL;
	result = *(struct dns_result **)node;
	if (result->expires_ms <= now_ms) {
		cache_remove(cache, result);
		return NULL;
	}
	list_remove(&result->link);
	list_add_first(&cache->recent, &result->link);
	result->references++;
	return result;
}

void
dns_cache_add(struct dns_cache *cache, struct dns_result *result,
	      uint64_t now_ms, uint64_t ttl_ms)
{
	void *node = tfind(&result->key, &cache->tree, dns_key_compare);

	if (node != NULL)
		cache_remove(cache, *(struct dns_result **)node);
	result->size_bytes = sizeof(*result) + result->arena.held_bytes;
	result->expires_ms = now_ms + ttl_ms;
	if (ttl_ms == 0 || result->size_bytes > DNS_CACHE_BYTES_MAX)
		return;
	while (cache->count >= DNS_CACHE_MAX ||
	       cache->bytes + result->size_bytes > DNS_CACHE_BYTES_MAX) {
		ASSERT(!list_is_empty(&cache->recent));
		cache_remove(cache, CONTAINER(cache->recent.previous,
					      struct dns_result, link));
	}
	if (tsearch(&result->key, &cache->tree, dns_key_compare) == NULL)
		return; /* no memory for the node: go without */
	result->references++;
	list_add_first(&cache->recent, &result->link);
	cache->count++;
	cache->bytes += result->size_bytes;
}
