#include <stdlib.h>

#include "milter/idn.h"
#include "relay/delivery/exchangers.h"
#include "relay/delivery/hosts_private.h"
#include "relay/delivery/reach.h"
#include "relay/own.h"

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

size_t
hosts_in_turn(const struct hosts *hosts, unsigned turn, size_t i)
{
	const struct host *items = hosts->items;
	size_t starts[MX_ADDRESSES_MAX];
	size_t equal = 0, names = 0;

	ASSERT(i < hosts->count);
	for (; equal < hosts->count &&
	       items[equal].preference == items[0].preference;
	     equal++)
		if (equal == 0 ||
		    !slice_eq(items[equal].name, items[equal - 1].name))
			starts[names++] = equal;
	return i < equal ? (starts[turn % names] + i) % equal : i;
}

static struct hosts *
hosts_new(void)
{
	struct hosts *hosts = memory_new(sizeof(*hosts));

	hosts->arena = ARENA_SMALL;
	hosts->references = 1;
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

/* --- putting the list together --- */

/* Lessens the two until they fit, so that neither crowds out the other: who has
 * one broken family still comes to the other. */
static void
families_fit(size_t room, size_t *v4, size_t *v6)
{
	if (*v4 + *v6 <= room)
		return;
	if (*v6 <= room / 2) {
		*v4 = room - *v6;
	} else if (*v4 <= room / 2) {
		*v6 = room - *v4;
	} else {
		*v4 = room / 2;
		*v6 = room - room / 2;
	}
}

/* All hosts, before what is too much of them is left out. */
struct hosts_list {
	struct host *items;
	size_t count;
};

static void
list_add(struct hosts_list *list, const struct hosts_lookup *lookup,
	 const struct address *address)
{
	for (size_t i = 0; i < list->count; i++)
		if (address_eq(&list->items[i].address, address))
			return; /* better known by the other name */
	list->items[list->count++] = (struct host){
		.name = lookup->name,
		.preference = lookup->preference,
		.address = *address,
	};
}

static void
list_add_lookup(struct hosts_list *list, const struct hosts_lookup *lookup,
		enum ipv6_use ipv6)
{
	size_t v4_count = lookup->v4.count, v6_count = lookup->v6.count;
	size_t v4 = 0, v6 = 0;

	families_fit(MX_HOST_ADDRESSES_MAX, &v4_count, &v6_count);
	while (v4 < v4_count || v6 < v6_count) {
		if (v6 < v6_count)
			list_add(list, lookup, &lookup->v6.addresses[v6++]);
		if (v4 < v4_count && (ipv6 != IPV6_PREFER || v6 == v6_count))
			list_add(list, lookup, &lookup->v4.addresses[v4++]);
	}
}

static bool
host_is_v6(const struct host *host)
{
	return host->address.any.sa_family == AF_INET6;
}

static void
hosts_take_list(struct hosts *hosts, const struct hosts_list *list)
{
	size_t room[2] = {0, 0}; /* for IPv4, IPv6 */

	for (size_t i = 0; i < list->count; i++)
		room[host_is_v6(&list->items[i])]++;
	families_fit(MX_ADDRESSES_MAX, &room[0], &room[1]);
	hosts->items = arena_array(&hosts->arena, room[0] + room[1],
				   sizeof(*hosts->items));
	for (size_t i = 0; i < list->count; i++) {
		bool is_v6 = host_is_v6(&list->items[i]);

		if (room[is_v6] == 0)
			continue;
		room[is_v6]--;
		hosts->items[hosts->count++] = list->items[i];
	}
}

/* RFC 5321 5.1: who is in the list himself sends only to better ones. What the
 * configuration names is no such list: there only he is left out. */
static void
lookups_drop_own(struct hosts_query *query)
{
	size_t kept = 0;

	for (size_t i = 0; i < query->lookups_count; i++)
		if (query->lookups[i].is_own &&
		    query->lookups[i].preference < query->own_preference)
			query->own_preference = query->lookups[i].preference;
	if (!query->route.is_direct)
		return;
	while (kept < query->lookups_count &&
	       query->lookups[kept].preference < query->own_preference)
		kept++;
	query->lookups_count = kept;
}

static int
lookup_compare(const void *a, const void *b)
{
	const struct hosts_lookup *left = *(struct hosts_lookup *const *)a;
	const struct hosts_lookup *right = *(struct hosts_lookup *const *)b;
	int names = slice_compare(left->name, right->name);

	return names != 0 ? names : left->port - right->port;
}

/* Of the names alone: preferences differ in how they are spelt, addresses from
 * one answer to the next. */
static void
hosts_key(struct hosts_query *query)
{
	size_t count = query->lookups_count;
	struct hosts_lookup **lookups = arena_array(&query->arena, count + 1,
						    sizeof(struct hosts_lookup *));
	CLEAN(text_done) struct text key = {0};

	for (size_t i = 0; i < count; i++)
		lookups[i] = &query->lookups[i];
	qsort(lookups, count, sizeof(*lookups), lookup_compare);
	for (size_t i = 0; i < count; i++)
		text_addf(&key, "%.*s:%u\n", SLICE_ARG(lookups[i]->name),
			  lookups[i]->port);
	query->hosts->key = arena_copy(&query->hosts->arena, text_slice(&key));
}

static struct hosts *
hosts_finish(struct hosts_query *query)
{
	CLEAN(clean_memory) struct host *items = NULL;
	struct hosts_list list;

	lookups_drop_own(query);
	items = memory_array(query->lookups_count * MX_HOST_ADDRESSES_MAX + 1,
			     sizeof(*items));
	list = (struct hosts_list){items, 0};
	for (size_t i = 0; i < query->lookups_count; i++)
		list_add_lookup(&list, &query->lookups[i],
				query->options->delivery.ipv6);
	hosts_take_list(query->hosts, &list);
	hosts_key(query);
	if (query->hosts->count == 0)
		hosts_explain(query);
	arena_done(&query->arena);
	return TAKE(query->hosts);
}

/* --- addresses --- */

static void
found_take(struct hosts_found *found, const struct address *written)
{
	struct hosts_lookup *lookup = found->lookup;
	const struct options *options = lookup->query->options;
	bool is_direct = lookup->query->route.is_direct;
	struct address address = *written;
	enum reach reach;

	address_unmap(&address);
	address_set_port(&address, lookup->port);
	if (own_is_address(options, &address)) {
		lookup->is_own = true;
		return;
	}
	reach = reach_check(options, &address, !is_direct);
	lookup->reaches |= 1u << reach;
	if (reach != REACH_GOOD || found->count == MX_HOST_ADDRESSES_MAX)
		return;
	if (found->addresses == NULL)
		found->addresses = arena_array(&lookup->query->arena,
					       MX_HOST_ADDRESSES_MAX,
					       sizeof(address));
	found->addresses[found->count++] = address;
}

static void
found_done(struct dns_query *dns_query, const struct dns_answer *answer)
{
	struct hosts_found *found =
		CONTAINER(dns_query, struct hosts_found, query);
	struct hosts_query *query = found->lookup->query;
	size_t count = answer->count < MX_HOST_ADDRESSES_LOOKED_AT
			       ? answer->count
			       : MX_HOST_ADDRESSES_LOOKED_AT;

	found->is_waiting = false;
	if (answer->status == DNS_FAILED)
		found->failure = answer->reason;
	for (size_t i = 0; i < count; i++)
		found_take(found, &answer->records[i].address);
	ASSERT(query->waiting > 0);
	if (--query->waiting == 0)
		query->done(query, hosts_finish(query));
}

static void
found_start(struct hosts_found *found, enum dns_type type)
{
	struct hosts_query *query = found->lookup->query;

	found->query.done = found_done;
	found->query.is_prompt = query->is_prompt;
	found->is_waiting = true;
	query->waiting++;
	dns_start(query->dns, &found->query, found->lookup->name, type);
}

static void
lookup_add(struct hosts_query *query, struct slice name, uint16_t port,
	   unsigned preference)
{
	struct hosts_lookup *lookup = &query->lookups[query->lookups_count++];

	lookup->query = query;
	lookup->name = arena_copy(&query->hosts->arena, name);
	lookup->port = port;
	lookup->preference = preference;
	lookup->v4.lookup = lookup->v6.lookup = lookup;
}

static void
lookups_new(struct hosts_query *query, size_t max)
{
	query->lookups = arena_array(&query->arena, max,
				     sizeof(*query->lookups));
	query->lookups_count = 0;
}

static void
lookups_start(struct hosts_query *query)
{
	for (size_t i = 0; i < query->lookups_count; i++) {
		if (query->lookups[i].is_address)
			continue;
		found_start(&query->lookups[i].v4, DNS_A);
		found_start(&query->lookups[i].v6, DNS_AAAA);
	}
}

/* Of a domain without MX: RFC 5321 5.1. */
static void
lookups_start_one(struct hosts_query *query)
{
	lookups_new(query, 1);
	lookup_add(query, query->domain, query->route.port, 0);
	lookups_start(query);
}

/* --- MX --- */

static void
mx_give_up(struct hosts_query *query, enum outcome_trouble trouble,
	   struct slice detail)
{
	hosts_trouble(query->hosts, trouble, detail);
	query->done(query, TAKE(query->hosts));
}

/* Also among those that are too many to be tried. */
static void
mx_find_own(struct hosts_query *query, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *record = &answer->records[i];

		if (own_is_name(query->options, record->name,
				query->route.port) &&
		    record->preference < query->own_preference)
			query->own_preference = record->preference;
	}
}

