#include <stdlib.h>

#include "base/log.h"
#include "relay/delivery/connection.h"
#include "relay/delivery/destination.h"
#include "relay/generation.h"
#include "relay/login.h"

/* Connections at first; doubled work makes one more, up to max_connections. */
#define WINDOW_FIRST 2
/* Attempts given to a connection ahead of time, so that it need not wait. */
#define ASSIGNED_MAX 2
/* How long hosts are used before the DNS (or its cache) is asked again. */
#define HOSTS_FRESH_MS (1 * MINUTE)
#define HOSTS_TROUBLE_MS (1 * SECOND)
#define BACKOFF_MIN_MS (1 * MINUTE)
#define BACKOFF_MAX_MS (1 * HOUR)
/* Conversations that one message may break before it is held to be the reason,
 * and not one connection too many. */
#define LOST_MAX 2
/* Leases that one failure of a whole destination defers. */
#define DEFER_MAX 8
/* Kept of the words that say so. */
#define TROUBLE_MAX 512

/*
 * What delivery/ knows of one destination; on its owning loop. It is `due`
 * while the schedule may have leases for it. Work is taken only when there is a
 * connection for it, or may be one.
 */
struct delivery_destination {
	struct schedule_destination *schedule;
	struct delivery_service *service;
	struct list link;        /* in the service's part for this loop */
	struct list connections;
	size_t connections_count, window;
	struct list returned;    /* attempts to be made on another connection */
	bool is_due;
	/* Where to: NULL when not known or too old. */
	struct generation *generation;
	struct route route;
	struct hosts *hosts;
	unsigned turn;           /* of the next connection */
	uint64_t hosts_until_ms;
	struct hosts_query query;
	bool is_resolving;
	/* Back-off. */
	uint64_t backoff_ms;
	uint64_t retry_ms;       /* least delay that a deferred one waits */
	uint64_t paused_until_ms;
	struct text trouble;     /* why no host was reached */
};

/* The part of the service that one loop has. */
struct delivery_place {
	struct connection_place connections;
	struct list destinations;
};

struct delivery_service {
	struct loop *loops;
	size_t loops_count;
	struct store *store;
	struct delivery_place *places; /* one per loop */
	struct peers *peers;
};

/* The schedule's callbacks have no owner. */
static struct delivery_service *service_of_process;

static void destination_pump(struct delivery_destination *destination);

static struct delivery_place *
place_of(const struct delivery_destination *destination)
{
	return &destination->service->places[destination->schedule->loop->index];
}

static bool
is_stopping(const struct delivery_destination *destination)
{
	return place_of(destination)->connections.is_stopping;
}

static const struct options *
options_of(const struct delivery_destination *destination)
{
	return destination->schedule->loop->generation->options;
}

/* --- settling --- */

static void
retry_note(struct delivery_destination *destination,
	   const struct delivery *delivery)
{
	const struct delivery_options *options =
		&options_of(destination)->delivery;

	for (size_t i = 0; i < delivery->recipients_count; i++) {
		size_t attempts = delivery->recipients[i].attempts;
		uint64_t retry_ms =
			options->retry_ms[attempts < options->retry_count
						  ? attempts
						  : options->retry_count - 1];

		if (destination->retry_ms == 0 ||
		    retry_ms < destination->retry_ms)
			destination->retry_ms = retry_ms;
	}
}

static void
attempt_settle(struct delivery_destination *destination,
	       struct attempt *attempt)
{
	ASSERT(attempt_is_complete(attempt));
	if (attempt->is_unreached)
		retry_note(destination, attempt->delivery);
	schedule_settle(destination->schedule, attempt->delivery,
			attempt->results);
	attempt_free(attempt);
}

/* Untried: due again. Where some recipients have their results already, those
 * count, and the others are deferred. */
static void
attempt_give_back(struct delivery_destination *destination,
		  struct attempt *attempt)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);
	struct recipient_result result = {
		.outcome = fate.outcome,
		.reply = SLICE(fate.words),
		.status = SLICE(fate.status),
	};

	if (attempt_has_begun(attempt)) {
		attempt_fill(attempt, &result);
		attempt_settle(destination, attempt);
		return;
	}
	schedule_give_back(destination->schedule, attempt->delivery);
	attempt_free(attempt);
}

static void
returned_give_back(struct delivery_destination *destination)
{
	struct list *item;

	while ((item = list_take_first(&destination->returned)) != NULL)
		attempt_give_back(destination,
				  CONTAINER(item, struct attempt, link));
}

