#include "tests/unit/relay/queue/schedule_stand.h"

Test(schedule, delivers_in_order_and_forgets, .init = begin, .fini = stop_all)
{
	struct message_id ids[20];

	begin_schedule();
	run_loops();
	for (size_t i = 0; i < COUNT(ids); i++)
		ids[i] = put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(COUNT(ids)));
	for (size_t i = 0; i < COUNT(ids); i++)
		cr_expect(message_id_eq(&attempts[i].id, &ids[i]),
			  "attempt %zu is not the %zu-th message", i, i);
	cr_expect(wait_delivered(COUNT(ids)));
	cr_expect(wait_gone(1), "the destination stays");
	cr_expect_eq(fake_log_count("delivered ", "domain=x.example"),
		     COUNT(ids));
	cr_expect_eq(fake_log_count("delivered ", "mx=mx.example.net "
						  "address=192.0.2.1:25 "
						  "tls=none"),
		     COUNT(ids));
}

/* Whoever accepted it was slow to hand it over: it was read from the store and
 * delivered before. */
Test(schedule, a_late_hand_over_is_not_a_second_delivery, .init = begin,
     .fini = stop_all)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 500);
	struct message_id last;
	struct list deliveries;

	list_init(&deliveries);
	run_main();
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	begin_schedule();
	run_loops();
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 1);
	schedule_add(schedule, &deliveries);
	last = put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(2));
	cr_expect(message_id_eq(&attempts[1].id, &last),
		  "it was delivered again");
	cr_expect(wait_gone(2));
}

/* Each reads at once after a start. */
Test(schedule, many_destinations_keep_to_the_bound, .init = begin,
     .fini = stop_all)
{
	run_main();
	for (unsigned i = 0; i < 200; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@d%u.example", i);
		put("from@example.org", to, false);
	}
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		schedule->loops[i].leases_max = 8;
	run_loops();
	cr_expect(wait_gone(200));
	cr_expect_eq(attempts_count, 200);
	cr_expect_leq(leases_seen, 8 + LEASE_READ_BATCH_FIRST,
		      "%zu leases in memory", leases_seen);
}

/* They wait for hosts that do not answer, with all the memory there is. */
Test(schedule, dead_destinations_do_not_starve_the_others, .init = begin,
     .fini = stop_all)
{
	run_main();
	for (unsigned i = 0; i < 100; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@" DEAD "%u.example", i);
		put("from@example.org", to, false);
	}
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		schedule->loops[i].leases_max = 8;
	run_loops();
	for (unsigned i = 0; i < 50; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@d%u.example", i);
		put("from@example.org", to, true);
	}
	cr_expect(wait_delivered(50));
	cr_expect_leq(leases_seen, 8 + LEASE_READ_BATCH_FIRST,
		      "%zu leases in memory", leases_seen);
}

/* So that a stop need not wait for it; its host takes no more. */
static void
held_let_go(void)
{
	pause_after_ms = HOUR;
	held_settle();
}

static const struct slow_row {
	const char *name;
	bool are_handed_over; /* else it reads them */
	size_t leases_max;
} slow_rows[] = {
	{"reads", false, 4},
	{"is handed over", true, 8},
};

/* A host that takes one message after the other, slowly, and has many. */
static void
starve_by(const struct slow_row *row)
{
	begin();
	run_main();
	for (unsigned i = 0; i < 40 && !row->are_handed_over; i++)
		put("from@example.org", "a@" SLOW ".example", false);
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		schedule->loops[i].leases_max = row->leases_max;
	run_loops();
	for (unsigned i = 0; i < 40 && row->are_handed_over; i++)
		put("from@example.org", "a@" SLOW ".example", true);
	cr_assert(wait_for(is_held), "%s", row->name);
	for (unsigned i = 0; i < 50; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@d%u.example", i);
		put("from@example.org", to, true);
	}
	cr_expect(wait_delivered(50), "%s", row->name);
	held_let_go();
	stop_all();
}

Test(schedule, a_slow_destination_that_reads_does_not_starve_the_others)
{
	starve_by(&slow_rows[0]);
}

Test(schedule, a_slow_destination_that_is_given_does_not_starve_the_others)
{
	starve_by(&slow_rows[1]);
}

/* What a destination is handed over is kept to its share. */
Test(schedule, a_destination_has_no_more_than_its_share, .init = begin)
{
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++)
		schedule->loops[i].leases_max = 64;
	run_loops();
	for (unsigned i = 0; i < 60; i++)
		put("from@example.org", "a@" DEAD ".example", true);
	/* On every loop. */
	for (unsigned i = 0; i < 8; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@d%u.example", i);
		put("from@example.org", to, true);
	}
	cr_expect(wait_delivered(8));
	cr_expect_leq(leases_seen, 64 / 8 + LEASE_READ_BATCH_FIRST + 8,
		      "%zu leases in memory", leases_seen);
	stop_all();
}

