#include "relay/queue/schedule_private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

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
	if (settlement_needs_no_attempt(destination, delivery)) {
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
bool
destination_is_due(const struct destination *destination, uint64_t wall_ms)
{
	return destination->next_due_ms <= wall_ms ||
	       destination->next_due_ms - wall_ms >
		       settlement_wait_max_ms(destination);
}

void
destination_read(struct destination *destination, uint64_t wall_ms)
{
	struct schedule_loop *home = destination->home;
	struct store_read_due *read;

	list_remove(&destination->starved);
	if (!home_has_room(home))
		home_make_room(home, destination);
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
