#include "relay/queue/schedule_private.h"

#include <search.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

static void destination_update(struct destination *destination);

static struct destination *
destination_of(struct schedule_destination *public)
{
	return CONTAINER(public, struct destination, public);
}

/* --- destinations --- */

static int
destination_compare(const void *a, const void *b)
{
	const struct destination *left = a, *right = b;

	return slice_compare(left->public.name, right->public.name);
}

static struct destination *
destination_find(struct schedule_loop *home, struct slice name)
{
	struct destination wanted = {.public = {.name = name}};
	void *found = tfind(&wanted, &home->tree, destination_compare);

	return found == NULL ? NULL : *(struct destination **)found;
}

static void
destination_on_alarm(struct alarm *alarm)
{
	destination_update(CONTAINER(alarm, struct destination, alarm));
}

static struct destination *
destination_new(struct schedule_loop *home, struct slice name)
{
	struct destination *destination =
		memory_new(sizeof(*destination) + name.len);

	memcpy(destination->name, name.bytes, name.len);
	destination->public.name = slice_of(destination->name, name.len);
	destination->public.loop = home->loop;
	destination->home = home;
	destination->batch = LEASE_READ_BATCH_FIRST;
	destination->read_version = home->read_version;
	list_init(&destination->starved);
	list_init(&destination->leases);
	list_init(&destination->ready);
	alarm_init(&destination->alarm, home->loop, destination_on_alarm);
	ASSERT(tsearch(destination, &home->tree, destination_compare) != NULL);
	list_add_last(&home->destinations, &destination->link);
	return destination;
}

static struct schedule_loop *
home_of(struct schedule *schedule, struct slice name)
{
	return &schedule->loops[slice_hash(name) % schedule->loops_count];
}

/* --- leases --- */

static struct lease *
lease_find(struct destination *destination, const struct message_id *id)
{
	LIST_EACH (item, &destination->leases) {
		struct lease *lease = CONTAINER(item, struct lease, link);

		if (message_id_eq(&lease->id, id))
			return lease;
	}
	return NULL;
}

/* Takes the delivery. */
static struct lease *
lease_new(struct destination *destination, struct delivery *delivery)
{
	struct lease *lease = memory_new(sizeof(*lease));

	lease->id = delivery->message->id;
	lease->delivery = delivery;
	delivery->lease = lease;
	list_add_last(&destination->leases, &lease->link);
	list_add_last(&destination->ready, &lease->ready);
	destination->leases_count++;
	destination->ready_count++;
	destination->home->leases_count++;
	return lease;
}

static void
lease_leave_ready(struct destination *destination, struct lease *lease)
{
	ASSERT(lease->state == LEASE_READY);
	ASSERT(destination->ready_count > 0);
	list_remove(&lease->ready);
	destination->ready_count--;
}

static bool
home_has_room(const struct schedule_loop *home)
{
	return home->leases_count + home->leases_coming < home->leases_max;
}

/* Whoever waits for room is next. */
static void
home_feed_starved(struct schedule_loop *home)
{
	struct list *item;

	if (!home_has_room(home))
		return;
	item = list_take_first(&home->starved);
	if (item != NULL)
		alarm_set(&CONTAINER(item, struct destination, starved)->alarm,
			  0);
}

/* A read under way may have seen it as it was: then its id stays. */
static void
lease_end(struct destination *destination, struct lease *lease)
{
	struct schedule_loop *home = destination->home;

	ASSERT(lease->state != LEASE_READY);
	ASSERT(lease->state != LEASE_OVER);
	ASSERT(destination->leases_count > 0);
	ASSERT(home->leases_count > 0);
	delivery_free(TAKE(lease->delivery));
	lease->state = LEASE_OVER;
	destination->leases_count--;
	home->leases_count--;
	if (destination->read == NULL) {
		list_remove(&lease->link);
		free(lease);
	}
	home_feed_starved(home);
}

