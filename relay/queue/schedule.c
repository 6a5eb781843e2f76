#include "relay/queue/schedule_private.h"

#include <stdlib.h>

#include "base/clock.h"

static struct destination *
destination_of(struct schedule_destination *public)
{
	return CONTAINER(public, struct destination, public);
}

struct schedule_loop *
home_of(struct schedule *schedule, struct slice name)
{
	return &schedule->loops[slice_hash(name) % schedule->loops_count];
}

/* --- delivery's side --- */

struct delivery *
schedule_take(struct schedule_destination *public)
{
	struct destination *destination = destination_of(public);
	struct lease *lease;

	destination_move_strangers(destination);
	if (destination->ready_count == 0 ||
	    destination->paused_until_ms > clock_now_ms()) {
		destination->is_told = false;
		destination_post(destination);
		return NULL;
	}
	lease = CONTAINER(destination->ready.next, struct lease, ready);
	lease_leave_ready(destination, lease);
	lease->state = LEASE_OUT;
	destination->has_taken = true;
	if (destination->ready_count == 0 &&
	    destination->batch < LEASE_READ_BATCH)
		destination->batch *= 2;
	if (destination_wants_more(destination))
		destination_post(destination);
	return lease->delivery;
}

void
schedule_note(struct schedule_destination *public, struct delivery *delivery,
	      const struct recipient_result *results, schedule_noted_fn *noted)
{
	struct lease *lease = delivery->lease;

	ASSERT(lease->delivery == delivery);
	ASSERT(lease->state == LEASE_OUT);
	ASSERT(results != NULL);
	lease->state = LEASE_SETTLING;
	settlement_start(destination_of(public), lease, results, noted);
}

void
schedule_settle(struct schedule_destination *public,
		struct delivery *delivery,
		const struct recipient_result *results)
{
	schedule_note(public, delivery, results, NULL);
}

bool
schedule_is_stranger(const struct schedule_destination *public,
		     const struct delivery *delivery)
{
	return !lease_fits(CONTAINER(public, const struct destination, public),
			   delivery->lease);
}

void
schedule_give_back(struct schedule_destination *public,
		   struct delivery *delivery)
{
	struct destination *destination = destination_of(public);
	struct lease *lease = delivery->lease;

	ASSERT(lease->delivery == delivery);
	ASSERT(lease->state == LEASE_OUT);
	if (destination->home->is_stopping ||
	    destination->paused_until_ms > clock_now_ms()) {
		lease_drop(destination, lease);
	} else {
		lease_enter_ready(destination, lease, true);
	}
	destination_post(destination);
}

void
schedule_trouble(struct schedule_destination *public,
		 const struct recipient_result *why)
{
	trouble_note(&destination_of(public)->trouble, why);
}

void
schedule_reached(struct schedule_destination *public)
{
	trouble_end(&destination_of(public)->trouble);
}

void
schedule_pause(struct schedule_destination *public, uint64_t delay_ms)
{
	struct destination *destination = destination_of(public);

	destination->paused_until_ms =
		delay_ms == 0 ? 0 : clock_now_ms() + delay_ms;
	if (delay_ms > 0) {
		/* Others may use the memory meanwhile. */
		destination_drop_ready(destination);
		destination->batch = LEASE_READ_BATCH_FIRST;
		destination->sweeps |= trouble_count(&destination->trouble);
		destination_note_rest(destination);
	}
	destination_post(destination);
}

/* --- taking over --- */

struct handover {
	struct post post;
	struct schedule_loop *home;
	struct list deliveries;
};

/* No one of them has all of a loop, of which a machine may have many. */
static bool
destination_has_room(const struct destination *destination)
{
	const struct schedule_loop *home = destination->home;

	return !home->is_stopping && home_has_room(home) &&
	       destination->leases_count < LEASES_MAX_PER_DESTINATION &&
	       destination->leases_count < home->leases_max / LEASES_SHARE &&
	       destination->paused_until_ms <= clock_now_ms();
}

