#include <criterion/criterion.h>

#include "tests/fake/clock.h"
#include "tests/unit/relay/delivery/destination_stand.h"

TestSuite(destination, .init = world_make, .fini = world_end, .timeout = 120);

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

Test(destination, keeps_no_rules_of_old_while_it_waits)
{
	add(1);
	destination_due(&destination);
	carried(connections[0], OUTCOME_DEFERRED);
	ends(connections[0], false);
	delivery_service_reloaded(service, &loops[0]);
	cr_expect_eq(hosts_references, 1, "what is in force stays");
	loops[0].generation = &generations[1];
	delivery_service_reloaded(service, &loops[0]);
	cr_expect_eq(generations[0].references, 100);
	cr_expect_eq(hosts_references, 0);
	add(1);
	destination_due(&destination);
	cr_expect_eq(hosts_asked, 2);
	carried(connections[1], OUTCOME_DELIVERED);
	loops[0].generation = &generations[0];
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

/* What has become of the first of many recipients is stored meanwhile. */
Test(destination, settles_what_is_put_down)
{
	add_to(3);
	destination_due(&destination);
	puts_down(connections[0], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "DNN");
	cr_expect(connections[0]->has_worked);
	cr_expect_eq(reached, 1);
	cr_expect_eq(given_back, 0);
	cr_expect_eq(released, 1, "for others, or for the rest");
}

/* It would be due again at once with the rest, and with that again and again. But
 * what is final is stored meanwhile. */
Test(destination, keeps_what_is_put_down_with_somebody_deferred)
{
	add_to(4);
	destination_due(&destination);
	puts_down(connections[0], OUTCOME_FAILED);
	cr_expect_str_eq(settled, "FNNN");
	add_to(4);
	destination_due(&destination);
	cr_assert_eq(connections_count, 2);
	puts_down(connections[1], OUTCOME_DEFERRED);
	cr_expect_str_eq(settled, "FNNN");
	cr_assert_eq(connections[1]->assigned, 1, "it goes on");
	puts_down(connections[1], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "FNNNNDNN ");
	is_noted();
	cr_assert_eq(connections_count, 3, "the one before is released");
	puts_down(connections[2], OUTCOME_FAILED);
	cr_expect_str_eq(settled, "FNNNNDNN NFN ");
	is_noted();
	puts_down(connections[3], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "FNNNNDNN NFN TD");
	cr_expect_eq(given_back, 0);
}

Test(destination, settles_at_a_stop_what_is_noted)
{
	add_to(3);
	destination_due(&destination);
	puts_down(connections[0], OUTCOME_DEFERRED);
	puts_down(connections[0], OUTCOME_DELIVERED);
	cr_expect_not(destination_gone(&destination));
	delivery_service_stop(service, &loops[0]);
	is_noted();
	cr_expect_str_eq(settled, "NDN TN");
}

Test(destination, keeps_to_a_rate_between_two_transactions)
{
	options->delivery.max_rate = 60;
	add_to(2);
	destination_due(&destination);
	cr_assert_eq(connections_count, 1);
	puts_down(connections[0], OUTCOME_DEFERRED);
	cr_expect_eq(connections[0]->assigned, 0, "not before its time");
	cr_expect_str_eq(settled, "");
	fake_clock_pass(1 * SECOND);
	destination_due(&destination);
	cr_assert_eq(connections[0]->assigned, 1);
	carried(connections[0], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "TD");
}

/* All of it is due with the next start, which does not come time after time. */
Test(destination, settles_what_is_put_down_at_a_stop)
{
	add_to(2);
	add_to(2);
	destination_due(&destination);
	delivery_service_stop(service, &loops[0]);
	puts_down(connections[0], OUTCOME_DEFERRED);
	puts_down(connections[1], OUTCOME_DELIVERED);
	cr_expect_str_eq(settled, "TNDN");
	cr_expect_eq(given_back, 0);
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

/* Mail that is prompt comes for one that waits, for its hosts or for a place. */
Test(destination, becomes_prompt_while_its_hosts_are_looked_for)
{
	hosts_answer = HOSTS_LATER;
	add(1);
	destination_due(&destination);
	cr_expect_not(hosts_open->is_prompt);
	destination.is_prompt = true;
	destination_due(&destination);
	cr_expect(hosts_open->is_prompt);
	cr_expect_eq(hosts_asked, 1);
}

Test(destination, becomes_prompt_while_it_waits_for_a_place)
{
	static struct schedule_destination others[3];

	add(PACE_FIRST);
	destination_due(&destination);
	cr_assert_eq(connections_count, PACE_FIRST);
	add(COUNT(others));
	for (size_t i = 0; i < COUNT(others); i++) {
		others[i] = destination;
		others[i].delivery = NULL;
		destination_due(&others[i]);
	}
	others[2].is_prompt = true;
	destination_due(&others[2]);
	for (size_t i = 0; i < COUNT(others); i++) {
		static const unsigned order[] = {2, 0, 1};

		ends(connections[i], false);
		uv_run(&loops[0].uv, UV_RUN_NOWAIT);
		cr_assert_eq(connections_count, PACE_FIRST + i + 1);
		cr_expect_eq(connections[PACE_FIRST + i]->settings.owner,
			     others[order[i]].delivery, "%zu", i);
	}
	delivery_service_stop(service, &loops[0]);
	for (size_t i = 0; i < connections_count; i++)
		if (connections[i] != NULL)
			ends(connections[i], false);
	for (size_t i = 0; i < COUNT(others); i++)
		cr_expect(destination_gone(&others[i]));
}

/* Whose host went away in the middle has not had its turn. */
Test(destination, is_prompt_for_what_comes_back)
{
	add(1);
	ready[0]->is_prompt = true;
	hosts_answer = HOSTS_ONE;
	destination_due(&destination);
	cr_assert_eq(connections_count, 1);
	hosts_answer = HOSTS_LATER;
	fake_clock_pass(2 * MINUTE);
	ends(connections[0], false);
	cr_assert_not_null(hosts_open);
	cr_expect(hosts_open->is_prompt);
}