static void
lookup_take_address(struct hosts_query *query, const struct address *address)
{
	struct hosts_lookup *lookup = &query->lookups[query->lookups_count - 1];

	lookup->is_address = true;
	found_take(&lookup->v4, address);
}

/* A name, or an address. */
static void
lookup_add_host(struct hosts_query *query, struct slice host, uint16_t port,
		unsigned preference)
{
	struct address address;

	lookup_add(query, host, port, preference);
	if (address_parse_host(host, port, &address))
		lookup_take_address(query, &address);
}

/* Those before the one that bears our name. */
static void
mx_take(struct hosts_query *query, const struct exchangers *exchangers)
{
	query->has_mx = true;
	query->has_left_over = exchangers->left_over > 0;
	query->no_host = arena_copy(&query->hosts->arena, exchangers->no_host);
	lookups_new(query, exchangers->count);
	for (size_t i = 0; i < exchangers->count; i++)
		if (exchangers->items[i].preference < query->own_preference)
			lookup_add_host(query, exchangers->items[i].name,
					query->route.port,
					exchangers->items[i].preference);
	lookups_start(query);
	if (query->waiting == 0)
		query->done(query, hosts_finish(query));
}

static void
mx_done(struct dns_query *dns_query, const struct dns_answer *answer)
{
	struct hosts_query *query =
		CONTAINER(dns_query, struct hosts_query, mx);
	struct exchangers exchangers;

	query->is_asking_mx = false;
	switch (answer->status) {
	case DNS_FAILED:
		hosts_dns_trouble(query->hosts, "MX", query->domain,
				  answer->reason);
		query->done(query, TAKE(query->hosts));
		return;
	case DNS_NO_NAME:
		/* Some servers say so of what has other records only. */
		query->no_name = answer->reason != NULL
					 ? answer->reason
					 : "NXDOMAIN: is it spelt right?";
		lookups_start_one(query);
		return;
	case DNS_NO_DATA:
		lookups_start_one(query);
		return;
	case DNS_FOUND:
		break;
	}
	mx_find_own(query, answer);
	exchangers_take(&exchangers, answer->records, answer->count);
	if (exchangers.is_null)
		mx_give_up(query, TROUBLE_NULL_MX, SLICE_NONE);
	else
		mx_take(query, &exchangers);
}

