#include "relay/queue/schedule_private.h"

#include <stdlib.h>

/* For somebody who can do without. */
#define ROOM_LOOKS_MAX 16

struct lease *
lease_find(struct destination *destination, const struct message_id *id)
{
	LIST_EACH (item, &destination->leases) {
		struct lease *lease = CONTAINER(item, struct lease, link);

		if (message_id_eq(&lease->id, id))
			return lease;
	}
	return NULL;
}

struct lease *
lease_new(struct destination *destination, struct delivery *delivery)
{
	struct lease *lease = memory_new(sizeof(*lease));

	lease->id = delivery->message->id;
	lease->delivery = delivery;
	delivery->lease = lease;
	list_add_last(&destination->leases, &lease->link);
	destination->leases_count++;
	destination->home->leases_count++;
	lease_enter_ready(destination, lease, false);
	return lease;
}

void
lease_enter_ready(struct destination *destination, struct lease *lease,
		  bool is_first)
{
	lease->state = LEASE_READY;
	if (is_first)
		list_add_first(&destination->ready, &lease->ready);
	else
		list_add_last(&destination->ready, &lease->ready);
	destination->ready_count++;
	destination->prompt_count += lease->delivery->is_prompt;
	destination_note_rest(destination);
}

struct lease *
lease_seize(struct destination *destination, const struct message_id *id)
{
	struct lease *lease = lease_find(destination, id);

	if (lease != NULL &&
	    (lease->state == LEASE_OUT || lease->state == LEASE_SETTLING))
		return NULL;
	if (lease == NULL) {
		lease = memory_new(sizeof(*lease));
		lease->id = *id;
		lease->state = LEASE_OVER;
		list_init(&lease->ready);
		list_add_last(&destination->leases, &lease->link);
	}
	if (lease->state == LEASE_READY) {
		lease_leave_ready(destination, lease);
	} else {
		destination->leases_count++;
		destination->home->leases_count++;
	}
	lease->state = LEASE_SETTLING;
	return lease;
}

void
lease_leave_ready(struct destination *destination, struct lease *lease)
{
	ASSERT(lease->state == LEASE_READY);
	ASSERT(destination->ready_count > 0);
	list_remove(&lease->ready);
	destination->ready_count--;
	destination->prompt_count -= lease->delivery->is_prompt;
	destination_note_rest(destination);
}

/* Wherever it stands, it stands there as one that is patient. With a lease under
 * way it has a connection, and waits for none. */
static void
destination_hurry(struct destination *destination)
{
	struct schedule_loop *home = destination->home;

	if (!list_is_empty(&destination->starved)) {
		list_remove(&destination->starved);
		list_add_last(&home->starved.prompt, &destination->starved);
	}
	if (!list_is_empty(&destination->resting)) {
		list_remove(&destination->resting);
		list_add_first(&home->resting, &destination->resting);
	}
	if (destination->is_told &&
	    destination->leases_count == destination->ready_count) {
		destination->is_to_be_hurried = true;
		destination_post(destination);
	}
}

/* One that nobody gets to is patient, whatever it has. */
static void
destination_note_prompt(struct destination *destination)
{
	bool was_prompt = destination->public.is_prompt;

	destination->public.is_prompt =
		(destination->prompt_count > 0 ||
		 destination->has_prompt_stored) &&
		destination->trouble.probes == 0;
	if (destination->public.is_prompt && !was_prompt)
		destination_hurry(destination);
}

/* The last in the list is the first to lose: home_make_room(). */
void
destination_note_rest(struct destination *destination)
{
	struct list *resting = &destination->home->resting;

	destination_note_prompt(destination);
	if (destination->ready_count == 0)
		list_remove(&destination->resting);
	else if (!list_is_empty(&destination->resting))
		return;
	else if (destination->public.is_prompt)
		list_add_first(resting, &destination->resting);
	else
		list_add_last(resting, &destination->resting);
}

bool
home_has_room(const struct schedule_loop *home)
{
	return home->leases_count + home->leases_coming < home->leases_max;
}

/* Those who have not been told of their leases would only read them again. Who
 * has taken one since he was looked at last is passed over, and goes first: he
 * is at work, as far as is known, and would read them again soon. */
void
home_make_room(struct schedule_loop *home, const struct destination *wanting)
{
	struct list *item = home->resting.previous, *before, *moved = NULL;

	for (unsigned looks = ROOM_LOOKS_MAX;
	     item != &home->resting && item != moved && looks > 0;
	     item = before, looks--) {
		struct destination *destination =
			CONTAINER(item, struct destination, resting);

		before = item->previous;
		if (destination == wanting || !destination->is_told)
			continue;
		if (!destination->has_taken) {
			destination_drop_ready(destination);
			destination->batch = LEASE_READ_BATCH_FIRST;
			return;
		}
		destination->has_taken = false;
		if (moved == NULL)
			moved = item;
		list_remove(item);
		list_add_first(&home->resting, item);
	}
}

void
home_feed_starved(struct schedule_loop *home)
{
	struct destination *destination;
	struct list *item;

	if (!home_has_room(home))
		return;
	item = turns_take(&home->starved);
	if (item == NULL)
		return;
	destination = CONTAINER(item, struct destination, starved);
	destination->is_fed = true;
	alarm_set(&destination->alarm, 0);
}

void
lease_end(struct destination *destination, struct lease *lease)
{
	struct schedule_loop *home = destination->home;

	ASSERT(lease->state != LEASE_READY);
	ASSERT(lease->state != LEASE_OVER);
	ASSERT(destination->leases_count > 0);
	ASSERT(home->leases_count > 0);
	if (lease->delivery != NULL)
		delivery_free(TAKE(lease->delivery));
	lease->state = LEASE_OVER;
	destination->leases_count--;
	home->leases_count--;
	destination_note_rest(destination);
	if (destination->read == NULL) {
		list_remove(&lease->link);
		free(lease);
	}
	home_feed_starved(home);
}

void
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

void
lease_drop(struct destination *destination, struct lease *lease)
{
	destination_note_due(destination, lease->delivery->due_ms);
	destination->has_prompt_stored |= lease->delivery->is_prompt;
	if (lease->state == LEASE_READY)
		lease_leave_ready(destination, lease);
	lease->state = LEASE_OUT;
	lease_end(destination, lease);
}

void
destination_drop_ready(struct destination *destination)
{
	LIST_EACH (item, &destination->ready)
		lease_drop(destination,
			   CONTAINER(item, struct lease, ready));
}