/* What is due at a start is begun with by and by. */
Test(schedule, after_a_start_there_is_time_for_others, .init = begin,
     .fini = stop_all)
{
	run_main();
	for (unsigned i = 0; i < 200; i++) {
		char to[32];

		snprintf(to, sizeof(to), "a@d%u.example", i);
		put("from@example.org", to, false);
	}
	begin_schedule();
	for (unsigned i = 0; i < LOOPS; i++) {
		const struct list *recovered = &schedule->loops[i].recovered;
		size_t before = list_count(recovered);

		uv_run(&loops[i].uv, UV_RUN_NOWAIT);
		cr_expect_eq(before - list_count(recovered),
			     SCHEDULE_RECOVER_MAX, "%zu of %zu are left",
			     list_count(recovered), before);
	}
	run_loops();
	cr_expect(wait_gone(200));
	cr_expect_eq(attempts_count, 200);
}

#define MANY 700

Test(schedule, after_a_start_everything_is_leased_once, .init = begin,
     .fini = stop_all)
{
	static struct message_id ids[MANY];
	unsigned twice = 0;

	/* Stored by an earlier process. */
	run_main();
	for (unsigned i = 0; i < MANY; i++)
		ids[i] = put("from@example.org",
			     i % 7 == 0 ? "a@y.example" : "a@x.example",
			     false);
	begin_schedule();
	run_loops();
	cr_expect(wait_gone(2));
	cr_expect_eq(attempts_count, MANY, "%u attempts", attempts_count);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned times = 0;

		for (unsigned j = 0; j < attempts_count; j++)
			times += message_id_eq(&attempts[j].id, &ids[i]);
		twice += times != 1;
	}
	cr_expect_eq(twice, 0, "%u messages not tried exactly once", twice);
}

Test(schedule, more_than_fits_is_read_back, .init = begin, .fini = stop_all)
{
	unsigned twice = 0;

	begin_schedule();
	run_loops();
	/* Reads and hand-overs of the same messages race. */
	for (unsigned i = 0; i < MANY; i++)
		put("from@example.org", "a@x.example", i % 3 != 0);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(MANY * 2 / 3));
	uv_mutex_lock(&mutex);
	for (unsigned i = 0; i < attempts_count; i++)
		for (unsigned j = 0; j < i; j++)
			twice += message_id_eq(&attempts[i].id,
					       &attempts[j].id);
	uv_mutex_unlock(&mutex);
	cr_expect_eq(twice, 0);
}

Test(schedule, a_pause_holds_everything_back, .init = begin,
     .fini = stop_all)
{
	begin_schedule();
	run_loops();
	pause_ms = 300;
	put("from@example.org", "a@x.example", true);
	put("from@example.org", "a@x.example", true);
	cr_expect(wait_attempts(3));
	cr_expect_geq(attempts[1].at_ms - attempts[0].at_ms, 295);
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 3);
}

struct late {
	struct post post;
};

static void
settle_late(struct post *post)
{
	(void)post;
	cr_expect_not(has_stopped, "stopped with a lease out");
	settle(held_at, held);
}

Test(schedule, a_stop_waits_for_leases, .init = begin, .fini = stop_all)
{
	static struct late late;

	begin_schedule();
	run_loops();
	is_holding = true;
	put("from@example.org", "a@x.example", true);
	cr_assert(wait_for(is_held));
	/* Behind the stop, which fini begins, in the loop's own order. */
	schedule_stop(schedule, &main_loop, on_stopped, NULL);
	loop_post(held_at->loop, &late.post, settle_late);
	cr_expect(wait_for(stopped));
	cr_expect_eq(fake_log_count("delivered ", NULL), 1);
	has_stopped = false;
	schedule_free(schedule);
	begin_schedule();
}

static void
give_back_late(struct post *post)
{
	(void)post;
	schedule_give_back(held_at, held);
}

/* Nobody would take it any more; it is stored. */
Test(schedule, a_stop_waits_for_nothing_that_is_given_back, .init = begin,
     .fini = stop_all)
{
	static struct late late;

	begin_schedule();
	run_loops();
	is_holding = true;
	put("from@example.org", "a@x.example", true);
	cr_assert(wait_for(is_held));
	schedule_stop(schedule, &main_loop, on_stopped, NULL);
	loop_post(held_at->loop, &late.post, give_back_late);
	cr_expect(wait_for(stopped));
	cr_expect_eq(attempts_count, 1);
}

/* --- altering --- */

static struct recipient_result
deferred_always(const struct delivery *delivery, size_t recipient)
{
	(void)delivery;
	(void)recipient;
	return result(OUTCOME_DEFERRED, "450 4.2.0 later");
}

