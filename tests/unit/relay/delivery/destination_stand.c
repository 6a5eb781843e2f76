#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/delivery/connection.h"
#include "tests/fake/clock.h"
#include "tests/unit/relay/delivery/destination_stand.h"

/* --- the schedule --- */

struct delivery *ready[DELIVERIES_MAX];
size_t ready_count;
char settled[DELIVERIES_MAX + 1];
size_t settled_count, given_back;
uint64_t paused_ms;
bool pause_is_short; /* over before the next call */

struct delivery *
schedule_take(struct schedule_destination *public)
{
	struct delivery *delivery = ready[0];

	(void)public;
	if (ready_count == 0 || paused_ms > 0)
		return NULL;
	ready_count--;
	memmove(ready, ready + 1, ready_count * sizeof(ready[0]));
	return delivery;
}

void
delivery_drop(struct delivery *delivery)
{
	message_unref(delivery->message);
	free(delivery->recipients);
	free(delivery);
}

void
schedule_settle(struct schedule_destination *public,
		struct delivery *delivery,
		const struct recipient_result *results)
{
	(void)public;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		settled[settled_count++] = "NDTF"[results[i].outcome];
	settled[settled_count] = '\0';
	delivery_drop(delivery);
}

struct delivery *noted_delivery;
static schedule_noted_fn *noted_fn;

void
schedule_note(struct schedule_destination *public, struct delivery *delivery,
	      const struct recipient_result *results, schedule_noted_fn *fn)
{
	(void)public;
	cr_assert_null(noted_delivery);
	noted_delivery = delivery;
	noted_fn = fn;
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		settled[settled_count++] = "NDTF"[results[i].outcome];
		delivery->recipients[i].outcome = results[i].outcome;
	}
	settled[settled_count++] = ' ';
	settled[settled_count] = '\0';
}

void
is_noted(void)
{
	struct delivery *delivery = noted_delivery;
	size_t left = 0;

	cr_assert_not_null(delivery);
	noted_delivery = NULL;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		left += delivery->recipients[i].outcome == OUTCOME_NONE;
	memset(delivery->recipients, 0, left * sizeof(*delivery->recipients));
	delivery->recipients_count = left;
	noted_fn(&destination, delivery);
}

const struct delivery *stranger;

bool
schedule_is_stranger(const struct schedule_destination *public,
		     const struct delivery *delivery)
{
	(void)public;
	return delivery == stranger;
}

void
schedule_give_back(struct schedule_destination *public,
		   struct delivery *delivery)
{
	(void)public;
	given_back++;
	/* The schedule would move it. */
	if (delivery == stranger) {
		delivery_drop(delivery);
		return;
	}
	ready[ready_count++] = delivery;
}

void
schedule_pause(struct schedule_destination *public, uint64_t delay_ms)
{
	(void)public;
	paused_ms = pause_is_short ? 0 : delay_ms;
	if (pause_is_short)
		fake_clock_pass(delay_ms);
}

unsigned reached;

void
schedule_reached(struct schedule_destination *public)
{
	(void)public;
	reached++;
}

char noted[64]; /* what the schedule heard of trouble */

void
schedule_trouble(struct schedule_destination *public,
		 const struct recipient_result *why)
{
	(void)public;
	cr_expect_eq(why->outcome, OUTCOME_DEFERRED);
	snprintf(noted, sizeof(noted), "%.*s", SLICE_ARG(why->reply));
}

/* --- hosts --- */

enum hosts_answer hosts_answer;
enum outcome_trouble hosts_trouble;
struct hosts_query *hosts_open;
unsigned hosts_asked;
int hosts_references;

struct hosts *
hosts_make(void)
{
	struct hosts *hosts = memory_new(sizeof(*hosts));

	hosts->count = hosts_answer == HOSTS_NONE ? 0 : 1;
	hosts->trouble = hosts_trouble;
	hosts->key = SLICE("mx.example.net");
	hosts->references = 1;
	hosts_references++;
	return hosts;
}

struct hosts *
hosts_start(struct hosts_query *query, struct dns *dns,
	    const struct options *given, const struct route *route)
{
	(void)dns;
	(void)given;
	(void)route;
	hosts_asked++;
	cr_assert_null(hosts_open);
	if (hosts_answer != HOSTS_LATER)
		return hosts_make();
	hosts_open = query;
	return NULL;
}

void
hosts_hurry(struct hosts_query *query)
{
	cr_assert_eq(query, hosts_open);
	query->is_prompt = true;
}

void
hosts_cancel(struct hosts_query *query)
{
	cr_assert_eq(query, hosts_open);
	hosts_open = NULL;
}

struct hosts *
hosts_ref(struct hosts *hosts)
{
	hosts->references++;
	return hosts;
}

void
hosts_unref(struct hosts *hosts)
{
	if (--hosts->references > 0)
		return;
	hosts_references--;
	free(hosts);
}

/* --- connections --- */

struct connection *connections[32];
size_t connections_count;
unsigned released;

struct connection *
connection_open(const struct connection_settings *settings,
		struct site_place *site_place, struct kept *kept)
{
	struct connection *connection = memory_new(sizeof(*connection));

	cr_assert_null(kept);
	connection->settings = *settings;
	connection->site_place = *site_place;
	hosts_ref(settings->hosts);
	generation_ref(settings->generation);
	list_init(&connection->link);
	list_init(&connection->waiting);
	cr_assert_lt(connections_count, COUNT(connections));
	connections[connections_count++] = connection;
	return connection;
}

void
connection_carry(struct connection *connection, struct attempt *attempt)
{
	cr_assert_not(connection->has_ended);
	cr_assert_not(connection->is_released);
	connection->assigned++;
	list_add_last(&connection->waiting, &attempt->link);
}

