#include "relay/routing.h"
#include "tests/unit/relay/queue/schedule_stand.h"

/* Routes by sender, as after a reload. */
static void
routes_set(struct route_options *routes, size_t count)
{
	options.routes = routes;
	options.routes_count = count;
	routing_build(&options);
}

static struct route_options by_sender[] = {
	{.pattern = SLICE_LITERAL("*"),
	 .from = (struct slice[]){SLICE_LITERAL("example.com")},
	 .from_count = 1},
};

/* Whether the n-th attempt was under a destination of the routes in force. */
static void
routes_expect(const char *name)
{
	for (unsigned i = 0; i < attempts_count; i++) {
		struct slice destination = SLICE(attempts[i].destination);
		const struct route_options *route = NULL;

		cr_expect(slice_eq(routing_domain(destination),
				   SLICE("x.example")));
		cr_expect(routing_at(&options, destination, &route),
			  "%s: %s is no more", name, attempts[i].destination);
		cr_expect_eq(route != NULL, attempts[i].to[0] == 'c', "%s: %s",
			     name, attempts[i].destination);
	}
}

static void
put_of_both(unsigned count, bool is_handed_over)
{
	for (unsigned i = 0; i < count; i++) {
		put("from@example.com", "com@x.example", is_handed_over);
		put("from@example.org", "org@x.example", is_handed_over);
	}
}

Test(schedule_routes, each_sender_has_its_destination, .init = begin, .fini = stop_all)
{
	routes_set(by_sender, COUNT(by_sender));
	begin_schedule();
	run_loops();
	put_of_both(20, true);
	cr_expect(wait_delivered(40));
	cr_expect_eq(attempts_count, 40);
	routes_expect("handed over");
}

Test(schedule_routes, what_was_stored_takes_the_routes_of_now, .init = begin,
     .fini = stop_all)
{
	cr_assert(loop_start(&main_loop, NULL));
	put_of_both(100, false);
	routes_set(by_sender, COUNT(by_sender));
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	cr_expect(wait_delivered(200));
	cr_expect_eq(attempts_count, 200);
	routes_expect("a new route");
}

Test(schedule_routes, a_route_that_is_gone_keeps_nothing, .init = begin,
     .fini = stop_all)
{
	cr_assert(loop_start(&main_loop, NULL));
	routes_set(by_sender, COUNT(by_sender));
	put_of_both(100, false);
	routes_set(NULL, 0);
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], NULL));
	cr_expect(wait_delivered(200));
	for (unsigned i = 0; i < attempts_count; i++)
		cr_expect_str_eq(attempts[i].destination, "x.example");
}
