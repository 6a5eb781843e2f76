#include <criterion/criterion.h>

#include "tests/fake/clock.h"
#include "tests/unit/relay/delivery/destination_stand.h"

/* Where nobody gets there. */

TestSuite(destination_trouble, .init = world_make, .fini = world_end,
	  .timeout = 120);

/* It hears why, so that its own mail can come to an end there, too. */
Test(destination_trouble, is_not_tried_where_another_domain_found_nobody)
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

static void
trouble_copy(void *owner, const struct destination_state *state)
{
	text_add(owner, state->trouble);
}

/* Nothing to connect with: what waits says so, and comes to its end. */
Test(destination_trouble, our_own_is_told_as_well)
{
	CLEAN(text_done) struct text trouble = {0};
	struct connection *connection;

	add(2);
	destination_due(&destination);
	connection = connections[0];
	connection->is_local_trouble = true;
	connection->last = (struct recipient_result){
		.outcome = OUTCOME_DEFERRED, .reply = SLICE("no more files")};
	ends(connection, false);
	cr_expect_eq(paused_ms, 5 * SECOND);
	cr_expect_eq(settled_count, 0, "nothing is touched");
	cr_expect_str_eq(noted, "no more files");
	destination_each_state(service, &loops[0], trouble_copy, &trouble);
	cr_expect_str_eq(text_string(&trouble), "no more files");
}

Test(destination_trouble, works_again_after_a_back_off)
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

Test(destination_trouble, a_pause_that_is_over_at_once_loses_nothing)
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

Test(destination_trouble, a_message_that_breaks_connections_is_deferred)
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

Test(destination_trouble, without_hosts)
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
		{TROUBLE_OWN_NEXT_HOP, "TTTTTTTT", 4 * MINUTE},
	};

	hosts_answer = HOSTS_NONE;
	for (size_t i = 0; i < COUNT(rows); i++) {
		hosts_trouble = rows[i].trouble;
		settled_count = 0;
		paused_ms = 0;
		add((unsigned)(12 - ready_count));
		destination_due(&destination);
		cr_expect_str_eq(settled, rows[i].settled, "%zu: %s", i,
				 settled);
		cr_expect_eq(paused_ms, rows[i].pause_ms, "%zu", i);
		fake_clock_pass(1 * HOUR);
	}
}