/* --- start --- */

static struct hosts *
hosts_of_bad_name(struct hosts_query *query, struct slice why)
{
	hosts_trouble(query->hosts, TROUBLE_BAD_NAME, why);
	return TAKE(query->hosts);
}

/* "[IPv6:2001:db8::1]" of a recipient. */
static struct hosts *
hosts_of_literal(struct hosts_query *query, struct slice literal)
{
	struct address address;

	if (!address_parse_host(literal, query->route.port, &address))
		return hosts_of_bad_name(query, SLICE("no address literal"));
	lookups_new(query, 1);
	lookup_add(query, literal, query->route.port, 0);
	lookup_take_address(query, &address);
	return hosts_finish(query);
}

/* Of a smarthost or route. */
static struct hosts *
hosts_of_hops(struct hosts_query *query)
{
	const struct route *route = &query->route;

	if (route->hops_count == 0) {
		hosts_trouble(query->hosts, TROUBLE_LOCAL,
			      SLICE("its route is no more"));
		return TAKE(query->hosts);
	}
	lookups_new(query, route->hops_count);
	for (size_t i = 0; i < route->hops_count; i++)
		lookup_add_host(query, route->hops[i].host, route->hops[i].port,
				(unsigned)i);
	lookups_start(query);
	return query->waiting > 0 ? NULL : hosts_finish(query);
}