static void
trouble_note(struct delivery_destination *destination, struct slice words)
{
	text_clear(&destination->trouble);
	text_add(&destination->trouble, slice_sub(words, 0, TROUBLE_MAX));
}

/* The whole destination is out of reach: longer each time, but never longer
 * than what has just been deferred waits anyway. */
static void
destination_back_off(struct delivery_destination *destination)
{
	struct delivery *delivery = NULL;
	uint64_t pause_ms;

	destination->backoff_ms = destination->backoff_ms == 0
					  ? BACKOFF_MIN_MS
					  : destination->backoff_ms * 2;
	if (destination->backoff_ms > BACKOFF_MAX_MS)
		destination->backoff_ms = BACKOFF_MAX_MS;
	pause_ms = destination->backoff_ms;
	if (destination->retry_ms > 0 && destination->retry_ms < pause_ms)
		pause_ms = destination->retry_ms;
	destination->retry_ms = 0;
	destination->paused_until_ms = clock_now_ms() + pause_ms;
	schedule_pause(destination->schedule, pause_ms);
	returned_give_back(destination);
	/* The due callback comes again only after a take that gave nothing. It
	 * does give something if this thread stood still for all the pause. */
	if (destination->is_due)
		delivery = schedule_take(destination->schedule);
	destination->is_due = delivery != NULL;
	if (delivery != NULL)
		list_add_last(&destination->returned,
			      &attempt_new(delivery)->link);
}

static struct attempt *
attempt_take(struct delivery_destination *destination)
{
	struct list *item;
	struct delivery *delivery;

	while ((item = list_take_first(&destination->returned)) != NULL) {
		struct attempt *attempt = CONTAINER(item, struct attempt, link);

		if (!schedule_is_stranger(destination->schedule,
					  attempt->delivery))
			return attempt;
		attempt_give_back(destination, attempt);
	}
	if (!destination->is_due || is_stopping(destination))
		return NULL;
	delivery = schedule_take(destination->schedule);
	if (delivery != NULL)
		return attempt_new(delivery);
	destination->is_due = false;
	return NULL;
}

/* --- hosts --- */

static void
hosts_forget(struct delivery_destination *destination)
{
	if (destination->hosts != NULL)
		hosts_unref(TAKE(destination->hosts));
	if (destination->generation != NULL)
		generation_unref(TAKE(destination->generation));
}

static bool
hosts_are_fresh(const struct delivery_destination *destination)
{
	return destination->hosts != NULL &&
	       destination->generation ==
		       destination->schedule->loop->generation &&
	       clock_now_ms() < destination->hosts_until_ms;
}

static void
hosts_set(struct delivery_destination *destination, struct hosts *hosts)
{
	destination->is_resolving = false;
	destination->hosts = hosts;
	destination->hosts_until_ms =
		clock_now_ms() +
		(hosts->count > 0 ? HOSTS_FRESH_MS : HOSTS_TROUBLE_MS);
}

static void
hosts_done(struct hosts_query *query, struct hosts *hosts)
{
	struct delivery_destination *destination =
		CONTAINER(query, struct delivery_destination, query);

	hosts_set(destination, hosts);
	destination_pump(destination);
}

static void
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

/* There is no host to go to: says so of everything that is due, or of some. */
static void
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
	trouble_note(destination, result.reply);
	while ((fate.outcome == OUTCOME_FAILED || count < DEFER_MAX) &&
	       (attempt = attempt_take(destination)) != NULL) {
		attempt_fill(attempt, &result);
		attempt->is_unreached = true;
		attempt_settle(destination, attempt);
		count++;
	}
	if (fate.outcome == OUTCOME_DEFERRED && count > 0)
		destination_back_off(destination);
}

/* --- connections --- */

static void connection_returned(void *owner, struct connection *connection,
				struct attempt *attempt);
static void connection_ended(void *owner, struct connection *connection);

/* Round robin from the owner's own loop on: so that a quiet destination stays
 * on one thread and a large one is not one core. */
