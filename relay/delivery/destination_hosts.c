#include <stdlib.h>

#include "relay/delivery/destination_private.h"

/* How long hosts are used before the DNS (or its cache) is asked again. */
#define HOSTS_FRESH_MS (1 * MINUTE)
#define HOSTS_TROUBLE_MS (1 * SECOND)
/* Leases that one failure of the DNS defers. */
#define DEFER_MAX 8

static void
hosts_forget(struct delivery_destination *destination)
{
	if (destination->hosts != NULL)
		hosts_unref(TAKE(destination->hosts));
	if (destination->generation != NULL)
		generation_unref(TAKE(destination->generation));
}

void
hosts_let_go(struct delivery_destination *destination)
{
	if (destination->is_resolving)
		hosts_cancel(&destination->query);
	hosts_forget(destination);
	if (destination->site != NULL)
		site_unref(TAKE(destination->site));
}

bool
hosts_are_fresh(const struct delivery_destination *destination)
{
	return destination->hosts != NULL &&
	       destination->generation ==
		       destination->schedule->loop->generation &&
	       clock_now_ms() < destination->hosts_until_ms;
}

/* Whatever makes one connection to the same hosts another than the next is part
 * of the key, because connections pass from one destination of a site to
 * another: here the section of the configuration that says how to talk to them,
 * and all of its options with it. */
static struct site *
site_of(const struct delivery_destination *destination,
	const struct hosts *hosts)
{
	CLEAN(text_done) struct text key = {0};

	text_addf(&key, "%zu\n", destination->route.login);
	text_add(&key, hosts->key);
	return site_find(destination->service->sites, text_slice(&key));
}

static void
hosts_set(struct delivery_destination *destination, struct hosts *hosts)
{
	const struct delivery_options *options =
		&destination->generation->options->delivery;
	struct site *before = destination->site;

	destination->is_resolving = false;
	destination->hosts = hosts;
	destination->hosts_until_ms =
		clock_now_ms() +
		(hosts->count > 0 ? HOSTS_FRESH_MS : HOSTS_TROUBLE_MS);
	if (hosts->count == 0)
		return;
	destination->site = site_of(destination, hosts);
	if (before != NULL)
		site_unref(before);
	site_limit(destination->site,
		   (unsigned)options->max_host_connections);
	sites_limit(destination->service->sites,
		    options->max_outgoing > 0
			    ? (unsigned)options->max_outgoing
			    : destination->service->outgoing_default);
}

static void
hosts_done(struct hosts_query *query, struct hosts *hosts)
{
	struct delivery_destination *destination =
		CONTAINER(query, struct delivery_destination, query);

	hosts_set(destination, hosts);
	destination_pump(destination);
}

void
hosts_ask(struct delivery_destination *destination)
{
	struct loop *loop = destination->schedule->loop;
	struct hosts *hosts;
	struct fault fault;

	ASSERT(!destination->is_resolving);
	hosts_forget(destination);
	destination->generation = generation_ref(loop->generation);
	destination->query.done = hosts_done;
	destination->is_resolving = true;
	/* Without one after a reload: then every delivery is taken from it
	 * before it is tried, and what is said of the hosts is never heard. */
	if (!route_find(loop->generation->options, destination->schedule->name,
			&destination->route, &fault))
		destination->route =
			(struct route){.domain = destination->schedule->name};
	hosts = hosts_start(&destination->query, loop->dns,
			    loop->generation->options, &destination->route);
	if (hosts != NULL)
		hosts_set(destination, hosts);
}

void
hosts_report_trouble(struct delivery_destination *destination)
{
	const struct hosts *hosts = destination->hosts;
	struct fate fate = outcome_of_trouble(hosts->trouble);
	CLEAN(text_done) struct text words = {0};
	struct recipient_result result = {
		.outcome = fate.outcome,
		.status = SLICE(fate.status),
	};
	struct attempt *attempt;
	size_t count = 0;

	text_add_string(&words, fate.words);
	if (hosts->detail.len > 0)
		text_addf(&words, " (%.*s)", SLICE_ARG(hosts->detail));
	result.reply = text_slice(&words);
	destination_note_trouble(destination, result.reply);
	while ((fate.outcome == OUTCOME_FAILED || count < DEFER_MAX) &&
	       (attempt = destination_take(destination)) != NULL) {
		attempt_fill(attempt, &result);
		attempt->is_unreached = true;
		destination_settle(destination, attempt);
		count++;
	}
	if (fate.outcome == OUTCOME_DEFERRED && count > 0)
		destination_pause(destination,
				  pace_back_off(&destination->backoff_ms,
						destination_pause_max_ms(
							destination)));
}