struct hosts *
hosts_start(struct hosts_query *query, struct dns *dns,
	    const struct options *options, const struct route *route)
{
	void (*done)(struct hosts_query *, struct hosts *) = query->done;
	struct fault fault;

	ASSERT(done != NULL);
	*query = (struct hosts_query){.done = done,
				      .is_prompt = query->is_prompt,
				      .options = options,
				      .route = *route,
				      .dns = dns,
				      .own_preference = HOSTS_NOT_OWN,
				      .arena = ARENA_SMALL,
				      .hosts = hosts_new()};
	if (!route->is_direct)
		return hosts_of_hops(query);
	if (slice_starts(route->domain, SLICE("[")))
		return hosts_of_literal(query, route->domain);
	/* U-labels become what the DNS has: RFC 6531 3.2. */
	if (!idn_to_ascii(route->domain, &query->hosts->arena, &query->domain,
			  &fault))
		return hosts_of_bad_name(query, SLICE(fault.text));
	query->is_asking_mx = true;
	query->mx.done = mx_done;
	query->mx.is_prompt = query->is_prompt;
	dns_start(dns, &query->mx, query->domain, DNS_MX);
	return NULL;
}

void
hosts_hurry(struct hosts_query *query)
{
	query->is_prompt = true;
	if (query->is_asking_mx)
		dns_hurry(&query->mx);
	for (size_t i = 0; i < query->lookups_count; i++) {
		if (query->lookups[i].v4.is_waiting)
			dns_hurry(&query->lookups[i].v4.query);
		if (query->lookups[i].v6.is_waiting)
			dns_hurry(&query->lookups[i].v6.query);
	}
}

void
hosts_cancel(struct hosts_query *query)
{
	if (query->is_asking_mx)
		dns_cancel(&query->mx);
	for (size_t i = 0; i < query->lookups_count; i++) {
		if (query->lookups[i].v4.is_waiting)
			dns_cancel(&query->lookups[i].v4.query);
		if (query->lookups[i].v6.is_waiting)
			dns_cancel(&query->lookups[i].v6.query);
	}
	arena_done(&query->arena);
	hosts_unref(query->hosts);
	query->hosts = NULL;
}