static void
leases_forget_over(struct destination *destination)
{
	LIST_EACH (item, &destination->leases) {
		struct lease *lease = CONTAINER(item, struct lease, link);

		if (lease->state != LEASE_OVER)
			continue;
		list_remove(item);
		free(lease);
	}
}

/* Reading goes on from there at the latest. */
static void
destination_rewind(struct destination *destination, uint64_t due_ms)
{
	if (due_ms > destination->after_ms)
		return;
	destination->after_ms = due_ms;
	/* Before every id of that time. */
	destination->after_id = (struct message_id){{0}};
}

/* Something is stored and due then that is not in memory. */
static void
destination_note_due(struct destination *destination, uint64_t due_ms)
{
	if (due_ms == 0)
		due_ms = 1;
	if (destination->next_due_ms == 0 ||
	    due_ms < destination->next_due_ms)
		destination->next_due_ms = due_ms;
	if (destination->read == NULL)
		destination_rewind(destination, due_ms);
	else if (destination->rewind_ms == 0 ||
		 due_ms < destination->rewind_ms)
		destination->rewind_ms = due_ms;
}

/* Back to being stored only. */
static void
lease_drop(struct destination *destination, struct lease *lease)
{
	destination_note_due(destination, lease->delivery->due_ms);
	if (lease->state == LEASE_READY)
		lease_leave_ready(destination, lease);
	lease->state = LEASE_OUT;
	lease_end(destination, lease);
}

static void
destination_drop_ready(struct destination *destination)
{
	LIST_EACH (item, &destination->ready)
		lease_drop(destination,
			   CONTAINER(item, struct lease, ready));
}

/* --- reading what is due --- */

static void
destination_sleep(struct destination *destination, uint64_t delay_ms)
{
	if (delay_ms > SCHEDULE_SLEEP_MAX_MS)
		delay_ms = SCHEDULE_SLEEP_MAX_MS;
	alarm_set(&destination->alarm, delay_ms);
}

static void
read_take(struct destination *destination, struct delivery *delivery)
{
	struct lease *lease;

	destination->after_ms = delivery->due_ms;
	destination->after_id = delivery->message->id;
	if (lease_find(destination, &delivery->message->id) != NULL) {
		delivery_free(delivery);
		return;
	}
	lease = lease_new(destination, delivery);
	if (settlement_has_expired(destination, delivery)) {
		lease_leave_ready(destination, lease);
		lease->state = LEASE_SETTLING;
		settlement_start(destination, lease, NULL);
	}
}

static void
read_take_all(struct destination *destination, struct store_read_due *read)
{
	struct list *item;

	while ((item = list_take_first(&read->deliveries)) != NULL)
		read_take(destination,
			  CONTAINER(item, struct delivery, link));
	if (read->next_due_ms != 0 &&
	    (destination->next_due_ms == 0 ||
	     read->next_due_ms < destination->next_due_ms))
		destination->next_due_ms = read->next_due_ms;
}

static void
read_done(struct store_read_due *read, const struct fault *fault)
{
	struct destination *destination = read->private;

	if (fault != NULL) {
		log_note(LOG_LEVEL_ERROR, "store",
			 "what is due for %.*s cannot be read: %s",
			 SLICE_ARG(destination->public.name), fault->text);
		destination_note_due(destination, clock_wall_ms() +
							  SCHEDULE_READ_RETRY_MS);
	} else {
		read_take_all(destination, read);
		if (read->version > destination->read_version)
			destination->read_version = read->version;
	}
	destination->read = NULL;
	destination->home->leases_coming -= read->max;
	free(read);
	home_feed_starved(destination->home);
	leases_forget_over(destination);
	if (destination->rewind_ms != 0)
		destination_rewind(destination, destination->rewind_ms);
	if (destination->paused_until_ms != 0 ||
	    destination->home->is_stopping)
		destination_drop_ready(destination);
	destination_update(destination);
}