static void
home_take_over(struct schedule_loop *home, struct delivery *delivery)
{
	struct destination *destination =
		destination_find(home, delivery->destination);

	if (destination == NULL && !home->is_stopping)
		destination = destination_new(home, delivery->destination);
	if (destination == NULL) {
		delivery_free(delivery);
		return;
	}
	/* A read may have found it in the store before: then it is in memory,
	 * or it is over already, and only the store knows. */
	if (lease_find(destination, &delivery->message->id) != NULL) {
		delivery_free(delivery);
	} else if (!delivery->is_report_owed &&
		   delivery->version > destination->read_version &&
		   destination_has_room(destination)) {
		lease_new(destination, delivery);
	} else {
		destination_note_due(destination, delivery->due_ms);
		destination->has_prompt_stored |= delivery->is_prompt;
		destination_note_rest(destination);
		delivery_free(delivery);
	}
	destination_update(destination);
}

static void
handover_run(struct post *post)
{
	struct handover *handover = CONTAINER(post, struct handover, post);
	struct list *item;

	while ((item = list_take_first(&handover->deliveries)) != NULL)
		home_take_over(handover->home,
			       CONTAINER(item, struct delivery, link));
	free(handover);
}

void
schedule_add(struct schedule *schedule, struct list *deliveries)
{
	while (!list_is_empty(deliveries)) {
		struct handover *handover = memory_new(sizeof(*handover));
		struct delivery *delivery =
			CONTAINER(deliveries->next, struct delivery, link);

		list_init(&handover->deliveries);
		handover->home = home_of(schedule, delivery->destination);
		LIST_EACH (item, deliveries) {
			delivery = CONTAINER(item, struct delivery, link);
			if (home_of(schedule, delivery->destination) !=
			    handover->home)
				continue;
			list_remove(item);
			list_add_last(&handover->deliveries, item);
		}
		loop_post(handover->home->loop, &handover->post,
			  handover_run);
	}
}

/* --- start --- */

static void
destination_recover(void *owner, struct slice name, uint64_t due_ms)
{
	struct schedule *schedule = owner;
	struct destination *destination =
		destination_new(home_of(schedule, name), name);

	destination_note_due(destination, due_ms);
	list_add_last(&destination->home->recovered, &destination->recovered);
}

/* Some of those that are due; of those that are not, any number. */
static void
home_recover_some(struct schedule_loop *home)
{
	struct list *item;

	for (unsigned reads = 0; reads < SCHEDULE_RECOVER_MAX;) {
		size_t before = home->leases_coming;

		item = list_take_first(&home->recovered);
		if (item == NULL)
			return;
		destination_update(
			CONTAINER(item, struct destination, recovered));
		reads += home->leases_coming > before;
	}
}

/* Thousands at once would fill each turn of the loop for as long as they take,
 * and whatever is new would wait for all of them. */
static void
home_recover(struct alarm *alarm)
{
	struct schedule_loop *home =
		CONTAINER(alarm, struct schedule_loop, recovery);

	if (!home->is_stopping)
		home_recover_some(home);
	if (home->is_stopping || list_is_empty(&home->recovered))
		alarm_close(&home->recovery, NULL);
	else
		alarm_set(&home->recovery, SCHEDULE_RECOVER_MS);
}

static void
schedule_begin_recovery(struct schedule *schedule)
{
	for (size_t i = 0; i < schedule->loops_count; i++) {
		struct schedule_loop *home = &schedule->loops[i];

		if (list_is_empty(&home->recovered))
			continue;
		alarm_init(&home->recovery, home->loop, home_recover);
		alarm_set(&home->recovery, 0);
	}
}

/* No loop has run; some destinations may have been found already. */
static void
schedule_drop(struct schedule *schedule)
{
	for (size_t i = 0; i < schedule->loops_count; i++)
		LIST_EACH (item, &schedule->loops[i].destinations)
			destination_close(
				CONTAINER(item, struct destination, link));
	schedule_free(schedule);
}

