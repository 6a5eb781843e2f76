#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/limits.h"
#include "relay/net/dns_cache.h"

static struct dns_result *
kept(struct dns_cache *cache, unsigned number, size_t bytes)
{
	char name[16];
	struct dns_result *result;

	snprintf(name, sizeof(name), "%u", number);
	result = dns_result_new(SLICE(name), DNS_A);
	if (bytes > 0)
		arena_new(&result->arena, bytes);
	dns_cache_add(cache, result, 1000, 500);
	return result;
}

static bool
is_kept(struct dns_cache *cache, unsigned number, uint64_t now_ms)
{
	char name[16];
	struct dns_key key;
	struct dns_result *result;

	snprintf(name, sizeof(name), "%u", number);
	key = (struct dns_key){SLICE(name), DNS_A};
	result = dns_cache_find(cache, &key, now_ms);
	if (result == NULL)
		return false;
	dns_result_unref(result);
	return true;
}

Test(dns_cache, forgets_by_time_and_by_use)
{
	struct dns_cache cache;

	dns_cache_init(&cache);
	dns_result_unref(kept(&cache, 0, 0));
	dns_result_unref(kept(&cache, 1, 0));
	cr_expect(is_kept(&cache, 0, 1499));
	cr_expect(is_kept(&cache, 1, 1499));
	cr_expect_not(is_kept(&cache, 1, 1500));
	for (unsigned i = 2; i <= DNS_CACHE_MAX; i++)
		dns_result_unref(kept(&cache, i, 0));
	cr_expect_eq(cache.count, DNS_CACHE_MAX);
	cr_expect(is_kept(&cache, 0, 1000)); /* used: not the oldest now */
	dns_result_unref(kept(&cache, DNS_CACHE_MAX + 1, 0));
	cr_expect_eq(cache.count, DNS_CACHE_MAX);
	cr_expect(is_kept(&cache, 0, 1000));
	cr_expect_not(is_kept(&cache, 2, 1000));
	/* A large one makes room for itself. */
	dns_result_unref(kept(&cache, 1, DNS_CACHE_BYTES_MAX / 2));
	dns_result_unref(kept(&cache, 2, DNS_CACHE_BYTES_MAX / 2));
	cr_expect_leq(cache.bytes, DNS_CACHE_BYTES_MAX);
	cr_expect_not(is_kept(&cache, 1, 1000));
	cr_expect(is_kept(&cache, 2, 1000));
	dns_cache_done(&cache);
}