/* Due times are wall time, and clocks are set right: what lies beyond all that
 * may be waited for is due too. What else is stored lies before it. */
static bool
destination_is_due(const struct destination *destination, uint64_t wall_ms)
{
	return destination->next_due_ms <= wall_ms ||
	       destination->next_due_ms - wall_ms >
		       settlement_wait_max_ms(destination);
}

static void
destination_read(struct destination *destination, uint64_t wall_ms)
{
	struct schedule_loop *home = destination->home;
	struct store_read_due *read;

	list_remove(&destination->starved);
	if (!home_has_room(home)) {
		list_add_last(&home->starved, &destination->starved);
		destination_sleep(destination, SCHEDULE_STARVED_MS);
		return;
	}
	read = memory_new(sizeof(*read));
	read->destination = destination->public.name;
	read->until_ms = destination->next_due_ms <= wall_ms ? wall_ms
							     : UINT64_MAX;
	read->after.due_ms = destination->after_ms;
	read->after.id = destination->after_id;
	read->max = destination->batch;
	read->loop = home->loop;
	read->done = read_done;
	read->private = destination;
	destination->read = read;
	home->leases_coming += read->max;
	destination->next_due_ms = 0;
	destination->rewind_ms = 0;
	store_read_due(home->schedule->store, read);
}

/* --- what a destination does next --- */

static void
destination_closed(struct alarm *alarm)
{
	free(CONTAINER(alarm, struct destination, alarm));
}

static void
destination_close(struct destination *destination)
{
	struct schedule_loop *home = destination->home;

	ASSERT(destination->leases_count == 0);
	ASSERT(destination->read == NULL);
	ASSERT(!destination->is_posted);
	leases_forget_over(destination);
	if (destination->read_version > home->read_version)
		home->read_version = destination->read_version;
	list_remove(&destination->starved);
	list_remove(&destination->link);
	ASSERT(tdelete(destination, &home->tree, destination_compare) !=
	       NULL);
	alarm_close(&destination->alarm, destination_closed);
}

static void
destination_on_post(struct post *post)
{
	struct destination *destination =
		CONTAINER(post, struct destination, post);

	destination->is_posted = false;
	if (destination->ready_count > 0 && !destination->is_told) {
		destination->is_told = true;
		destination->home->schedule->due(&destination->public);
	}
	destination_update(destination);
}

/* delivery/ is never called from inside its own calls. */
static void
destination_post(struct destination *destination)
{
	if (destination->is_posted)
		return;
	destination->is_posted = true;
	loop_post(destination->home->loop, &destination->post,
		  destination_on_post);
}

static bool
destination_is_empty(const struct destination *destination)
{
	return destination->leases_count == 0 && destination->read == NULL &&
	       destination->next_due_ms == 0 && !destination->is_posted;
}

/* Reads on before the last lease is taken, so that connections do not wait. */
static bool
destination_wants_more(const struct destination *destination)
{
	return destination->read == NULL && destination->next_due_ms != 0 &&
	       destination->ready_count <= destination->batch / 2 &&
	       destination->leases_count + destination->batch <=
		       LEASES_MAX_PER_DESTINATION;
}

static void home_check_stopped(struct schedule_loop *home);

/* The destination may be gone afterwards: never from inside a call of
 * delivery/. */
static void
destination_update(struct destination *destination)
{
	uint64_t now_ms = clock_now_ms(), wall_ms = clock_wall_ms();

	alarm_clear(&destination->alarm);
	if (destination->home->is_stopping) {
		home_check_stopped(destination->home);
		return;
	}
	if (destination->paused_until_ms > now_ms) {
		destination_sleep(destination,
				  destination->paused_until_ms - now_ms);
		return;
	}
	destination->paused_until_ms = 0;
	if (destination_wants_more(destination)) {
		if (destination_is_due(destination, wall_ms))
			destination_read(destination, wall_ms);
		else
			destination_sleep(destination,
					  destination->next_due_ms - wall_ms);
	}
	if (destination->ready_count > 0 && !destination->is_told)
		destination_post(destination);
	if (!destination_is_empty(destination))
		return;
	if (destination->home->schedule->gone(&destination->public))
		destination_close(destination);
	else
		destination_sleep(destination, SCHEDULE_GONE_RETRY_MS);
}

