#include <stdlib.h>
#include <sys/random.h>

#include "relay/delivery/hosts.h"

/* A and AAAA of one name. */
struct hosts_lookup {
	struct hosts_query *query;
	struct slice name;
	unsigned preference;
	struct dns_query v4, v6;
	bool v4_waits, v6_waits, has_failed;
	struct address *v4_found, *v6_found;
	size_t v4_count, v6_count;
};

/* --- hosts --- */

bool
host_is_before(const uint64_t *until_ms)
{
	return clock_now_ms() < __atomic_load_n(until_ms, __ATOMIC_RELAXED);
}

void
host_note(uint64_t *until_ms, uint64_t duration_ms)
{
	__atomic_store_n(until_ms,
			 duration_ms == 0 ? 0 : clock_now_ms() + duration_ms,
			 __ATOMIC_RELAXED);
}

static struct hosts *
hosts_new(void)
{
	struct hosts *hosts = memory_new(sizeof(*hosts));

	hosts->references = 1;
	hosts->items = arena_array(&hosts->arena, MX_ADDRESSES_MAX,
				   sizeof(*hosts->items));
	return hosts;
}

struct hosts *
hosts_ref(struct hosts *hosts)
{
	ASSERT(__atomic_fetch_add(&hosts->references, 1, __ATOMIC_RELAXED) > 0);
	return hosts;
}

void
hosts_unref(struct hosts *hosts)
{
	int before = __atomic_fetch_sub(&hosts->references, 1,
					__ATOMIC_ACQ_REL);

	ASSERT(before > 0);
	if (before > 1)
		return;
	arena_done(&hosts->arena);
	free(hosts);
}

static void
hosts_trouble(struct hosts *hosts, enum outcome_trouble trouble,
	      struct slice detail)
{
	hosts->count = 0;
	hosts->trouble = trouble;
	hosts->detail = arena_copy(&hosts->arena, detail);
}

/* --- is it ourselves? --- */

static bool
interface_has(const struct address *address)
{
	uv_interface_address_t *interfaces;
	int count;
	bool is_found = false;

	if (uv_interface_addresses(&interfaces, &count) != 0)
		return false;
	for (int i = 0; i < count && !is_found; i++) {
		struct address own = {.len = 0};
		bool is_v6 = interfaces[i].address.address4.sin_family ==
			     AF_INET6;

		if (is_v6)
			own.v6 = interfaces[i].address.address6;
		else
			own.v4 = interfaces[i].address.address4;
		own.len = is_v6 ? sizeof(own.v6) : sizeof(own.v4);
		address_set_port(&own, address_port(address));
		if (is_v6)
			own.v6.sin6_scope_id = address->v6.sin6_scope_id;
		is_found = own.any.sa_family == address->any.sa_family &&
			   address_eq(&own, address);
	}
	uv_free_interface_addresses(interfaces, count);
	return is_found;
}

static bool
address_is_loopback(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
	return address->any.sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static bool
host_is_own(const struct options *options, const struct host *host)
{
	uint16_t port = address_port(&host->address);

	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];

		if (listener->address.any.sa_family == AF_UNIX ||
		    address_port(&listener->address) != port)
			continue;
		if (slice_eq_nocase(host->name, options->hostname) ||
		    address_eq(&listener->address, &host->address))
			return true;
		if (listener->is_any &&
		    (address_is_loopback(&host->address) ||
		     interface_has(&host->address)))
			return true;
	}
	return false;
}

/* RFC 5321 5.1: who is in the list himself sends only to better ones. */
static bool
hosts_drop_own(struct hosts *hosts, const struct options *options)
{
	unsigned own = UINT32_MAX;
	size_t kept = 0;

	for (size_t i = 0; i < hosts->count; i++)
		if (hosts->items[i].preference < own &&
		    host_is_own(options, &hosts->items[i]))
			own = hosts->items[i].preference;
	if (own == UINT32_MAX)
		return false;
	while (kept < hosts->count && hosts->items[kept].preference < own)
		kept++;
	hosts->count = kept;
	return true;
}

/* --- putting the list together --- */

/* Whether this machine has an IPv6 address that leads anywhere. */
static bool
has_v6(void)
{
	uv_interface_address_t *interfaces;
	int count;
	bool is_found = false;

	if (uv_interface_addresses(&interfaces, &count) != 0)
		return true;
	for (int i = 0; i < count && !is_found; i++) {
		const struct sockaddr_in6 *own =
			&interfaces[i].address.address6;

		is_found = own->sin6_family == AF_INET6 &&
			   !IN6_IS_ADDR_LOOPBACK(&own->sin6_addr) &&
			   !IN6_IS_ADDR_LINKLOCAL(&own->sin6_addr);
	}
	uv_free_interface_addresses(interfaces, count);
	return is_found;
}

