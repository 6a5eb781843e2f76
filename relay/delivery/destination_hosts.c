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

void
hosts_let_lapse(struct delivery_destination *destination)
{
	if (!destination->is_resolving && !hosts_are_fresh(destination))
		hosts_forget(destination);
}

static void
hosts_set(struct delivery_destination *destination, struct hosts *hosts)
{
	struct site *before = destination->site;

	destination->is_resolving = false;
	destination->hosts = hosts;
	destination->hosts_until_ms =
		clock_now_ms() +
		(hosts->count > 0 ? HOSTS_FRESH_MS : HOSTS_TROUBLE_MS);
	if (hosts->count == 0)
		return;
	destination->site =
		service_site(destination->service, destination->generation,
			     &destination->route, hosts);
	if (before != NULL)
		site_unref(before);
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
	destination->query.is_prompt = destination_is_prompt(destination);
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
hosts_say_trouble(const struct hosts *hosts, struct fate *fate_out,
	      struct text *words, struct recipient_result *result_out)
{
	*fate_out = outcome_of_trouble(hosts->trouble);
	text_add_string(words, fate_out->words);
	if (hosts->detail.len > 0)
		text_addf(words, " (%.*s)", SLICE_ARG(hosts->detail));
	*result_out = (struct recipient_result){
		.outcome = fate_out->outcome,
		.reply = text_slice(words),
		.status = SLICE(fate_out->status),
	};
}

void
hosts_report_trouble(struct delivery_destination *destination)
{
	const struct hosts *hosts = destination->hosts;
	CLEAN(text_done) struct text words = {0};
	struct recipient_result result;
	struct fate fate;
	struct attempt *attempt;
	size_t count = 0;

	hosts_say_trouble(hosts, &fate, &words, &result);
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
