#include "relay/delivery/ipv6.h"

void
ipv6_init(struct ipv6 *ipv6)
{
	*ipv6 = (struct ipv6){.avoided_until_ms = 0};
	ASSERT(pthread_mutex_init(&ipv6->lock, NULL) == 0);
}

void
ipv6_done(struct ipv6 *ipv6)
{
	pthread_mutex_destroy(&ipv6->lock);
}

static bool
is_v6(const struct address *address)
{
	return address->any.sa_family == AF_INET6;
}

static uint64_t
network_of(const struct address *address)
{
	const uint8_t *bytes = address->v6.sin6_addr.s6_addr;
	uint64_t network = 0;

	for (size_t i = 0; i < 48 / 8; i++)
		network = network << 8 | bytes[i];
	return network;
}

static void
failed_add(struct ipv6 *ipv6, uint64_t network)
{
	for (size_t i = 0; i < ipv6->failed_count; i++)
		if (ipv6->failed[i] == network)
			return;
	if (ipv6->failed_count == 0)
		ipv6->has_v4 = false; /* what was before says nothing */
	if (ipv6->failed_count < IPV6_FAILURES)
		ipv6->failed[ipv6->failed_count++] = network;
}

/* Under the lock. */
static enum ipv6_news
judge(struct ipv6 *ipv6)
{
	bool is_news = !ipv6->is_told;

	if (ipv6->failed_count < IPV6_FAILURES || !ipv6->has_failed ||
	    !ipv6->has_v4 || ipv6_is_avoided(ipv6))
		return IPV6_NO_NEWS;
	ipv6->has_failed = ipv6->has_v4 = false;
	ipv6->is_told = true;
	__atomic_store_n(&ipv6->avoided_until_ms,
			 clock_now_ms() + IPV6_AVOIDED_MS, __ATOMIC_RELAXED);
	return is_news ? IPV6_LEADS_NOWHERE : IPV6_NO_NEWS;
}

/* Under the lock. */
static enum ipv6_news
forget(struct ipv6 *ipv6)
{
	bool is_news = ipv6->is_told;

	ipv6->failed_count = 0;
	ipv6->has_failed = ipv6->is_told = false;
	__atomic_store_n(&ipv6->avoided_until_ms, 0, __ATOMIC_RELAXED);
	return is_news ? IPV6_WORKS_AGAIN : IPV6_NO_NEWS;
}

enum ipv6_news
ipv6_note_reached(struct ipv6 *ipv6, const struct address *address)
{
	enum ipv6_news news;

	pthread_mutex_lock(&ipv6->lock);
	ipv6->has_v4 |= !is_v6(address);
	news = is_v6(address) ? forget(ipv6) : judge(ipv6);
	pthread_mutex_unlock(&ipv6->lock);
	return news;
}

enum ipv6_news
ipv6_note_unreached(struct ipv6 *ipv6, const struct address *address)
{
	enum ipv6_news news;

	if (!is_v6(address))
		return IPV6_NO_NEWS;
	pthread_mutex_lock(&ipv6->lock);
	failed_add(ipv6, network_of(address));
	ipv6->has_failed = true;
	news = judge(ipv6);
	pthread_mutex_unlock(&ipv6->lock);
	return news;
}

bool
ipv6_is_avoided(const struct ipv6 *ipv6)
{
	return clock_now_ms() < __atomic_load_n(&ipv6->avoided_until_ms,
						__ATOMIC_RELAXED);
}
