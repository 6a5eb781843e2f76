/*
 * A destination between a schedule, hosts and connections that do as the test
 * says. Nothing runs on its own: there is no loop.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "relay/delivery/connection.h"
#include "relay/delivery/destination.h"
#include "relay/generation.h"
#include "relay/limits.h"
#include "tests/fake/clock.h"

#define DELIVERIES_MAX 64

/* --- the schedule --- */

static struct delivery *ready[DELIVERIES_MAX];
static size_t ready_count;
static char settled[DELIVERIES_MAX + 1]; /* a letter for each, in order */
static size_t settled_count, given_back;
static uint64_t paused_ms;
static bool pause_is_short; /* over before the next call */

struct delivery *
schedule_take(struct schedule_destination *destination)
{
	struct delivery *delivery = ready[0];

	(void)destination;
	if (ready_count == 0 || paused_ms > 0)
		return NULL;
	ready_count--;
	memmove(ready, ready + 1, ready_count * sizeof(ready[0]));
	return delivery;
}

static void
delivery_drop(struct delivery *delivery)
{
	message_unref(delivery->message);
	free(delivery->recipients);
	free(delivery);
}

void
schedule_settle(struct schedule_destination *destination,
		struct delivery *delivery,
		const struct recipient_result *results)
{
	(void)destination;
	settled[settled_count++] = "NDTF"[results[0].outcome];
	settled[settled_count] = '\0';
	delivery_drop(delivery);
}

static const struct delivery *stranger;

bool
schedule_is_stranger(const struct schedule_destination *destination,
		     const struct delivery *delivery)
{
	(void)destination;
	return delivery == stranger;
}

void
schedule_give_back(struct schedule_destination *destination,
		   struct delivery *delivery)
{
	(void)destination;
	given_back++;
	/* The schedule would move it. */
	if (delivery == stranger) {
		delivery_drop(delivery);
		return;
	}
	ready[ready_count++] = delivery;
}

void
schedule_pause(struct schedule_destination *destination, uint64_t delay_ms)
{
	(void)destination;
	paused_ms = pause_is_short ? 0 : delay_ms;
	if (pause_is_short)
		fake_clock_pass(delay_ms);
}

static unsigned reached;

void
schedule_reached(struct schedule_destination *destination)
{
	(void)destination;
	reached++;
}

static char noted[64]; /* what the schedule heard of trouble */

void
schedule_trouble(struct schedule_destination *destination,
		 const struct recipient_result *why)
{
	(void)destination;
	cr_expect_eq(why->outcome, OUTCOME_DEFERRED);
	snprintf(noted, sizeof(noted), "%.*s", SLICE_ARG(why->reply));
}

/* --- hosts --- */

static enum { HOSTS_ONE, HOSTS_NONE, HOSTS_LATER } hosts_answer;
static enum outcome_trouble hosts_trouble;
static struct hosts_query *hosts_open;
static unsigned hosts_asked;
static int hosts_references;