static bool
deferred_once(void)
{
	return fake_log_count("deferred ", NULL) >= 1;
}

static const struct busy_row {
	const char *name;
	enum alteration alteration;
	enum altered altered;
} busy_rows[] = {
	{"hold", ALTER_HOLD, ALTERED_BUSY},
	{"release", ALTER_RELEASE, ALTERED_BUSY},
	{"delete", ALTER_DELETE, ALTERED_BUSY},
	{"retry: it is being tried", ALTER_RETRY, ALTERED_ALREADY},
};

Test(schedule, what_is_under_way_is_left_alone)
{
	struct message_id id;

	begin();
	begin_schedule();
	run_loops();
	is_holding = true;
	id = put("a@example.org", "b@x.example", true);
	cr_assert(wait_for(is_held));
	for (size_t i = 0; i < COUNT(busy_rows); i++)
		cr_expect_eq(alter(busy_rows[i].alteration, id, "x.example",
				   clock_wall_ms()),
			     busy_rows[i].altered, "%s", busy_rows[i].name);
	held_settle();
	cr_expect(wait_delivered(1));
	cr_expect_eq(alter(ALTER_DELETE, id, "x.example", clock_wall_ms()),
		     ALTERED_GONE);
	stop_all();
}

Test(schedule, a_retry_ends_the_pause_once)
{
	struct message_id id;

	begin();
	begin_schedule();
	run_loops();
	pause_ms = HOUR;
	id = put("a@example.org", "b@x.example", true);
	cr_assert(wait_attempts(1));
	/* Another destination is no reason. */
	cr_expect_eq(alter(ALTER_HOLD, id, "y.example", clock_wall_ms()),
		     ALTERED_GONE);
	cr_expect_eq(atomic_load(&hurries), 0);
	cr_expect_eq(alter(ALTER_RETRY, id, "x.example", clock_wall_ms()),
		     ALTERED_ALREADY);
	cr_expect(wait_delivered(1));
	cr_expect_eq(atomic_load(&hurries), 1);
	stop_all();
}

Test(schedule, held_until_released)
{
	struct message_id id;
	enum altered held_now;

	begin();
	decide = deferred_always;
	retry_ms[0] = retry_ms[1] = HOUR;
	begin_schedule();
	run_loops();
	id = put("a@example.org", "b@x.example", true);
	cr_assert(wait_for(deferred_once));
	/* The log knows it before the store does. */
	do
		held_now = alter(ALTER_HOLD, id, "x.example", clock_wall_ms());
	while (held_now == ALTERED_BUSY);
	cr_expect_eq(held_now, ALTERED);
	cr_expect_eq(alter(ALTER_RETRY, id, "x.example", clock_wall_ms()),
		     ALTERED_UNFIT);
	/* Past its time, and yet one attempt is made. */
	options.delivery.expire_ms = 1;
	decide = always_delivered;
	cr_expect_eq(attempts_count, 1);
	cr_expect_eq(alter(ALTER_RELEASE, id, "x.example", clock_wall_ms()),
		     ALTERED);
	cr_expect(wait_delivered(1));
	cr_expect_eq(fake_log_count("bounced ", NULL), 0);
	stop_all();
}

static struct recipient_result
nobody_there(const struct delivery *delivery, size_t recipient)
{
	(void)delivery;
	(void)recipient;
	pause_after_ms = 20;
	return result(OUTCOME_DEFERRED, "cannot connect");
}

static const struct asked_row {
	const char *name;
	enum alteration before, alteration;
	enum altered altered;
} asked_rows[] = {
	{"released", ALTER_HOLD, ALTER_RELEASE, ALTERED},
	{"retried", ALTER_RETRY, ALTER_RETRY, ALTERED_ALREADY},
};

/* What others have met with there is no reason to give it up untried: whoever
 * asks for an attempt may have mended the host. */
static void
ask_behind_others(const struct asked_row *row)
{
	struct message_id id, other;

	begin();
	retry_ms[0] = retry_ms[1] = HOUR;
	begin_schedule();
	run_loops();
	id = put("a@example.org", "b@x.example", false);
	if (row->before == ALTER_HOLD)
		cr_expect_eq(alter(ALTER_HOLD, id, "x.example",
				   clock_wall_ms()),
			     ALTERED);
	decide = nobody_there;
	other = put("a@example.org", "c@x.example", true);
	cr_assert(wait_for(deferred_once));
	while (alter(ALTER_RELEASE, other, "x.example", clock_wall_ms()) ==
	       ALTERED_BUSY)
		;
	decide = always_delivered;
	pause_after_ms = 0;
	options.delivery.expire_ms = 1;
	cr_expect_eq(alter(row->alteration, id, "x.example", clock_wall_ms()),
		     row->altered, "%s", row->name);
	cr_expect(wait_delivered(1), "%s", row->name);
	cr_expect_eq(fake_log_count("bounced ", NULL), 0, "%s", row->name);
	stop_all();
}