void
destination_settled(struct destination *destination, struct lease *lease,
		    uint64_t due_ms)
{
	ASSERT(lease->state == LEASE_SETTLING);
	if (due_ms > 0)
		destination_note_due(destination, due_ms);
	lease_end(destination, lease);
	destination_update(destination);
}

/* --- delivery's side --- */

struct delivery *
schedule_take(struct schedule_destination *public)
{
	struct destination *destination = destination_of(public);
	struct lease *lease;

	if (destination->ready_count == 0 ||
	    destination->paused_until_ms > clock_now_ms()) {
		destination->is_told = false;
		destination_post(destination);
		return NULL;
	}
	lease = CONTAINER(destination->ready.next, struct lease, ready);
	lease_leave_ready(destination, lease);
	lease->state = LEASE_OUT;
	if (destination->ready_count == 0 &&
	    destination->batch < LEASE_READ_BATCH)
		destination->batch *= 2;
	if (destination_wants_more(destination))
		destination_post(destination);
	return lease->delivery;
}

void
schedule_settle(struct schedule_destination *public,
		struct delivery *delivery,
		const struct recipient_result *results)
{
	struct lease *lease = delivery->lease;

	ASSERT(lease->delivery == delivery);
	ASSERT(lease->state == LEASE_OUT);
	ASSERT(results != NULL);
	lease->state = LEASE_SETTLING;
	settlement_start(destination_of(public), lease, results);
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
		lease->state = LEASE_READY;
		list_add_first(&destination->ready, &lease->ready);
		destination->ready_count++;
	}
	destination_post(destination);
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
	}
	destination_post(destination);
}

/* --- taking over --- */

struct handover {
	struct post post;
	struct schedule_loop *home;
	struct list deliveries;
};

static bool
destination_has_room(const struct destination *destination)
{
	const struct schedule_loop *home = destination->home;

	return !home->is_stopping && home_has_room(home) &&
	       destination->leases_count < LEASES_MAX_PER_DESTINATION &&
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
	} else if (delivery->version > destination->read_version &&
		   destination_has_room(destination)) {
		lease_new(destination, delivery);
	} else {
		destination_note_due(destination, delivery->due_ms);
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
	destination_sleep(destination, 0);
}

bool
schedule_new(struct store *store, struct loop *loops, size_t loops_count,
	     schedule_due_fn *due, schedule_gone_fn *gone,
	     struct schedule **schedule_out, struct fault *fault)
{
	struct schedule *schedule = memory_new(sizeof(*schedule));

	ASSERT(loops_count > 0);
	schedule->store = store;
	schedule->due = due;
	schedule->gone = gone;
	schedule->loops_count = loops_count;
	schedule->loops = memory_array(loops_count, sizeof(*schedule->loops));
	for (size_t i = 0; i < loops_count; i++) {
		struct schedule_loop *home = &schedule->loops[i];

		home->schedule = schedule;
		home->loop = &loops[i];
		home->leases_max = LEASES_MAX / loops_count;
		list_init(&home->destinations);
		list_init(&home->starved);
	}
	/* Before any loop runs: their alarms may be set from here. */
	if (!store_each_destination(store, destination_recover, schedule,
				    fault)) {
		schedule_free(schedule);
		return false;
	}
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
	if (home->leases_count > 0)
		return true;
	LIST_EACH (item, &home->destinations) {
		struct destination *destination =
			CONTAINER(item, struct destination, link);

		if (destination->read != NULL || destination->is_posted)
			return true;
	}
	return false;
}

/* Every lease is settled or given back: once delivery/ has let go of every
 * destination too, the loop has nothing of ours any more. */
static void
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
