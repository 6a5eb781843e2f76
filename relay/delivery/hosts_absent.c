#include "relay/delivery/hosts_private.h"

#include "relay/delivery/reach.h"

void
hosts_trouble(struct hosts *hosts, enum outcome_trouble trouble,
	      struct slice detail)
{
	hosts->count = 0;
	hosts->trouble = trouble;
	hosts->detail = arena_copy(&hosts->arena, detail);
}

void
hosts_dns_trouble(struct hosts *hosts, const char *type, struct slice name,
		  const char *reason)
{
	hosts_trouble(hosts, TROUBLE_DNS,
		      arena_printf(&hosts->arena,
				   "%s of %.*s: %s; where other domains fail "
				   "too, see to dns.resolvers",
				   type, SLICE_ARG(name), reason));
}

static bool
has_seen(const struct hosts_query *query, enum reach reach)
{
	for (size_t i = 0; i < query->lookups_count; i++)
		if ((query->lookups[i].reaches & (1u << reach)) != 0)
			return true;
	return false;
}

static bool
hosts_explain_failure(const struct hosts_query *query)
{
	for (size_t i = 0; i < query->lookups_count; i++) {
		const struct hosts_lookup *lookup = &query->lookups[i];

		if (lookup->v4.failure == NULL && lookup->v6.failure == NULL)
			continue;
		hosts_dns_trouble(query->hosts,
				  lookup->v4.failure != NULL ? "A" : "AAAA",
				  lookup->name,
				  lookup->v4.failure != NULL
					  ? lookup->v4.failure
					  : lookup->v6.failure);
		return true;
	}
	return false;
}

static void
hosts_loop_trouble(struct hosts_query *query)
{
	/* A mistake of ours, or of the DNS that we asked: the recipient's
	 * domain has no part in it, and reports would go the same way. */
	if (!query->route.is_direct)
		hosts_trouble(query->hosts, TROUBLE_OWN_NEXT_HOP,
			      SLICE("smarthost or route lead to a listener of "
				    "its own: correct what they name, or what "
				    "the DNS says of it"));
	else if (query->lookups_count > 0)
		hosts_trouble(query->hosts, TROUBLE_NO_PRIMARY,
			      SLICE("the MX hosts before it have no address "
				    "that can be used: their owner has to mend "
				    "that, or give the domain a route"));
	else
		hosts_trouble(query->hosts, TROUBLE_LOOP,
			      SLICE("it is the domain's best MX: give the "
				    "domain a route to where its mail belongs, "
				    "or correct the MX"));
}

/* What the domain's owner has to mend. */
static struct slice
no_host_detail(const struct hosts_query *query)
{
	struct arena *arena = &query->hosts->arena;

	if (has_seen(query, REACH_IPV6_OFF))
		return SLICE("its hosts have only IPv6 addresses, and "
			     "delivery.ipv6 is off");
	if (has_seen(query, REACH_NOWHERE))
		return SLICE("its hosts have only addresses such as 0.0.0.0, "
			     "which are nobody's: its owner has to mend that");
	if (query->lookups_count == 0)
		return arena_printf(arena,
				    "its MX names '%.*s', which is not the "
				    "name of a host: its owner has to mend "
				    "that",
				    SLICE_ARG(query->no_host));
	if (query->has_mx)
		return arena_printf(arena,
				    "its MX names '%.*s', which has neither A "
				    "nor AAAA: its owner has to mend that",
				    SLICE_ARG(query->lookups[0].name));
	return SLICE("neither MX nor A nor AAAA: is it spelt right?");
}

/* What may pass is waited for; the rest is told at once. */
void
hosts_explain(struct hosts_query *query)
{
	struct hosts *hosts = query->hosts;

	if (hosts_explain_failure(query))
		return;
	if (has_seen(query, REACH_NO_ROUTE))
		hosts_trouble(hosts, TROUBLE_NO_CONNECTION,
			      SLICE("its hosts have only IPv6 addresses, and "
				    "this machine has no way to them"));
	else if (query->own_preference != HOSTS_NOT_OWN)
		hosts_loop_trouble(query);
	else if (!query->route.is_direct)
		hosts_trouble(hosts, TROUBLE_DNS,
			      arena_printf(&hosts->arena,
					   "'%.*s', which the configuration "
					   "names, has no address",
					   SLICE_ARG(query->lookups[0].name)));
	else if (query->has_left_over)
		hosts_trouble(hosts, TROUBLE_DNS,
			      SLICE("none of its best MX hosts has an address, "
				    "and there are too many to ask for all"));
	else if (has_seen(query, REACH_REFUSED))
		hosts_trouble(hosts, TROUBLE_REFUSED_ADDRESS, SLICE_NONE);
	else if (query->no_name != NULL)
		hosts_trouble(hosts, TROUBLE_NO_NAME, SLICE(query->no_name));
	else
		hosts_trouble(hosts, TROUBLE_NO_HOST, no_host_detail(query));
}
