#include <stdlib.h>
#include <sys/resource.h>

#include "relay/delivery/destination_private.h"

/* The schedule's callbacks have no owner. */
static struct delivery_service *the_service;

struct delivery_service *
service_of_process(void)
{
	ASSERT(the_service != NULL);
	return the_service;
}

/* What the files allow, which clients and messages need, too. */
static unsigned
outgoing_default(void)
{
	struct rlimit files;
	rlim_t count = OUTGOING_DEFAULT;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 4 < count)
		count = files.rlim_cur / 4;
	return count > 0 ? (unsigned)count : 1;
}

struct delivery_service *
delivery_service_new(struct loop *loops, size_t loops_count,
		     struct store *store)
{
	struct delivery_service *service = memory_new(sizeof(*service));

	ASSERT(the_service == NULL);
	service->loops = loops;
	service->loops_count = loops_count;
	service->store = store;
	service->peers = peers_new();
	service->sites = sites_new();
	service->outgoing_default = outgoing_default();
	service->places = memory_array(loops_count, sizeof(*service->places));
	for (size_t i = 0; i < loops_count; i++) {
		ASSERT(loops[i].index == i);
		connection_place_init(&service->places[i].connections);
		list_init(&service->places[i].destinations);
	}
	the_service = service;
	return service;
}

void
delivery_service_free(struct delivery_service *service)
{
	for (size_t i = 0; i < service->loops_count; i++) {
		ASSERT(list_is_empty(&service->places[i].destinations));
		connection_place_done(&service->places[i].connections);
	}
	the_service = NULL;
	sites_free(service->sites);
	peers_free(service->peers);
	free(service->places);
	free(service);
}

/* --- how to talk to hosts --- */

/* Whatever makes one connection to the same hosts another than the next is part
 * of the key, because connections pass from one destination of a site to
 * another: here the section of the configuration that says how to talk to them,
 * and all of its options with it. */
struct site *
service_site(struct delivery_service *service,
	     const struct generation *generation, const struct route *route,
	     const struct hosts *hosts)
{
	const struct delivery_options *options = &generation->options->delivery;
	CLEAN(text_done) struct text key = {0};
	struct site *site;

	text_addf(&key, "%zu\n", route->login);
	text_add(&key, hosts->key);
	site = site_find(service->sites, text_slice(&key));
	site_limit(site, (unsigned)options->max_host_connections);
	sites_limit(service->sites, options->max_outgoing > 0
					    ? (unsigned)options->max_outgoing
					    : service->outgoing_default);
	return site;
}

uint64_t
service_pause_max_ms(const struct generation *generation)
{
	return generation->options->delivery.retry_ms[0];
}

struct connection_settings
service_connection(struct delivery_service *service, size_t loop,
		   struct generation *generation, const struct route *route,
		   struct hosts *hosts, struct site *site)
{
	return (struct connection_settings){
		.loop = &service->loops[loop],
		.place = &service->places[loop].connections,
		.store = service->store,
		.generation = generation,
		.hosts = hosts,
		.site = site,
		.pause_max_ms = service_pause_max_ms(generation),
		.peers = service->peers,
		.tls = route->tls,
		.tls_terms = route->tls_terms,
		.implicit_tls = route->implicit_tls,
		.source = route->source,
		.sign = route->sign,
		.is_rated = route->max_rate > 0,
		.login = logins_at(generation->logins, route->login),
	};
}

void
delivery_service_reloaded(struct delivery_service *service, struct loop *loop)
{
	LIST_EACH (item, &service->places[loop->index].destinations)
		hosts_let_lapse(CONTAINER(item, struct delivery_destination,
					  link));
}

void
delivery_service_stop(struct delivery_service *service, struct loop *loop)
{
	struct delivery_place *place = &service->places[loop->index];

	connection_place_stop(&place->connections, true);
	LIST_EACH (item, &place->destinations) {
		struct delivery_destination *destination =
			CONTAINER(item, struct delivery_destination, link);

		if (destination->is_resolving) {
			hosts_cancel(&destination->query);
			destination->is_resolving = false;
		}
		destination_give_back_returned(destination);
	}
}

void
delivery_service_break_off(struct delivery_service *service, struct loop *loop)
{
	connection_place_stop(&service->places[loop->index].connections, false);
}

void
delivery_service_cut_off(struct delivery_service *service, struct loop *loop)
{
	connection_place_cut_off(&service->places[loop->index].connections);
}

/* --- looking --- */

static void
state_fill(struct delivery_destination *destination,
	   struct destination_state *state)
{
	uint64_t now_ms = clock_now_ms();

	*state = (struct destination_state){
		.name = destination->schedule->name,
		.connections = destination->connections_count,
		.is_resolving = destination->is_resolving,
		.paused_ms = destination->paused_until_ms > now_ms
				     ? destination->paused_until_ms - now_ms
				     : 0,
		.is_paced = uv_is_active(
			(const uv_handle_t *)&destination->rate_alarm.timer),
		.trouble = text_slice(&destination->trouble),
	};
	if (destination->site != NULL) {
		state->window = site_window(destination->site);
		state->site_connections = site_open(destination->site);
	}
	LIST_EACH (item, &destination->connections)
		state->idle +=
			CONTAINER(item, struct connection, link)->assigned == 0;
}

void
destination_each_state(struct delivery_service *service,
		       const struct loop *loop, destination_state_fn *each,
		       void *owner)
{
	struct destination_state state;

	LIST_EACH (item, &service->places[loop->index].destinations) {
		state_fill(CONTAINER(item, struct delivery_destination, link),
			   &state);
		each(owner, &state);
	}
}
