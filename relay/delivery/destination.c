#include <stdlib.h>

#include "base/log.h"
#include "relay/delivery/destination_private.h"

/* Attempts given ahead of time to a connection that has shown that it works, so
 * that it need not wait. */
#define ASSIGNED_MAX 2
/* For our own trouble, such as too many open files, to pass. */
#define LOCAL_PAUSE_MS (5 * SECOND)
/* Kept of the words that say why no host was reached. */
#define TROUBLE_MAX 512

static bool
is_stopping(const struct delivery_destination *destination)
{
	return place_of(destination)->connections.is_stopping;
}

/* --- attempts --- */

void
destination_settle(struct delivery_destination *destination,
		   struct attempt *attempt)
{
	ASSERT(attempt_has_begun(attempt));
	schedule_settle(destination->schedule, attempt->delivery,
			attempt->results);
	attempt_free(attempt);
}

/* Untried: due again. Where some recipients have their results already, those
 * count, and the others are due again. But what is deferred would be tried at
 * once with them, time after time: then they are deferred, too. Not at a stop,
 * which does not come time after time. */
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
		if (attempt_has_deferred(attempt) && !is_stopping(destination))
			attempt_fill(attempt, &result);
		destination_settle(destination, attempt);
		return;
	}
	schedule_give_back(destination->schedule, attempt->delivery);
	attempt_free(attempt);
}

void
destination_give_back_returned(struct delivery_destination *destination)
{
	struct list *item;

	while ((item = list_take_first(&destination->returned)) != NULL)
		attempt_give_back(destination,
				  CONTAINER(item, struct attempt, link));
}

struct attempt *
destination_take(struct delivery_destination *destination)
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

/* --- back-off --- */

void
destination_note_trouble(struct delivery_destination *destination,
			 struct slice words)
{
	text_clear(&destination->trouble);
	text_add(&destination->trouble, slice_sub(words, 0, TROUBLE_MAX));
}

uint64_t
destination_pause_max_ms(const struct delivery_destination *destination)
{
	return service_pause_max_ms(destination->schedule->loop->generation);
}

void
destination_pause(struct delivery_destination *destination, uint64_t pause_ms)
{
	struct delivery *delivery = NULL;

	destination->paused_until_ms = clock_now_ms() + pause_ms;
	schedule_pause(destination->schedule, pause_ms);
	destination_give_back_returned(destination);
	/* The due callback comes again only after a take that gave nothing. It
	 * does give something if this thread stood still for all the pause. */
	if (destination->is_due)
		delivery = schedule_take(destination->schedule);
	destination->is_due = delivery != NULL;
	if (delivery != NULL)
		list_add_last(&destination->returned,
			      &attempt_new(delivery)->link);
}

/* With what a message of another destination met with. */
static void
destination_pause_with_site(struct delivery_destination *destination,
			    uint64_t pause_ms)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct recipient_result why;

	site_why(destination->site, &arena, &why);
	destination_note_trouble(destination, why.reply);
	schedule_trouble(destination->schedule, &why);
	destination_pause(destination, pause_ms);
}

/* --- connections --- */

/* What is to be tried on another connection has yet to have its turn. */
bool
destination_is_prompt(const struct delivery_destination *destination)
{
	const struct list *returned = &destination->returned;

	return destination->schedule->is_prompt ||
	       (!list_is_empty(returned) &&
		CONTAINER(returned->next, struct attempt, link)
			->delivery->is_prompt);
}

/* What a message may go out by: a connection that somebody has left, or a place
 * for a new one. */
struct outlet {
	struct kept *kept;
	struct site_place place;
};

/* Where nothing may be tried for a while the destination is paused. */
static bool
outlet_find(struct delivery_destination *destination, struct outlet *outlet)
{
	bool has_none = destination->connections_count == 0;
	uint64_t pause_ms;

	if (destination->connections_count >=
		    options_of(destination)->delivery.max_connections ||
	    !hosts_are_fresh(destination) || destination->hosts->count == 0)
		return false;
	outlet->kept = cache_take(&place_of(destination)->connections.cache,
				  destination->site, destination->generation,
				  destination->hosts);
	if (outlet->kept != NULL) {
		/* Or its place would be held beside the one that comes. */
		(void)!site_ticket_cancel(&destination->ticket);
		return true;
	}
	/* Who has a connection goes on with that one; the queue is for those
	 * who have none. */
	if (has_none)
		site_ticket_prompt(&destination->ticket,
				   destination_is_prompt(destination));
	switch (site_take(destination->site,
			  has_none ? &destination->ticket : NULL,
			  &outlet->place, &pause_ms)) {
	case SITE_TAKEN:
		return true;
	case SITE_WAIT:
		return false;
	case SITE_PAUSED:
		destination_pause_with_site(destination, pause_ms);
		return false;
	}
	return false;
}