static struct hosts *
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
	    const struct options *options, const struct route *route)
{
	(void)dns;
	(void)options;
	(void)route;
	hosts_asked++;
	cr_assert_null(hosts_open);
	if (hosts_answer != HOSTS_LATER)
		return hosts_make();
	hosts_open = query;
	return NULL;
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

static struct connection *connections[32];
static size_t connections_count;
static unsigned released;

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
connection_place_stop(struct connection_place *place)
{
	place->is_stopping = true;
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

static struct attempt *
first_of(struct connection *connection)
{
	return CONTAINER(connection->waiting.next, struct attempt, link);
}

static void
gives_back(struct connection *connection)
{
	struct attempt *attempt = CONTAINER(
		list_take_first(&connection->waiting), struct attempt, link);

	connection->settings.returned(connection->settings.owner, connection,
				      attempt);
}

static void
carried(struct connection *connection, enum outcome outcome)
{
	struct recipient_result result = {.outcome = outcome};

	attempt_fill(first_of(connection), &result);
	site_answered(&connection->site_place, outcome == OUTCOME_DELIVERED);
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
	connection->pause_ms = site_give_failed(
		&connection->site_place, connection->settings.pause_max_ms,
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
static void
ends(struct connection *connection, bool has_failed)
{
	size_t count = connection->assigned, slot = 0;

	while (connections[slot] != connection)
		slot++;
	if (has_failed)
		fails(connection);
	else
		site_give(&connection->site_place);
	while (count-- > 0)
		gives_back(connection);
	connection->settings.ended(connection->settings.owner, connection);
	/* What was given to it meanwhile comes back as it is. */
	while (connections[slot] == connection)
		gives_back(connection);
}

/* --- the world --- */

static struct loop loops[2];
static struct options *options;
static struct generation generations[2];
static struct delivery_service *service;
static struct schedule_destination destination;

static void
add(unsigned count)
{
	while (count-- > 0) {
		struct delivery *delivery = memory_new(sizeof(*delivery));

		delivery->message = message_new(SLICE("a@example.com"));
		delivery->recipients_count = 1;
		delivery->recipients =
			memory_new(sizeof(*delivery->recipients));
		ready[ready_count++] = delivery;
	}
}

static void
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

static void
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

TestSuite(destination, .init = world_make, .fini = world_end, .timeout = 120);

/* Every message that a connection has in hand. */
static void
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

Test(destination, opens_more_connections_as_they_deliver)
{
	add(24);
	destination_due(&destination);
	cr_assert_eq(connections_count, PACE_FIRST);
	for (size_t i = 0; i < connections_count; i++)
		cr_expect_eq(connections[i]->assigned, 1,
			     "nothing ahead of time before it works");
	carried(connections[0], OUTCOME_DELIVERED);
	cr_expect_eq(connections_count, PACE_FIRST + 1);
	cr_expect_eq(connections[0]->assigned, 2);
	carried(connections[0], OUTCOME_DELIVERED);
	cr_expect_eq(connections_count, PACE_FIRST + 2);
	cr_expect_eq(hosts_asked, 1);
	cr_expect_eq(paused_ms, 0);
	all_carried();
	cr_expect_str_eq(settled, "DDDDDDDDDDDDDDDDDDDDDDDD");
	cr_expect_leq(connections_count, 20, "delivery.max_connections");
	cr_expect_eq(released, connections_count, "all may go to others");
}

Test(destination, stays_on_its_loop_while_it_is_small)
{
	size_t others = 0;

	add(40);
	destination_due(&destination);
	for (size_t i = 0; connections_count <= CONNECTIONS_AHEAD_MAX + 1; i++)
		carried(connections[i], OUTCOME_DELIVERED);
	for (size_t i = 0; i < CONNECTIONS_AHEAD_MAX; i++)
		cr_expect_eq(connections[i]->settings.loop, &loops[0], "%zu",
			     i);
	for (size_t i = CONNECTIONS_AHEAD_MAX; i < connections_count; i++)
		others += connections[i]->settings.loop == &loops[1];
	cr_expect_gt(others, 0, "a large destination is not one core");
	all_carried();
}

Test(destination, leaves_its_loop_where_that_is_busy)
{
	uint64_t now_ms = clock_now_ms();

	load_look(&loops[0].load, now_ms, now_ms);
	cr_assert(loop_is_busy(&loops[0]));
	add(PACE_FIRST);
	destination_due(&destination);
	cr_assert_eq(connections_count, PACE_FIRST);
	for (size_t i = 0; i < PACE_FIRST; i++)
		cr_expect_eq(connections[i]->settings.loop, &loops[i % 2]);
	all_carried();
}

/* While its last connection is on the way out it cannot queue for a place, and
 * others take what that one leaves. */
Test(destination, queues_once_a_connection_that_it_released_is_gone)
{
	struct site_place places[PACE_FIRST];
	struct connection *connection;
	struct site *site;
	uint64_t pause_ms;
	size_t taken = 0;

	add(1);
	destination_due(&destination);
	connection = connections[0];
	site = connection->settings.site;
	carried(connection, OUTCOME_DELIVERED);
	cr_assert(connection->is_released);
	connection->is_releasing = true;
	while (taken < COUNT(places) &&
	       site_take(site, NULL, &places[taken], &pause_ms) == SITE_TAKEN)
		taken++;
	cr_assert(taken > 0 && taken < COUNT(places));
	site_give(&connection->site_place);
	cr_assert_eq(site_take(site, NULL, &places[taken++], &pause_ms),
		     SITE_TAKEN);
	add(1);
	destination_due(&destination);
	connection->settings.ended(connection->settings.owner, connection);
	connection->is_releasing = false;
	connection->settings.released(connection->settings.owner, connection);
	cr_assert_eq(connections_count, 1, "there is no place");
	while (taken > 0)
		site_give(&places[--taken]);
	uv_run(&loops[0].uv, UV_RUN_NOWAIT);
	cr_expect_eq(connections_count, 2, "its turn has come");
}

Test(destination, keeps_to_a_rate)
{
	unsigned assigned = 0;

	options->delivery.max_rate = 60;
	add(4);
	destination_due(&destination);
	for (unsigned i = 1; i <= 3; i++) {
		destination_due(&destination);
		assigned = 0;
		for (size_t j = 0; j < connections_count; j++)
			assigned += connections[j]->assigned;
		cr_expect_eq(assigned, i, "%u after %u s", assigned, i - 1);
		fake_clock_pass(1 * SECOND);
	}
	cr_expect_eq(ready_count, 1, "not leased before its time");
}

/* Those who could not go in their time have saved nothing up. */
Test(destination, keeps_to_a_rate_after_a_pause)
{
	static struct schedule_destination others[8];
	size_t carried_count = 0;

	options->delivery.max_rate = 60;
	add(COUNT(others) + 1);
	destination_due(&destination);
	for (size_t i = 0; i < COUNT(others); i++) {
		others[i] = destination;
		others[i].delivery = NULL;
		destination_due(&others[i]);
	}
	cr_assert_eq(connections_count, 1);
	ends(connections[0], true);
	fake_clock_pass(5 * MINUTE);
	for (unsigned second = 0; second < 4; second++) {
		paused_ms = 0;
		for (size_t i = 0; i < COUNT(others); i++)
			destination_due(&others[i]);
		for (size_t i = 1; i < connections_count; i++)
			if (connections[i]->assigned > 0) {
				carried(connections[i], OUTCOME_DELIVERED);
				carried_count++;
			}
		cr_expect_eq(carried_count, second + 1, "%zu after %u s",
			     carried_count, second);
		fake_clock_pass(1 * SECOND);
	}
	delivery_service_stop(service, &loops[0]);
	for (size_t i = 1; i < connections_count; i++)
		ends(connections[i], false);
	for (size_t i = 0; i < COUNT(others); i++)
		cr_expect(destination_gone(&others[i]));
}

Test(destination, waits_for_the_connection_that_is_under_way)
{
	add(2);
	destination_due(&destination);
	cr_assert_eq(connections_count, 2);
	/* A host that takes one connection at a time. */
	ends(connections[1], true);
	cr_expect_str_eq(settled, "");
	cr_expect_eq(paused_ms, 0);
	carried(connections[0], OUTCOME_DELIVERED);
	carried(connections[0], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "DD");
	cr_expect_eq(connections_count, 2, "one at a time");
}

/* The rest is not touched: no record is rewritten for it. */
Test(destination, one_message_tells_that_nobody_is_home)
{
	static const uint64_t pauses[] = {1, 2, 4, 5, 5};

	add(12);
	for (size_t i = 0; i < COUNT(pauses); i++) {
		unsigned opened = 0;

		connections_count = settled_count = 0;
		paused_ms = 0;
		destination_due(&destination);
		for (size_t j = 0; j < COUNT(connections); j++)
			if (connections[j] != NULL) {
				ends(connections[j], true);
				opened++;
			}
		cr_expect_eq(opened, i == 0 ? PACE_FIRST : 1, "%zu: %u", i,
			     opened);
		/* Never longer than a first attempt's message waits. */
		cr_expect_eq(paused_ms, pauses[i] * MINUTE, "%zu: %llu", i,
			     (unsigned long long)paused_ms);
		cr_expect_str_eq(settled, "T", "%zu: %s", i, settled);
		cr_expect_eq(ready_count, 12 - i - 1);
		fake_clock_pass(paused_ms);
	}
}

static struct destination_state seen;
static char seen_trouble[64];

static void
see(void *owner, const struct destination_state *state)
{
	++*(unsigned *)owner;
	seen = *state;
	snprintf(seen_trouble, sizeof(seen_trouble), "%.*s",
		 SLICE_ARG(state->trouble));
}

static void
look(void)
{
	unsigned count = 0;

	destination_each_state(service, &loops[1], see, &count);
	cr_expect_eq(count, 0, "owned by the other loop");
	destination_each_state(service, &loops[0], see, &count);
	cr_expect_eq(count, 1);
}

Test(destination, can_be_looked_at)
{
	struct hosts_query *query;

	hosts_answer = HOSTS_LATER;
	add(1);
	destination_due(&destination);
	look();
	cr_expect(slice_eq(seen.name, SLICE("example.net")));
	cr_expect(seen.is_resolving);
	hosts_answer = HOSTS_ONE;
	query = TAKE(hosts_open);
	query->done(query, hosts_make());
	look();
	cr_expect_eq(seen.connections, 1);
	cr_expect_eq(seen.idle, 0);
	cr_expect_eq(seen.paused_ms, 0);
	ends(connections[0], true);
	look();
	cr_expect_eq(seen.connections, 0);
	cr_expect_eq(seen.paused_ms, 1 * MINUTE);
	cr_expect_str_eq(seen_trouble, "nobody is home");
	fake_clock_pass(1 * MINUTE);
	paused_ms = 0;
	add(1);
	destination_due(&destination);
	carried(connections[1], OUTCOME_DELIVERED);
	look();
	cr_expect_eq(seen.paused_ms, 0);
	cr_expect_eq(seen.connections, 1);
	cr_expect_eq(seen.idle, 1);
	cr_expect_str_eq(seen_trouble, "");
}

/* It hears why, so that its own mail can come to an end there, too. */
Test(destination, is_not_tried_where_another_domain_found_nobody)
{
	struct schedule_destination other = {.name = SLICE("example.org"),
					     .loop = &loops[1]};

	add(1);
	destination_due(&destination);
	ends(connections[0], true);
	cr_expect_str_eq(settled, "T");
	paused_ms = 0;
	add(2);
	destination_due(&other);
	cr_expect_eq(connections_count, 1, "no other one");
	cr_expect_eq(paused_ms, 1 * MINUTE);
	cr_expect_eq(ready_count, 2, "nothing is touched");
	cr_expect_str_eq(noted, "nobody is home");
	delivery_service_stop(service, &loops[1]);
	cr_expect(destination_gone(&other));
}

Test(destination, works_again_after_a_back_off)
{
	add(1);
	destination_due(&destination);
	ends(connections[0], true);
	cr_expect_str_eq(settled, "T");
	fake_clock_pass(paused_ms);
	paused_ms = 0;
	add(1);
	destination_due(&destination);
	cr_expect_eq(hosts_asked, 2, "hosts are looked up anew");
	cr_expect_eq(reached, 0);
	carried(connections[1], OUTCOME_DEFERRED);
	cr_expect_eq(reached, 1, "whatever it says, it is there");
	ends(connections[1], false);
	add(1);
	destination_due(&destination);
	ends(connections[2], true);
	cr_expect_eq(paused_ms, 1 * MINUTE, "from the beginning");
}

Test(destination, a_pause_that_is_over_at_once_loses_nothing)
{
	add(5);
	pause_is_short = true;
	destination_due(&destination);
	for (size_t i = 0; i < PACE_FIRST; i++)
		ends(connections[i], true);
	/* All is settled, on its way, or back. */
	pause_is_short = false;
	for (size_t i = 0; i < COUNT(connections); i++)
		if (connections[i] != NULL)
			ends(connections[i], true);
	cr_expect_eq(settled_count + ready_count, 5);
}

Test(destination, a_message_that_breaks_connections_is_deferred)
{
	unsigned broken = 0;

	add(2);
	destination_due(&destination);
	/* There is always another connection, and it always works. */
	while (settled_count == 0 && broken < 10) {
		struct connection *connection = connections[broken];
		struct attempt *attempt = CONTAINER(connection->waiting.next,
						    struct attempt, link);

		attempt->lost++;
		broken++;
		ends(connection, true);
		add(1);
		destination_due(&destination);
	}
	cr_expect_leq(broken, 3);
}

Test(destination, without_hosts)
{
	static const struct {
		enum outcome_trouble trouble;
		const char *settled;
		uint64_t pause_ms;
	} rows[] = {
		{TROUBLE_NO_NAME, "FFFFFFFFFFFF", 0},
		{TROUBLE_NULL_MX, "FFFFFFFFFFFF", 0},
		{TROUBLE_LOOP, "FFFFFFFFFFFF", 0},
		{TROUBLE_DNS, "TTTTTTTT", 1 * MINUTE},
		{TROUBLE_DNS, "TTTTTTTT", 2 * MINUTE},
	};

	hosts_answer = HOSTS_NONE;
	for (size_t i = 0; i < COUNT(rows); i++) {
		hosts_trouble = rows[i].trouble;
		settled_count = paused_ms = 0;
		add((unsigned)(12 - ready_count));
		destination_due(&destination);
		cr_expect_str_eq(settled, rows[i].settled, "%zu: %s", i,
				 settled);
		cr_expect_eq(paused_ms, rows[i].pause_ms, "%zu", i);
		fake_clock_pass(1 * HOUR);
	}
}

Test(destination, carries_nothing_new_by_the_rules_of_old)
{
	add(1);
	destination_due(&destination);
	carried(connections[0], OUTCOME_DELIVERED);
	/* A reload: `required` now, perhaps, or another next hop. */
	loops[0].generation = &generations[1];
	add(1);
	destination_due(&destination);
	cr_expect_eq(connections[0]->assigned, 0);
	cr_assert_eq(connections_count, 2);
	cr_expect_eq(connections[1]->settings.generation, &generations[1]);
	cr_expect_eq(connections[1]->assigned, 1);
	cr_expect_eq(hosts_asked, 2);
	loops[0].generation = &generations[0];
	carried(connections[1], OUTCOME_DELIVERED);
}

/* A reload may have given it another route while it was on its way. */
Test(destination, gives_back_what_belongs_elsewhere)
{
	struct connection *first;

	add(2);
	stranger = ready[0];
	destination_due(&destination);
	first = connections[0];
	cr_assert_eq(connections_count, 2);
	ends(first, false);
	cr_expect_eq(given_back, 1);
	carried(connections[1], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "D");
}

Test(destination, goes_when_nothing_is_open)
{
	cr_expect(destination_gone(&destination), "never used");
	hosts_answer = HOSTS_LATER;
	add(1);
	destination_due(&destination);
	cr_expect_not_null(hosts_open);
	ready_count--;
	delivery_drop(ready[0]);
	cr_expect(destination_gone(&destination), "while asking");
	cr_expect_null(hosts_open);
	cr_expect_null(destination.delivery);

	hosts_answer = HOSTS_ONE;
	add(1);
	destination_due(&destination);
	cr_expect_not(destination_gone(&destination));
	carried(connections[0], OUTCOME_DELIVERED);
	cr_expect_not(destination_gone(&destination), "the connection idles");
	ends(connections[0], false);
	cr_expect(destination_gone(&destination));
}

Test(destination, stops_while_it_asks)
{
	hosts_answer = HOSTS_LATER;
	add(3);
	destination_due(&destination);
	delivery_service_stop(service, &loops[0]);
	cr_expect_null(hosts_open);
	cr_expect_eq(ready_count + given_back, 3);
}

Test(destination, stops_with_work_in_hand)
{
	add(8);
	destination_due(&destination);
	cr_expect_eq(ready_count, 3);
	delivery_service_stop(service, &loops[0]);
	cr_expect_eq(ready_count, 3);
	/* One ends well, the others come back as they went. */
	carried(connections[0], OUTCOME_DELIVERED);
	for (size_t i = 0; i < PACE_FIRST; i++)
		ends(connections[i], false);
	cr_expect_str_eq(settled, "D");
	cr_expect_eq(ready_count, 7);
}