static struct connection *
destination_connect(struct delivery_destination *destination)
{
	struct delivery_service *service = destination->service;
	size_t index = (destination->schedule->loop->index +
			destination->connections_count) %
		       service->loops_count;
	struct connection *connection = connection_open(
		&(struct connection_settings){
			.loop = &service->loops[index],
			.owner_loop = destination->schedule->loop,
			.place = &service->places[index].connections,
			.store = service->store,
			.generation = destination->generation,
			.hosts = destination->hosts,
			.turn = destination->turn++,
			.peers = service->peers,
			.tls = destination->route.tls,
			.tls_terms = destination->route.tls_terms,
			.implicit_tls = destination->route.implicit_tls,
			.login = logins_at(destination->generation->logins,
					   destination->route.login),
			.owner = destination,
			.returned = connection_returned,
			.ended = connection_ended});

	destination->connections_count++;
	list_add_last(&destination->connections, &connection->link);
	return connection;
}

/* The one with the least to do; NULL: all have enough. What was opened before a
 * reload may be under another policy, or to another next hop: it only ends what
 * it has. */
static struct connection *
connection_choose(struct delivery_destination *destination, unsigned max)
{
	const struct generation *current =
		destination->schedule->loop->generation;
	struct connection *chosen = NULL;

	LIST_EACH (item, &destination->connections) {
		struct connection *connection =
			CONTAINER(item, struct connection, link);

		if (connection->has_ended || connection->is_failing ||
		    connection->assigned > max ||
		    connection->settings.generation != current)
			continue;
		if (chosen == NULL || connection->assigned < chosen->assigned)
			chosen = connection;
	}
	return chosen;
}

/* Another connection works, or may yet: then one that fails was one too many,
 * for a host that takes only so many at a time. */
static bool
has_other_connection(const struct delivery_destination *destination,
		     const struct connection *failed)
{
	LIST_EACH (item, &destination->connections) {
		const struct connection *connection =
			CONTAINER(item, struct connection, link);

		if (connection != failed && !connection->has_ended)
			return true;
	}
	return false;
}

static bool
attempt_has_delivered(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (attempt->results[i].outcome == OUTCOME_DELIVERED)
			return true;
	return false;
}

static void
connection_let_go(struct delivery_destination *destination,
		  struct connection *connection)
{
	if (!connection->has_ended || connection->assigned > 0)
		return;
	list_remove(&connection->link);
	ASSERT(destination->connections_count > 0);
	destination->connections_count--;
	connection_free(connection);
}

static void
connection_worked(struct delivery_destination *destination)
{
	destination->backoff_ms = 0;
	text_clear(&destination->trouble);
	if (destination->window <
	    options_of(destination)->delivery.max_connections)
		destination->window++;
}

static void
connection_returned(void *owner, struct connection *connection,
		    struct attempt *attempt)
{
	struct delivery_destination *destination = owner;

	ASSERT(connection->assigned > 0);
	connection->assigned--;
	connection->is_failing |= attempt->is_unreached;
	if (attempt->is_unreached)
		trouble_note(destination, attempt->results[0].reply);
	if (attempt->is_unreached && attempt->lost < LOST_MAX &&
	    has_other_connection(destination, connection))
		attempt_reset(attempt);
	if (attempt_is_complete(attempt)) {
		if (attempt_has_delivered(attempt))
			connection_worked(destination);
		attempt_settle(destination, attempt);
	} else if (is_stopping(destination) ||
		   clock_now_ms() < destination->paused_until_ms) {
		attempt_give_back(destination, attempt);
	} else {
		list_add_last(&destination->returned, &attempt->link);
	}
	connection_let_go(destination, connection);
	destination_pump(destination);
}

static void
connection_ended(void *owner, struct connection *connection)
{
	struct delivery_destination *destination = owner;
	bool has_failed = connection->has_failed;

	connection->has_ended = true;
	connection_let_go(destination, connection);
	if (has_failed) {
		destination->window = destination->window > 1
					      ? destination->window / 2
					      : 1;
		if (!has_other_connection(destination, NULL)) {
			destination->hosts_until_ms = 0;
			destination_back_off(destination);
		}
	}
	destination_pump(destination);
}

/* --- the destination --- */

/* Whose turn it is: a connection that has nothing to do, a new one, one that
 * has little to do. NULL: none now. */
static struct connection *
destination_outlet(struct delivery_destination *destination)
{
	struct connection *connection = connection_choose(destination, 0);

	if (connection != NULL)
		return connection;
	if (destination->connections_count < destination->window &&
	    hosts_are_fresh(destination) && destination->hosts->count > 0)
		return destination_connect(destination);
	return connection_choose(destination, ASSIGNED_MAX - 1);
}

/* Whether hosts have to be found before anything more can be done. */
static bool
destination_needs_hosts(const struct delivery_destination *destination)
{
	return destination->connections_count < destination->window &&
	       !hosts_are_fresh(destination);
}