static void
hosts_add(struct hosts_query *query, const struct hosts_lookup *lookup,
	  const struct address *address, bool is_name)
{
	struct hosts *hosts = query->hosts;
	struct host *host;

	if (hosts->count >= MX_ADDRESSES_MAX)
		return;
	host = &hosts->items[hosts->count++];
	host->name = lookup->name;
	host->is_name = is_name;
	host->preference = lookup->preference;
	host->address = *address;
	address_set_port(&host->address, query->route.port);
}

static void
lookup_take_hosts(struct hosts_query *query, const struct hosts_lookup *lookup)
{
	size_t v4 = 0, v6 = 0;
	bool use_v6 = lookup->v6_count > 0 &&
		      (address_is_loopback(&lookup->v6_found[0]) || has_v6());

	query->has_left_out_v6 |= lookup->v6_count > 0 && !use_v6;
	while (v4 < lookup->v4_count ||
	       (use_v6 && v6 < lookup->v6_count)) {
		if (use_v6 && v6 < lookup->v6_count)
			hosts_add(query, lookup, &lookup->v6_found[v6++], true);
		if (v4 < lookup->v4_count)
			hosts_add(query, lookup, &lookup->v4_found[v4++], true);
	}
}

static struct hosts *
hosts_finish(struct hosts_query *query)
{
	struct hosts *hosts = query->hosts;
	bool has_failed = false;

	for (size_t i = 0; i < query->lookups_count; i++) {
		lookup_take_hosts(query, &query->lookups[i]);
		has_failed |= query->lookups[i].has_failed;
	}
	query->hosts = NULL;
	if (hosts->count > 0) {
		if (hosts_drop_own(hosts, query->options) && hosts->count == 0)
			hosts_trouble(hosts, TROUBLE_LOOP, SLICE_NONE);
	} else if (has_failed) {
		hosts_trouble(hosts, TROUBLE_DNS, hosts->detail);
	} else if (query->has_left_out_v6) {
		/* It may have one again, or be given one. */
		hosts_trouble(hosts, TROUBLE_NO_CONNECTION,
			      SLICE("its hosts have only IPv6 addresses, and "
				    "this machine has none"));
	} else if (query->route.is_direct) {
		hosts_trouble(hosts, TROUBLE_NO_HOST, SLICE_NONE);
	} else {
		/* Our own configuration names it: that can be mended. */
		hosts_trouble(hosts, TROUBLE_DNS,
			      arena_printf(&hosts->arena,
					   "'%.*s' has no address",
					   SLICE_ARG(query->route.host)));
	}
	return hosts;
}

/* --- addresses --- */

static void
lookup_take(struct hosts_lookup *lookup, const struct dns_answer *answer,
	    struct address **found_out, size_t *count_out)
{
	struct hosts_query *query = lookup->query;
	struct arena *arena = &query->hosts->arena;
	size_t count = answer->count < MX_ADDRESSES_MAX ? answer->count
							: MX_ADDRESSES_MAX;

	if (answer->status == DNS_FAILED) {
		lookup->has_failed = true;
		query->hosts->detail = arena_copy(arena, SLICE(answer->reason));
	}
	*found_out = arena_array(arena, count + 1, sizeof(**found_out));
	for (size_t i = 0; i < count; i++)
		(*found_out)[i] = answer->records[i].address;
	*count_out = count;
	ASSERT(query->waiting > 0);
	if (--query->waiting == 0)
		query->done(query, hosts_finish(query));
}

static void
lookup_v4_done(struct dns_query *dns_query, const struct dns_answer *answer)
{
	struct hosts_lookup *lookup =
		CONTAINER(dns_query, struct hosts_lookup, v4);

	lookup->v4_waits = false;
	lookup_take(lookup, answer, &lookup->v4_found, &lookup->v4_count);
}

static void
lookup_v6_done(struct dns_query *dns_query, const struct dns_answer *answer)
{
	struct hosts_lookup *lookup =
		CONTAINER(dns_query, struct hosts_lookup, v6);

	lookup->v6_waits = false;
	lookup_take(lookup, answer, &lookup->v6_found, &lookup->v6_count);
}

static void
lookups_start(struct hosts_query *query)
{
	query->waiting = 2 * query->lookups_count;
	for (size_t i = 0; i < query->lookups_count; i++) {
		struct hosts_lookup *lookup = &query->lookups[i];

		lookup->query = query;
		lookup->v4.done = lookup_v4_done;
		lookup->v6.done = lookup_v6_done;
		lookup->v4_waits = lookup->v6_waits = true;
		dns_start(query->dns, &lookup->v4, lookup->name, DNS_A);
		dns_start(query->dns, &lookup->v6, lookup->name, DNS_AAAA);
	}
}

static void
lookup_one(struct hosts_query *query, struct slice name)
{
	struct arena *arena = &query->hosts->arena;

	query->lookups = arena_array(arena, 1, sizeof(*query->lookups));
	query->lookups_count = 1;
	query->lookups[0].name = arena_copy(arena, name);
	lookups_start(query);
}

/* --- MX --- */

