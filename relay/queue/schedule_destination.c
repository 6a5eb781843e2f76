#include "relay/queue/schedule_private.h"

#include <search.h>
#include <stdlib.h>

#include "base/clock.h"
#include "relay/routing.h"

/* --- by name --- */

static int
destination_compare(const void *a, const void *b)
{
	const struct destination *left = a, *right = b;

	return slice_compare(left->public.name, right->public.name);
}

struct destination *
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

struct destination *
destination_new(struct schedule_loop *home, struct slice name)
{
	struct destination *destination =
		memory_new(sizeof(*destination) + name.len);

	memcpy(destination->name, name.bytes, name.len);
	destination->public.name = slice_of(destination->name, name.len);
	destination->public.loop = home->loop;
	destination->home = home;
	destination->trouble.arena = ARENA_SMALL;
	destination->batch = routing_is_of_reports(name)
				     ? LEASE_SWEEP_BATCH /* nobody takes them */
				     : LEASE_READ_BATCH_FIRST;
	destination->read_version = home->read_version;
	list_init(&destination->recovered);
	list_init(&destination->starved);
	list_init(&destination->resting);
	list_init(&destination->leases);
	list_init(&destination->ready);
	alarm_init(&destination->alarm, home->loop, destination_on_alarm);
	ASSERT(tsearch(destination, &home->tree, destination_compare) != NULL);
	list_add_last(&home->destinations, &destination->link);
	return destination;
}

/* --- what is only stored --- */

void
destination_rewind(struct destination *destination, uint64_t due_ms)
{
	if (due_ms > destination->after_ms)
		return;
	destination->after_ms = due_ms;
	/* Before every id of that time. */
	destination->after_id = (struct message_id){{0}};
}

void
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

uint64_t
destination_note_stuck(struct destination *destination, uint64_t due_ms)
{
	if (due_ms == 0)
		due_ms = 1;
	if (destination->stuck_ms == 0)
		destination->stuck_until_ms =
			clock_wall_ms() + SCHEDULE_READ_RETRY_MS;
	if (destination->stuck_ms == 0 || due_ms < destination->stuck_ms)
		destination->stuck_ms = due_ms;
	return destination->stuck_until_ms;
}

/* A clock may have been set back meanwhile. */
uint64_t
destination_free_stuck(struct destination *destination, uint64_t wall_ms)
{
	if (destination->stuck_ms == 0)
		return 0;
	if (destination->stuck_until_ms > wall_ms &&
	    destination->stuck_until_ms - wall_ms <= SCHEDULE_READ_RETRY_MS)
		return destination->stuck_until_ms;
	destination_rewind(destination, destination->stuck_ms);
	destination->stuck_ms = 0;
	return 0;
}

/* --- what it does next --- */

void
destination_sleep(struct destination *destination, uint64_t delay_ms)
{
	if (delay_ms > SCHEDULE_SLEEP_MAX_MS)
		delay_ms = SCHEDULE_SLEEP_MAX_MS;
	alarm_set(&destination->alarm, delay_ms);
}

static void
destination_closed(struct alarm *alarm)
{
	struct destination *destination =
		CONTAINER(alarm, struct destination, alarm);

	arena_done(&destination->trouble.arena);
	free(destination);
}

void
destination_close(struct destination *destination)
{
	struct schedule_loop *home = destination->home;

	ASSERT(destination->leases_count == 0);
	ASSERT(destination->read == NULL);
	ASSERT(!destination->is_posted);
	leases_forget_over(destination);
	if (destination->read_version > home->read_version)
		home->read_version = destination->read_version;
	list_remove(&destination->recovered);
	list_remove(&destination->starved);
	list_remove(&destination->resting);
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
	/* For those whose way leads elsewhere nobody need look for hosts: there
	 * may be none of that name. */
	if (!destination->is_told)
		destination_move_strangers(destination);
	if (destination->is_told ? destination->is_to_be_hurried
				 : destination->ready_count > 0) {
		destination->is_told = true;
		destination->home->schedule->due(&destination->public);
	}
	destination->is_to_be_hurried = false;
	destination_update(destination);
}

void
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

bool
destination_wants_more(const struct destination *destination)
{
	return destination->read == NULL && destination->next_due_ms != 0 &&
	       destination->ready_count <= destination->batch / 2 &&
	       destination->leases_count + destination->batch <=
		       LEASES_MAX_PER_DESTINATION;
}

void
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
		destination_sweep(destination, wall_ms);
		return;
	}
	destination->paused_until_ms = 0;
	destination_end_sweep(destination);
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
destination_wake(struct destination *destination, uint64_t since_ms)
{
	if (destination->hurried_ms == since_ms)
		return;
	destination->hurried_ms = since_ms;
	destination->paused_until_ms = 0;
	/* Nor does what others have met with count: it may be mended. */
	trouble_end(&destination->trouble);
	destination_end_sweep(destination);
	destination->home->schedule->hurry(&destination->public);
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

static void
recipients_drop_done(struct delivery *delivery)
{
	size_t left = 0;

	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (delivery->recipients[i].outcome == OUTCOME_NONE)
			delivery->recipients[left++] = delivery->recipients[i];
	ASSERT(left > 0);
	delivery->recipients_count = left;
}

void
destination_noted(struct destination *destination, struct lease *lease,
		  schedule_noted_fn *noted)
{
	ASSERT(lease->state == LEASE_SETTLING);
	lease->state = LEASE_OUT;
	recipients_drop_done(lease->delivery);
	noted(&destination->public, lease->delivery);
}

/* --- looking on --- */

void
schedule_each_state(struct schedule *schedule, const struct loop *loop,
		    schedule_state_fn *each, void *owner)
{
	uint64_t now_ms = clock_now_ms();
	struct schedule_loop *home = schedule->loops;

	while (home->loop != loop)
		home++;
	LIST_EACH (item, &home->destinations) {
		const struct destination *destination =
			CONTAINER(item, struct destination, link);
		struct schedule_state state = {
			.destination = &destination->public,
			.leases = destination->leases_count,
			.next_due_ms = destination->next_due_ms,
		};

		if (destination->paused_until_ms > now_ms)
			state.paused_ms =
				destination->paused_until_ms - now_ms;
		each(owner, &state);
	}
}