static void
outlet_give_back(struct delivery_destination *destination,
		 struct outlet *outlet)
{
	if (outlet->kept != NULL)
		cache_put(&place_of(destination)->connections.cache,
			  TAKE(outlet->kept));
	if (outlet->place.site != NULL)
		site_give(&outlet->place);
}

static void connection_returned(void *owner, struct connection *connection,
				struct attempt *attempt);
static void connection_ended(void *owner, struct connection *connection);
static void connection_released(void *owner, struct connection *connection);

/* The first few on the owner's own, while that has time: nothing then goes from
 * thread to thread. Further ones round robin from there on, so that a large
 * destination is not one core. What is kept is on the own one. */
static size_t
loop_choose(const struct delivery_destination *destination,
	    const struct outlet *outlet)
{
	const struct loop *own = destination->schedule->loop;
	size_t count = destination->connections_count;

	if (outlet->kept != NULL ||
	    (count < CONNECTIONS_AHEAD_MAX && !loop_is_busy(own)))
		return own->index;
	return (own->index + count) % destination->service->loops_count;
}

static struct connection *
destination_connect(struct delivery_destination *destination,
		    struct outlet *outlet)
{
	struct delivery_service *service = destination->service;
	struct connection_settings settings = service_connection(
		service, loop_choose(destination, outlet),
		destination->generation, &destination->route,
		destination->hosts, destination->site);
	struct connection *connection;

	settings.owner_loop = destination->schedule->loop;
	settings.turn = destination->turn++;
	settings.owner = destination;
	settings.returned = connection_returned;
	settings.ended = connection_ended;
	settings.released = connection_released;
	connection = connection_open(&settings, &outlet->place, outlet->kept);
	destination->ticket.gate.is_owed = false;
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
		    connection->is_released || connection->assigned > max ||
		    (connection->assigned > 0 && !connection->has_worked) ||
		    connection->settings.generation != current)
			continue;
		if (chosen == NULL || connection->assigned < chosen->assigned)
			chosen = connection;
	}
	return chosen;
}

static void
connection_let_go(struct delivery_destination *destination,
		  struct connection *connection)
{
	if (!connection->has_ended || connection->assigned > 0 ||
	    connection->is_releasing)
		return;
	list_remove(&connection->link);
	ASSERT(destination->connections_count > 0);
	destination->connections_count--;
	connection_free(connection);
}

static void attempt_on_noted(struct schedule_destination *schedule,
			     struct delivery *delivery);

/* What is final is stored; the lease goes on with the others. */
static void
attempt_note(struct delivery_destination *destination, struct attempt *attempt)
{
	CLEAN(clean_memory) struct recipient_result *results =
		attempt_final_results(attempt);

	schedule_note(destination->schedule, attempt->delivery, results,
		      attempt_on_noted);
	attempt_drop_final(attempt);
	list_add_last(&destination->noting, &attempt->link);
}

/* What is put down goes on as another lease, if it may: so its results are
 * stored, and others have their turn. With somebody deferred it cannot, and only
 * what is final is stored. */
static void
attempt_go_on(struct delivery_destination *destination,
	      struct attempt *attempt)
{
	bool is_put_down = attempt->is_put_down;

	attempt->is_put_down = false;
	if (attempt_is_complete(attempt))
		destination_settle(destination, attempt);
	else if (is_stopping(destination) ||
		 clock_now_ms() < destination->paused_until_ms ||
		 (is_put_down && !attempt_has_deferred(attempt)))
		attempt_give_back(destination, attempt);
	else if (attempt_has_final(attempt))
		attempt_note(destination, attempt);
	else
		list_add_last(&destination->returned, &attempt->link);
}