static void
destination_pump(struct delivery_destination *destination)
{
	while (!is_stopping(destination) && !destination->is_resolving &&
	       (destination->is_due || !list_is_empty(&destination->returned))) {
		struct connection *connection =
			connection_choose(destination, 0);
		struct attempt *attempt;

		if (connection == NULL &&
		    destination_needs_hosts(destination)) {
			hosts_ask(destination);
			continue;
		}
		if (connection == NULL && destination->connections_count == 0 &&
		    destination->hosts->count == 0) {
			hosts_report_trouble(destination);
			continue;
		}
		attempt = attempt_take(destination);
		if (attempt == NULL)
			return;
		connection = destination_outlet(destination);
		if (connection == NULL) {
			list_add_first(&destination->returned, &attempt->link);
			return;
		}
		connection_carry(connection, attempt);
	}
}

static struct delivery_destination *
destination_new(struct schedule_destination *schedule)
{
	struct delivery_destination *destination =
		memory_new(sizeof(*destination));

	destination->schedule = schedule;
	destination->service = service_of_process;
	destination->window = WINDOW_FIRST;
	list_init(&destination->link);
	list_init(&destination->connections);
	list_init(&destination->returned);
	schedule->delivery = destination;
	list_add_last(&place_of(destination)->destinations, &destination->link);
	return destination;
}

void
destination_due(struct schedule_destination *schedule)
{
	struct delivery_destination *destination = schedule->delivery;

	ASSERT(service_of_process != NULL);
	if (destination == NULL)
		destination = destination_new(schedule);
	destination->is_due = true;
	destination_pump(destination);
}

bool
destination_gone(struct schedule_destination *schedule)
{
	struct delivery_destination *destination = schedule->delivery;

	if (destination == NULL)
		return true;
	if (destination->connections_count > 0 ||
	    !list_is_empty(&destination->returned))
		return false;
	if (destination->is_resolving)
		hosts_cancel(&destination->query);
	hosts_forget(destination);
	list_remove(&destination->link);
	schedule->delivery = NULL;
	text_done(&destination->trouble);
	free(destination);
	return true;
}

static void
state_fill(struct delivery_destination *destination,
	   struct destination_state *state)
{
	uint64_t now_ms = clock_now_ms();

	*state = (struct destination_state){
		.name = destination->schedule->name,
		.connections = destination->connections_count,
		.window = destination->window,
		.is_resolving = destination->is_resolving,
		.paused_ms = destination->paused_until_ms > now_ms
				     ? destination->paused_until_ms - now_ms
				     : 0,
		.trouble = text_slice(&destination->trouble),
	};
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

void
destination_hurry(struct schedule_destination *schedule)
{
	struct delivery_destination *destination = schedule->delivery;

	if (destination == NULL)
		return;
	destination->backoff_ms = 0;
	destination->paused_until_ms = 0;
	/* What the DNS said may be what was mended. */
	destination->hosts_until_ms = 0;
}

/* --- the service --- */

struct delivery_service *
delivery_service_new(struct loop *loops, size_t loops_count,
		     struct store *store)
{
	struct delivery_service *service = memory_new(sizeof(*service));

	ASSERT(service_of_process == NULL);
	service->loops = loops;
	service->loops_count = loops_count;
	service->store = store;
	service->peers = peers_new();
	service->places = memory_array(loops_count, sizeof(*service->places));
	for (size_t i = 0; i < loops_count; i++) {
		ASSERT(loops[i].index == i);
		connection_place_init(&service->places[i].connections);
		list_init(&service->places[i].destinations);
	}
	service_of_process = service;
	return service;
}

void
delivery_service_free(struct delivery_service *service)
{
	for (size_t i = 0; i < service->loops_count; i++) {
		ASSERT(list_is_empty(&service->places[i].destinations));
		ASSERT(list_is_empty(
			&service->places[i].connections.connections));
	}
	service_of_process = NULL;
	peers_free(service->peers);
	free(service->places);
	free(service);
}

void
delivery_service_stop(struct delivery_service *service, struct loop *loop)
{
	struct delivery_place *place = &service->places[loop->index];

	connection_place_stop(&place->connections);
	LIST_EACH (item, &place->destinations) {
		struct delivery_destination *destination =
			CONTAINER(item, struct delivery_destination, link);

		if (destination->is_resolving) {
			hosts_cancel(&destination->query);
			destination->is_resolving = false;
		}
		returned_give_back(destination);
	}
}