Test(schedule, released_behind_others_it_is_tried)
{
	ask_behind_others(&asked_rows[0]);
}

Test(schedule, retried_behind_others_it_is_tried)
{
	ask_behind_others(&asked_rows[1]);
}

Test(schedule, deleted_before_it_is_handed_over)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("a@example.org", "b@x.example", 500);
	struct list deliveries;

	begin();
	begin_schedule();
	run_loops();
	list_init(&deliveries);
	cr_assert(put_wait(store, &main_loop, message, &deliveries, NULL));
	/* So that the destination is there, and knows what it is told. */
	is_holding = true;
	put("a@example.org", "c@x.example", true);
	cr_assert(wait_for(is_held));
	cr_expect_eq(alter(ALTER_DELETE, message->id, "x.example",
			   clock_wall_ms()),
		     ALTERED);
	schedule_add(schedule, &deliveries);
	held_settle();
	cr_expect(wait_delivered(1));
	cr_expect(wait_gone(1));
	cr_expect_eq(attempts_count, 1, "what was deleted is not tried");
	stop_all();
}

static void
settle_all(struct schedule_destination *destination, struct delivery *delivery)
{
	for (; delivery != NULL; delivery = schedule_take(destination))
		settle(destination, delivery);
}

static bool is_store_broken;

static void
tell_of_the_store(struct post *post)
{
	struct store_alter *alter =
		CONTAINER(post, struct store_alter, operation.post);
	struct fault fault = {FAULT_SYSTEM, 0, "broken"};

	alter->done(alter, &fault);
}

void __real_store_alter(struct store *to, struct store_alter *alter);
void __wrap_store_alter(struct store *to, struct store_alter *alter);

void
__wrap_store_alter(struct store *to, struct store_alter *alter)
{
	if (is_store_broken)
		loop_post(alter->loop, &alter->operation.post,
			  tell_of_the_store);
	else
		__real_store_alter(to, alter);
}

/* In memory, behind one that is under way. */
Test(schedule, what_waits_its_turn_is_altered)
{
	struct message_id deleted, kept, spared;

	begin();
	begin_schedule();
	run_loops();
	is_holding = true;
	put("a@example.org", "b@x.example", true);
	cr_assert(wait_for(is_held));
	deleted = put("a@example.org", "c@x.example", true);
	kept = put("a@example.org", "d@x.example", true);
	spared = put("a@example.org", "e@x.example", true);
	cr_expect_eq(alter(ALTER_DELETE, deleted, "x.example",
			   clock_wall_ms()),
		     ALTERED);
	cr_expect_eq(alter(ALTER_HOLD, kept, "x.example", clock_wall_ms()),
		     ALTERED);
	is_store_broken = true;
	cr_expect_eq(alter(ALTER_DELETE, spared, "x.example", clock_wall_ms()),
		     ALTERED_FAILED);
	is_store_broken = false;
	held_go_on(settle_all);
	cr_expect(wait_gone(1), "nobody has a turn");
	cr_expect_eq(fake_log_count("delivered ", NULL), 2);
	cr_expect_eq(fake_log_count("delivered ", "to=e@x.example"), 1);
	cr_expect_eq(alter(ALTER_RELEASE, kept, "x.example", clock_wall_ms()),
		     ALTERED);
	cr_expect(wait_delivered(3));
	cr_expect_eq(fake_log_count("delivered ", "to=c@x.example"), 0,
		     "it was deleted");
	stop_all();
}

static void
give_back_in_a_pause(struct schedule_destination *destination,
		     struct delivery *delivery)
{
	schedule_pause(destination, 20);
	schedule_give_back(destination, delivery);
}

Test(schedule, what_is_given_back_in_a_pause_is_tried_behind_it)
{
	begin();
	begin_schedule();
	run_loops();
	is_holding = true;
	put("a@example.org", "b@x.example", true);
	cr_assert(wait_for(is_held));
	held_go_on(give_back_in_a_pause);
	cr_expect(wait_delivered(1));
	stop_all();
}

static struct recipient_result
delivered_at_home(const struct delivery *delivery, size_t recipient)
{
	cr_expect_not_null(destination_find(
		home_of(schedule, delivery->destination),
		delivery->destination));
	return always_delivered(delivery, recipient);
}

/* On two loops each would be read, and delivered, twice. */
Test(schedule, each_destination_is_on_its_own_loop)
{
	begin();
	decide = delivered_at_home;
	begin_schedule();
	run_loops();
	put("a@example.org",
	    "b@a.example b@b.example b@c.example b@d.example b@e.example "
	    "b@f.example b@g.example b@h.example",
	    true);
	cr_expect(wait_delivered(8));
	stop_all();
}