static void
attempt_on_noted(struct schedule_destination *schedule,
		 struct delivery *delivery)
{
	struct delivery_destination *destination = schedule->delivery;

	LIST_EACH (item, &destination->noting) {
		struct attempt *attempt = CONTAINER(item, struct attempt, link);

		if (attempt->delivery != delivery)
			continue;
		list_remove(item);
		attempt_go_on(destination, attempt);
		break;
	}
	destination_pump(destination);
}

static void
connection_returned(void *owner, struct connection *connection,
		    struct attempt *attempt)
{
	struct delivery_destination *destination = owner;
	bool is_answered = attempt_is_complete(attempt) || attempt->is_put_down;

	ASSERT(connection->assigned > 0);
	connection->assigned--;
	connection->is_failing |= attempt->is_homeless;
	if (is_answered && !attempt->is_homeless)
		schedule_reached(destination->schedule);
	attempt->is_homeless = false;
	if (is_answered && !attempt->is_unreached) {
		connection->has_worked = true;
		destination->backoff_ms = 0;
		text_clear(&destination->trouble);
	}
	attempt_go_on(destination, attempt);
	connection_let_go(destination, connection);
	destination_pump(destination);
}

static void
connection_ended(void *owner, struct connection *connection)
{
	struct delivery_destination *destination = owner;
	uint64_t pause_ms = connection->pause_ms;

	connection->has_ended = true;
	if (connection->has_failed)
		destination_note_trouble(destination, connection->last.reply);
	if (connection->is_local_trouble) {
		log_note(LOG_LEVEL_WARNING, "limits", "%.*s",
			 SLICE_ARG(connection->last.reply));
		/* It may last: what waits is to say why, and to come to an end,
		 * as behind hosts that are down. */
		destination_note_trouble(destination, connection->last.reply);
		schedule_trouble(destination->schedule, &connection->last);
		pause_ms = LOCAL_PAUSE_MS;
	}
	connection_let_go(destination, connection);
	if (pause_ms > 0) {
		destination->hosts_until_ms = 0;
		destination_pause(destination, pause_ms);
	}
	destination_pump(destination);
}

/* What nobody needs here may be of use to another destination. */
static void
connections_release(struct delivery_destination *destination)
{
	LIST_EACH (item, &destination->connections) {
		struct connection *connection =
			CONTAINER(item, struct connection, link);

		if (connection->assigned == 0 && connection->has_worked &&
		    !connection->has_ended && !connection->is_released)
			connection_release(connection);
	}
}

/* With the last one gone a ticket may be drawn for what has come since. */
static void
connection_released(void *owner, struct connection *connection)
{
	connection_let_go(owner, connection);
	destination_pump(owner);
}

/* --- the destination --- */

static bool
has_work(const struct delivery_destination *destination)
{
	return !is_stopping(destination) &&
	       (destination->is_due || !list_is_empty(&destination->returned));
}

/* Whether hosts have to be found before anything more can be done. */
static bool
needs_hosts(const struct delivery_destination *destination)
{
	return destination->connections_count <
		       options_of(destination)->delivery.max_connections &&
	       !hosts_are_fresh(destination);
}

static void
rate_on_alarm(struct alarm *alarm)
{
	struct delivery_destination *destination =
		CONTAINER(alarm, struct delivery_destination, rate_alarm);

	destination_pump(destination);
}

/* False: the next message has to wait until the alarm; meanwhile no place is
 * kept for it. */
static bool
rate_allows(struct delivery_destination *destination)
{
	unsigned rate = (unsigned)destination->route.max_rate;
	uint64_t wait_ms;

	if (rate == 0 || destination->site == NULL ||
	    site_rate_ask(destination->site, rate, &destination->rate_turn,
			  &wait_ms))
		return true;
	if (!site_ticket_waits(&destination->ticket))
		(void)!site_ticket_cancel(&destination->ticket);
	alarm_set(&destination->rate_alarm, wait_ms);
	return false;
}

/* The same, and it goes. */
static bool
rate_take(struct delivery_destination *destination)
{
	unsigned rate = (unsigned)destination->route.max_rate;
	uint64_t wait_ms;

	if (rate == 0 || site_rate_take(destination->site, rate,
					&destination->rate_turn, &wait_ms))
		return true;
	alarm_set(&destination->rate_alarm, wait_ms);
	return false;
}