static uint32_t
random_below(uint32_t bound)
{
	uint32_t number;

	ASSERT(getrandom(&number, sizeof(number), 0) ==
	       (ssize_t)sizeof(number));
	return number % bound;
}

static int
record_compare(const void *a, const void *b)
{
	const struct dns_record *left = a, *right = b;

	return (left->preference > right->preference) -
	       (left->preference < right->preference);
}

/* Shuffled first, then sorted by insertion, which keeps equals as they are. */
static void
records_order(struct dns_record *records, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = random_below((uint32_t)i);
		struct dns_record held = records[i - 1];

		records[i - 1] = records[j];
		records[j] = held;
	}
	for (size_t i = 1; i < count; i++) {
		struct dns_record held = records[i];
		size_t j = i;

		for (; j > 0 && record_compare(&records[j - 1], &held) > 0; j--)
			records[j] = records[j - 1];
		records[j] = held;
	}
}

static void
mx_take(struct hosts_query *query, const struct dns_answer *answer)
{
	struct arena *arena = &query->hosts->arena;
	struct dns_record *records =
		arena_array(arena, answer->count, sizeof(*records));
	size_t max = answer->count < MX_HOSTS_MAX ? answer->count
						  : MX_HOSTS_MAX;

	memcpy(records, answer->records, answer->count * sizeof(*records));
	records_order(records, answer->count);
	query->lookups = arena_array(arena, max, sizeof(*query->lookups));
	for (size_t i = 0; i < answer->count && query->lookups_count < max;
	     i++) {
		struct hosts_lookup *lookup =
			&query->lookups[query->lookups_count];

		if (records[i].name.len == 0)
			continue; /* a null MX among others means nothing */
		lookup->name = arena_copy(arena, records[i].name);
		lookup->preference = records[i].preference;
		query->lookups_count++;
	}
}

static void
mx_give_up(struct hosts_query *query, enum outcome_trouble trouble,
	   struct slice detail)
{
	hosts_trouble(query->hosts, trouble, detail);
	query->done(query, TAKE(query->hosts));
}

static void
mx_done(struct dns_query *dns_query, const struct dns_answer *answer)
{
	struct hosts_query *query =
		CONTAINER(dns_query, struct hosts_query, mx);

	query->is_asking_mx = false;
	switch (answer->status) {
	case DNS_FAILED:
		mx_give_up(query, TROUBLE_DNS, SLICE(answer->reason));
		return;
	case DNS_NO_NAME:
		mx_give_up(query, TROUBLE_NO_NAME, SLICE(answer->reason));
		return;
	case DNS_NO_DATA:
		/* The implicit MX: RFC 5321 5.1. */
		lookup_one(query, query->route.host);
		return;
	case DNS_FOUND:
		break;
	}
	mx_take(query, answer);
	if (query->lookups_count == 0) {
		mx_give_up(query, TROUBLE_NULL_MX, SLICE_NONE);
		return;
	}
	lookups_start(query);
}

/* --- start --- */

static struct hosts *
hosts_of_address(struct hosts_query *query, const struct address *address)
{
	struct hosts_lookup lookup = {.name = query->route.host};
	struct hosts *hosts = query->hosts;

	hosts_add(query, &lookup, address, false);
	if (hosts_drop_own(hosts, query->options))
		hosts_trouble(hosts, TROUBLE_LOOP, SLICE_NONE);
	query->hosts = NULL;
	return hosts;
}

struct hosts *
hosts_start(struct hosts_query *query, struct dns *dns,
	    const struct options *options, const struct route *route,
	    struct slice destination)
{
	void (*done)(struct hosts_query *, struct hosts *) = query->done;
	struct address address;
	struct slice name = route->is_direct ? destination : route->host;

	ASSERT(done != NULL);
	*query = (struct hosts_query){.done = done,
				      .options = options,
				      .route = *route,
				      .dns = dns,
				      .hosts = hosts_new()};
	query->route.host = arena_copy(&query->hosts->arena, name);
	if ((!route->is_direct || slice_starts(name, SLICE("["))) &&
	    address_parse_host(name, route->port, &address))
		return hosts_of_address(query, &address);
	if (slice_starts(name, SLICE("["))) {
		hosts_trouble(query->hosts, TROUBLE_BAD_NAME, SLICE_NONE);
		return TAKE(query->hosts);
	}
	if (!route->is_direct) {
		lookup_one(query, query->route.host);
		return NULL;
	}
	query->is_asking_mx = true;
	query->mx.done = mx_done;
	dns_start(dns, &query->mx, query->route.host, DNS_MX);
	return NULL;
}

void
hosts_cancel(struct hosts_query *query)
{
	if (query->is_asking_mx)
		dns_cancel(&query->mx);
	for (size_t i = 0; i < query->lookups_count; i++) {
		if (query->lookups[i].v4_waits)
			dns_cancel(&query->lookups[i].v4);
		if (query->lookups[i].v6_waits)
			dns_cancel(&query->lookups[i].v6);
	}
	hosts_unref(query->hosts);
	query->hosts = NULL;
}