void
connection_release(struct connection *connection)
{
	cr_assert_eq(connection->assigned, 0);
	cr_assert_not(connection->is_released);
	connection->is_released = true;
	released++;
}

void
connection_free(struct connection *connection)
{
	cr_assert(connection->has_ended);
	cr_assert_eq(connection->assigned, 0);
	hosts_unref(connection->settings.hosts);
	generation_unref(connection->settings.generation);
	for (size_t i = 0; i < COUNT(connections); i++)
		if (connections[i] == connection)
			connections[i] = NULL;
	free(connection);
}

void
connection_place_init(struct connection_place *place)
{
	list_init(&place->connections);
	place->is_stopping = false;
}

void
connection_place_done(struct connection_place *place)
{
	(void)place;
}

void
connection_place_stop(struct connection_place *place, bool has_time)
{
	(void)has_time;
	place->is_stopping = true;
}

/* Nothing is carried here. */
void
connection_place_cut_off(struct connection_place *place)
{
	(void)place;
}

/* Nobody leaves a conversation here. */
struct kept *
cache_take(struct cache *cache, const struct site *site,
	   const struct generation *generation, const struct hosts *hosts)
{
	(void)cache;
	(void)site;
	(void)generation;
	(void)hosts;
	return NULL;
}

void
cache_put(struct cache *cache, struct kept *kept)
{
	(void)cache;
	cr_assert_null(kept);
}

struct attempt *
first_of(struct connection *connection)
{
	return CONTAINER(connection->waiting.next, struct attempt, link);
}

void
gives_back(struct connection *connection)
{
	struct attempt *attempt = CONTAINER(
		list_take_first(&connection->waiting), struct attempt, link);

	connection->settings.returned(connection->settings.owner, connection,
				      attempt);
}

void
carried(struct connection *connection, enum outcome outcome)
{
	struct recipient_result result = {.outcome = outcome};

	attempt_fill(first_of(connection), &result);
	site_answered(&connection->site_place, outcome == OUTCOME_DELIVERED);
	gives_back(connection);
}

void
puts_down(struct connection *connection, enum outcome outcome)
{
	struct recipient_result result = {.outcome = outcome};
	struct attempt *attempt = first_of(connection);
	size_t i = 0;

	while (attempt->results[i].outcome != OUTCOME_NONE)
		i++;
	attempt_set(attempt, i, &result);
	attempt->is_put_down = !attempt_is_complete(attempt);
	gives_back(connection);
}

/* What connection.c does of what is waiting. */
static void
fails(struct connection *connection)
{
	struct recipient_result result = {.outcome = OUTCOME_DEFERRED,
					  .reply = SLICE("nobody is home")};

	connection->has_failed = true;
	connection->last = result;
	connection->pause_ms = site_fail(&connection->site_place,
					 connection->settings.pause_max_ms,
					 &result);
	LIST_EACH (item, &connection->waiting)
		CONTAINER(item, struct attempt, link)->is_homeless = true;
	if (!list_is_empty(&connection->waiting) &&
	    (connection->pause_ms > 0 || first_of(connection)->lost >= 2)) {
		first_of(connection)->is_unreached = true;
		attempt_fill(first_of(connection), &result);
	}
}

/* As connection.c does: all back first, then the end. */
void
ends(struct connection *connection, bool has_failed)
{
	size_t count = connection->assigned, slot = 0;

	while (connections[slot] != connection)
		slot++;
	if (has_failed)
		fails(connection);
	site_give(&connection->site_place);
	while (count-- > 0)
		gives_back(connection);
	connection->settings.ended(connection->settings.owner, connection);
	/* What was given to it meanwhile comes back as it is. */
	while (connections[slot] == connection)
		gives_back(connection);
}

/* --- the world --- */

struct loop loops[2];
struct options *options;
struct generation generations[2];
struct delivery_service *service;
struct schedule_destination destination;

void
add_to(unsigned recipients)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));

	delivery->message = message_new(SLICE("a@example.com"));
	delivery->recipients_count = recipients;
	delivery->recipients = memory_array(recipients,
					    sizeof(*delivery->recipients));
	ready[ready_count++] = delivery;
}

void
add(unsigned count)
{
	while (count-- > 0)
		add_to(1);
}

void
world_make(void)
{
	options = options_default();
	for (size_t i = 0; i < 2; i++)
		generations[i] = (struct generation){.options = options,
						     .references = 100};
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(loop_init(&loops[i], i, NULL));
		loops[i].generation = &generations[0];
	}
	service = delivery_service_new(loops, 2, NULL);
	destination = (struct schedule_destination){
		.name = SLICE("example.net"), .loop = &loops[0]};
}

void
world_end(void)
{
	delivery_service_stop(service, &loops[0]);
	for (size_t i = 0; i < COUNT(connections); i++)
		if (connections[i] != NULL)
			ends(connections[i], false);
	cr_expect(destination_gone(&destination));
	delivery_service_free(service);
	loop_done(&loops[0]);
	loop_done(&loops[1]);
	cr_expect_eq(hosts_references, 0);
	cr_expect_eq(generations[0].references, 100);
	cr_expect_eq(generations[1].references, 100);
	for (size_t i = 0; i < ready_count; i++)
		delivery_drop(ready[i]);
	options_free(options);
}

/* Every message that a connection has in hand. */
void
all_carried(void)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < connections_count; i++)
			while (connections[i] != NULL &&
			       connections[i]->assigned > 0) {
				carried(connections[i], OUTCOME_DELIVERED);
				more = true;
			}
	}
}