bool
schedule_new(struct store *store, struct loop *loops, size_t loops_count,
	     schedule_due_fn *due, schedule_gone_fn *gone,
	     schedule_hurry_fn *hurry, struct schedule **schedule_out,
	     struct fault *fault)
{
	struct schedule *schedule = memory_new(sizeof(*schedule));

	ASSERT(loops_count > 0);
	schedule->store = store;
	schedule->due = due;
	schedule->gone = gone;
	schedule->hurry = hurry;
	schedule->report_retry_ms = SETTLE_REPORT_RETRY_MS;
	schedule->loops_count = loops_count;
	schedule->loops = memory_array(loops_count, sizeof(*schedule->loops));
	for (size_t i = 0; i < loops_count; i++) {
		struct schedule_loop *home = &schedule->loops[i];

		home->schedule = schedule;
		home->loop = &loops[i];
		home->leases_max = LEASES_MAX / loops_count;
		home->reports_max = SETTLE_REPORTS_MAX / loops_count;
		list_init(&home->destinations);
		list_init(&home->recovered);
		turns_init(&home->starved);
		list_init(&home->resting);
		list_init(&home->reports_waiting);
		list_init(&home->reporting);
	}
	/* Before any loop runs: their alarms may be set from here. */
	if (!store_each_destination(store, destination_recover, schedule,
				    fault)) {
		schedule_drop(schedule);
		return false;
	}
	schedule_begin_recovery(schedule);
	*schedule_out = schedule;
	return true;
}

/* --- stop --- */

struct stop_report {
	struct post post;
	struct schedule *schedule;
};

static void
stop_report_run(struct post *post)
{
	struct stop_report *report = CONTAINER(post, struct stop_report, post);
	struct schedule *schedule = report->schedule;

	free(report);
	ASSERT(schedule->loops_running > 0);
	if (--schedule->loops_running == 0)
		schedule->stopped(schedule->stopped_owner);
}

static bool
home_is_busy(struct schedule_loop *home)
{
	if (home->leases_count > 0 || home->altering > 0)
		return true;
	LIST_EACH (item, &home->destinations) {
		struct destination *destination =
			CONTAINER(item, struct destination, link);

		if (destination->read != NULL || destination->is_posted)
			return true;
	}
	return false;
}

void
home_check_stopped(struct schedule_loop *home)
{
	struct stop_report *report;

	if (home->has_stopped || home_is_busy(home))
		return;
	LIST_EACH (item, &home->destinations) {
		struct destination *destination =
			CONTAINER(item, struct destination, link);

		if (home->schedule->gone(&destination->public))
			destination_close(destination);
		else
			alarm_set(&destination->alarm, SCHEDULE_STOPPING_MS);
	}
	if (!list_is_empty(&home->destinations))
		return;
	home->has_stopped = true;
	report = memory_new(sizeof(*report));
	report->schedule = home->schedule;
	loop_post(home->schedule->main_loop, &report->post, stop_report_run);
}

static void
home_stop(struct post *post)
{
	struct schedule_loop *home =
		CONTAINER(post, struct schedule_loop, post);

	home->is_stopping = true;
	LIST_EACH (item, &home->destinations) {
		struct destination *destination =
			CONTAINER(item, struct destination, link);

		alarm_clear(&destination->alarm);
		destination_drop_ready(destination);
	}
	settlements_stop(home);
	home_check_stopped(home);
}

void
schedule_stop(struct schedule *schedule, struct loop *main_loop,
	      void (*stopped)(void *owner), void *owner)
{
	ASSERT(schedule->stopped == NULL);
	ASSERT(stopped != NULL);
	schedule->main_loop = main_loop;
	schedule->stopped = stopped;
	schedule->stopped_owner = owner;
	schedule->loops_running = schedule->loops_count;
	for (size_t i = 0; i < schedule->loops_count; i++)
		loop_post(schedule->loops[i].loop, &schedule->loops[i].post,
			  home_stop);
}

void
schedule_free(struct schedule *schedule)
{
	for (size_t i = 0; i < schedule->loops_count; i++)
		ASSERT(list_is_empty(&schedule->loops[i].destinations));
	free(schedule->loops);
	free(schedule);
}