/* One message to a connection that has nothing to do, a new one, or one that
 * has little to do. False: nothing more can be done now. */
static bool
destination_step(struct delivery_destination *destination)
{
	struct connection *connection = connection_choose(destination, 0);
	struct outlet outlet = {.kept = NULL};
	uint64_t before_ms = destination->paused_until_ms;
	bool is_new = false;
	struct attempt *attempt;

	if (connection == NULL && needs_hosts(destination)) {
		hosts_ask(destination);
		return true;
	}
	if (connection == NULL && destination->connections_count == 0 &&
	    destination->hosts->count == 0) {
		hosts_report_trouble(destination);
		return true;
	}
	if (!rate_allows(destination))
		return false;
	if (connection == NULL)
		is_new = outlet_find(destination, &outlet);
	if (connection == NULL && !is_new)
		connection = connection_choose(destination, ASSIGNED_MAX - 1);
	/* A pause that is over already leaves something to do. */
	if (connection == NULL && !is_new)
		return destination->paused_until_ms > before_ms;
	attempt = destination_take(destination);
	if (attempt == NULL) {
		/* While it waited others were given the memory of what it
		 * waited with, or that has ended. */
		destination->ticket.gate.is_owed |= outlet.place.site != NULL;
		outlet_give_back(destination, &outlet);
		return false;
	}
	/* Another one of the site may have been quicker. */
	if (!rate_take(destination)) {
		outlet_give_back(destination, &outlet);
		list_add_first(&destination->returned, &attempt->link);
		return false;
	}
	if (is_new)
		connection = destination_connect(destination, &outlet);
	connection_carry(connection, attempt);
	return true;
}

void
destination_pump(struct delivery_destination *destination)
{
	while (has_work(destination) && !destination->is_resolving &&
	       destination_step(destination))
		;
	if (has_work(destination))
		return;
	/* If its turn is on the way, that leads back to here. */
	(void)!site_ticket_cancel(&destination->ticket);
	connections_release(destination);
}

static void
ticket_turn(struct site_ticket *ticket)
{
	destination_pump(
		CONTAINER(ticket, struct delivery_destination, ticket));
}

static struct delivery_destination *
destination_new(struct schedule_destination *schedule)
{
	struct delivery_destination *destination =
		memory_new(sizeof(*destination));

	destination->schedule = schedule;
	destination->service = service_of_process();
	list_init(&destination->link);
	list_init(&destination->connections);
	list_init(&destination->returned);
	list_init(&destination->noting);
	site_ticket_init(&destination->ticket, schedule->loop, ticket_turn);
	alarm_init(&destination->rate_alarm, schedule->loop, rate_on_alarm);
	schedule->delivery = destination;
	list_add_last(&place_of(destination)->destinations, &destination->link);
	return destination;
}

void
destination_due(struct schedule_destination *schedule)
{
	struct delivery_destination *destination = schedule->delivery;

	if (destination == NULL)
		destination = destination_new(schedule);
	destination->is_due = true;
	if (destination->is_resolving && schedule->is_prompt)
		hosts_hurry(&destination->query);
	destination_pump(destination);
}

static void
destination_on_closed(struct alarm *alarm)
{
	free(CONTAINER(alarm, struct delivery_destination, rate_alarm));
}

bool
destination_gone(struct schedule_destination *schedule)
{
	struct delivery_destination *destination = schedule->delivery;

	if (destination == NULL)
		return true;
	if (destination->connections_count > 0 ||
	    !list_is_empty(&destination->returned) ||
	    !list_is_empty(&destination->noting) ||
	    !site_ticket_cancel(&destination->ticket))
		return false;
	hosts_let_go(destination);
	list_remove(&destination->link);
	schedule->delivery = NULL;
	text_done(&destination->trouble);
	alarm_close(&destination->rate_alarm, destination_on_closed);
	return true;
}

void
destination_hurry(struct schedule_destination *schedule)
{
	struct delivery_destination *destination = schedule->delivery;

	if (destination == NULL)
		return;
	destination->backoff_ms = 0;
	destination->paused_until_ms = 0;
	if (destination->site != NULL)
		site_hurry(destination->site);
	/* What the DNS said may be what was mended. */
	destination->hosts_until_ms = 0;
}
