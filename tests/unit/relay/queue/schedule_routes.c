#include <stdlib.h>

#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
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
	run_main();
	put_of_both(100, false);
	routes_set(by_sender, COUNT(by_sender));
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(200));
	cr_expect_eq(attempts_count, 200);
	routes_expect("a new route");
}

Test(schedule_routes, a_route_that_is_gone_keeps_nothing, .init = begin,
     .fini = stop_all)
{
	run_main();
	routes_set(by_sender, COUNT(by_sender));
	put_of_both(100, false);
	routes_set(NULL, 0);
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(200));
	for (unsigned i = 0; i < attempts_count; i++)
		cr_expect_str_eq(attempts[i].destination, "x.example");
	/* Nor has anybody looked for its hosts. */
	cr_expect_eq(told_in_vain, 0, "%u", told_in_vain);
}

/* --- an administrator meets what is being moved --- */

static enum alteration alteration;
static bool meets_move;
static unsigned fails_move; /* so many */

struct no_room {
	struct post post;
	struct store_move *move;
};

static void
no_room_tell(struct post *post)
{
	struct no_room *no_room = CONTAINER(post, struct no_room, post);
	struct store_move *move = no_room->move;
	struct fault fault = {FAULT_LIMIT, 0, "no room"};

	free(no_room);
	move->done(move, &fault);
}

void __real_store_move(struct store *to, struct store_move *move);
void __wrap_store_move(struct store *to, struct store_move *move);

/* Asked while the move is on its way; it may fail. */
void
__wrap_store_move(struct store *to, struct store_move *move)
{
	struct no_room *no_room;

	if (meets_move)
		alter_start(alteration, move->delivery->message->id,
			    "x.example", clock_wall_ms());
	meets_move = false;
	if (fails_move == 0) {
		__real_store_move(to, move);
		return;
	}
	fails_move--;
	no_room = memory_new(sizeof(*no_room));
	no_room->move = move;
	loop_post(move->loop, &no_room->post, no_room_tell);
}

static const struct meet_row {
	const char *name;
	enum alteration alteration;
	bool fails_move;
	enum altered at_first, then; /* where it was, where it is now */
	unsigned held, attempts;
} meet_rows[] = {
	{"hold", ALTER_HOLD, false, ALTERED_GONE, ALTERED, 1, 0},
	{"delete", ALTER_DELETE, false, ALTERED_GONE, ALTERED, 0, 0},
	{"hold, and it stays where it is", ALTER_HOLD, true, ALTERED,
	 ALTERED_GONE, 1, 0},
	{"delete, and it stays where it is", ALTER_DELETE, true, ALTERED,
	 ALTERED_GONE, 0, 0},
};

static void
meet_test(const struct meet_row *wanted)
{
	struct store_counters counters;
	char destination[DESTINATION_MAX + 1];
	struct slice name;
	struct message_id id;
	enum altered what = ALTERED_GONE;

	options = (struct options){0};
	begin();
	attempts_count = gone_count = 0;
	has_stopped = false;
	run_main();
	id = put("from@example.com", "com@x.example", false);
	routes_set(by_sender, COUNT(by_sender));
	name = routing_destination(&options, SLICE("x.example"),
				   SLICE("from@example.com"), destination);
	destination[name.len] = '\0';
	alteration = wanted->alteration;
	meets_move = true;
	fails_move = wanted->fails_move;
	is_holding = true;
	begin_schedule();
	run_loops();
	cr_expect(altered(&what), "%s", wanted->name);
	cr_expect_eq(what, wanted->at_first, "%s: %d", wanted->name,
		     (int)what);
	if (wanted->at_first == ALTERED_GONE) {
		alter_start(alteration, id, destination, clock_wall_ms());
		cr_expect(altered(&what), "%s", wanted->name);
		cr_expect(what == wanted->then ||
				  what == ALTERED_BUSY,
			  "%s: %d", wanted->name, (int)what);
	}
	if (what != ALTERED_BUSY) {
		store_count(store, &counters);
		cr_expect_eq(counters.held, wanted->held, "%s", wanted->name);
		cr_expect_eq(counters.due, 0, "%s", wanted->name);
	} else {
		settle(held_at, held);
	}
	stop_all();
}

Test(schedule_routes, what_is_being_moved_is_altered_where_it_is)
{
	for (size_t i = 0; i < COUNT(meet_rows); i++)
		meet_test(&meet_rows[i]);
}

Test(schedule_routes, what_could_not_be_moved_is_moved_later, .init = begin,
     .fini = stop_all)
{
	run_main();
	put_of_both(10, false);
	routes_set(by_sender, COUNT(by_sender));
	fails_move = 7;
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(20));
	cr_expect_eq(fails_move, 0);
	cr_expect_eq(attempts_count, 20);
	routes_expect("at last");
}

/* As a salvage leaves it, where the record of a report was lost: at the place of
 * the report, while the domain's own has another recipient. */
static void
put_apart(void)
{
	struct delivery *delivery, apart = {0};
	struct list deliveries;
	struct fault fault;
	bool is_gone;

	list_init(&deliveries);
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.com", "one@x.example two@x.example", 100);
	cr_assert(put_wait(store, &main_loop, message, &deliveries, &fault));
	delivery = CONTAINER(deliveries.next, struct delivery, link);
	apart.message = message;
	apart.destination = SLICE("x.example/report-00000001");
	apart.recipients = &delivery->recipients[1];
	apart.recipients_count = 1;
	apart.due_ms = clock_wall_ms();
	cr_assert(engine_begin(store->engine, &fault));
	cr_assert(engine_add(store->engine, &apart, &fault));
	delivery->recipients_count = 1;
	delivery->recipients[0].outcome = OUTCOME_DEFERRED;
	cr_assert(engine_settle(store->engine, delivery, clock_wall_ms(),
				&is_gone, &fault));
	cr_assert(engine_commit(store->engine, &fault));
	deliveries_free(&deliveries);
}

Test(schedule_routes, who_waits_at_a_reports_place_is_tried_at_his_own,
     .init = begin, .fini = stop_all)
{
	run_main();
	put_apart();
	begin_schedule();
	run_loops();
	cr_expect(wait_delivered(2));
	cr_expect_eq(attempts_count, 2);
	for (unsigned i = 0; i < attempts_count; i++)
		cr_expect_str_eq(attempts[i].destination, "x.example");
	cr_expect_eq(told_in_vain, 0, "%u", told_in_vain);
}

/* --- a store that cannot be taken over --- */

Test(schedule_routes, a_damaged_name_behind_a_good_one_is_a_fault,
     .init = begin)
{
	struct schedule *none = NULL;
	struct fault fault = {0};
	MDB_val key = {3, (void *)"zzz"}, value = {0, NULL};

	run_main();
	put("from@example.com", "com@x.example", false);
	cr_assert(engine_begin(store->engine, &fault));
	cr_assert(mdb_put(store->engine->txn, store->engine->due, &key, &value,
			  0) == 0);
	cr_assert(engine_commit(store->engine, &fault));
	cr_expect_not(schedule_new(store, loops, LOOPS, NULL, NULL, NULL,
				   &none, &fault));
	cr_expect_gt(strlen(fault.text), 0);
	cr_expect_null(none);
}
