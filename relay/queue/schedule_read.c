#include "relay/queue/schedule_private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* Stays stored, and is not read again before the sweep is over. */
static void
read_skip(struct destination *destination, struct delivery *delivery)
{
	uint64_t due_ms = delivery->due_ms > 0 ? delivery->due_ms : 1;

	if (destination->skipped_ms == 0 || due_ms < destination->skipped_ms)
		destination->skipped_ms = due_ms;
	delivery_free(delivery);
}

static void
read_settle(struct destination *destination, struct delivery *delivery)
{
	struct lease *lease = lease_new(destination, delivery);

	lease_leave_ready(destination, lease);
	lease->state = LEASE_SETTLING;
	settlement_start(destination, lease, NULL, NULL);
}

/* Whether it needs no attempt. */
static bool
read_take(struct destination *destination, struct delivery *delivery)
{
	bool is_settled;

	if (lease_find(destination, &delivery->message->id) != NULL) {
		delivery_free(delivery);
		return false;
	}
	is_settled = settlement_needs_no_attempt(destination, delivery);
	if (is_settled)
		read_settle(destination, delivery);
	else if (destination->sweeps)
		read_skip(destination, delivery);
	else
		lease_new(destination, delivery);
	return is_settled;
}

static void
read_take_all(struct destination *destination, struct store_read_due *read)
{
	struct list *item;
	bool has_settled = false;

	while ((item = list_take_first(&read->deliveries)) != NULL)
		has_settled |= read_take(
			destination, CONTAINER(item, struct delivery, link));
	destination->after_ms = read->after.due_ms;
	destination->after_id = read->after.id;
	/* Those that are due longest come first: behind some for whom it is not
	 * the end yet there are few for whom it is. */
	if (!has_settled)
		destination->sweeps = false;
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
		if (!read->has_more && destination->rewind_ms == 0)
			destination->has_prompt_stored = false;
	}
	destination_note_rest(destination);
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
bool
destination_is_due(const struct destination *destination, uint64_t wall_ms)
{
	return destination->next_due_ms <= wall_ms ||
	       destination->next_due_ms - wall_ms >
		       settlement_wait_max_ms(destination);
}

/* Looking again in vain costs nobody his turn, nor that others were quicker when
 * it came. */
static void
destination_starve(struct destination *destination)
{
	struct schedule_loop *home = destination->home;
	struct list *queue = turns_queue(&home->starved,
					 destination->public.is_prompt);

	if (destination->is_fed)
		list_add_first(queue, &destination->starved);
	else if (list_is_empty(&destination->starved))
		list_add_last(queue, &destination->starved);
	destination->is_fed = false;
	destination_sleep(destination, SCHEDULE_STARVED_MS);
}

void
destination_read(struct destination *destination, uint64_t wall_ms)
{
	struct schedule_loop *home = destination->home;
	struct store_read_due *read;
	uint64_t stuck_until_ms;

	if (!home_has_room(home))
		home_make_room(home, destination);
	if (!home_has_room(home)) {
		destination_starve(destination);
		return;
	}
	list_remove(&destination->starved);
	destination->is_fed = false;
	stuck_until_ms = destination_free_stuck(destination, wall_ms);
	read = memory_new(sizeof(*read));
	read->destination = destination->public.name;
	read->until_ms = destination->next_due_ms <= wall_ms ? wall_ms
							     : UINT64_MAX;
	read->after.due_ms = destination->after_ms;
	read->after.id = destination->after_id;
	read->max = destination->sweeps ? LEASE_SWEEP_BATCH
					: destination->batch;
	read->loop = home->loop;
	read->done = read_done;
	read->private = destination;
	destination->read = read;
	home->leases_coming += read->max;
	/* The read begins behind what is stuck. */
	destination->next_due_ms = stuck_until_ms;
	destination->rewind_ms = 0;
	store_read_due(home->schedule->store, read);
}

void
destination_end_sweep(struct destination *destination)
{
	destination->sweeps = false;
	if (destination->skipped_ms != 0)
		destination_note_due(destination, destination->skipped_ms);
	destination->skipped_ms = 0;
}

void
destination_sweep(struct destination *destination, uint64_t wall_ms)
{
	if (destination->read != NULL ||
	    destination->leases_count + LEASE_SWEEP_BATCH >
		    LEASES_MAX_PER_DESTINATION)
		return;
	if (destination->sweeps && destination->next_due_ms != 0 &&
	    destination_is_due(destination, wall_ms))
		destination_read(destination, wall_ms);
	else
		destination_end_sweep(destination);
}
