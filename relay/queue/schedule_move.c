#include "relay/queue/schedule_private.h"

#include <stdlib.h>

#include "base/log.h"
#include "relay/routing.h"

/* A lease on its way to the destination that its route has now. */
struct moving {
	struct store_move move;
	struct destination *destination; /* the old one */
	struct lease *lease;
	char name[DESTINATION_MAX]; /* of the new one */
};

static const struct options *
options_of(const struct destination *destination)
{
	return destination->public.loop->generation->options;
}

bool
lease_fits(const struct destination *destination, const struct lease *lease)
{
	return routing_fits(options_of(destination), destination->public.name,
			    lease->delivery->message->reverse_path);
}

/* ABSENT: somebody has deleted it meanwhile. What cannot be stored stays where
 * it is, and is read again a little later; so does what has to wait for the
 * message's other one to go (BUSY). */
static void
lease_moved(struct store_move *move, const struct fault *fault)
{
	struct moving *moving = move->private;
	struct destination *destination = moving->destination;
	struct lease *lease = moving->lease;
	uint64_t due_ms = 0;

	if (fault == NULL) {
		schedule_add(destination->home->schedule, &move->deliveries);
	} else if (fault->kind != FAULT_ABSENT) {
		if (fault->kind != FAULT_BUSY)
			log_note(LOG_LEVEL_ERROR, "store",
				 "a delivery for %.*s cannot be given to its "
				 "new route: %s",
				 SLICE_ARG(destination->public.name),
				 fault->text);
		due_ms = destination_note_stuck(destination,
						lease->delivery->due_ms);
	}
	free(moving);
	destination_settled(destination, lease, due_ms);
}

/* Ends in destination_settled(), never from inside the call. */
static void
lease_move(struct destination *destination, struct lease *lease)
{
	struct moving *moving = memory_new(sizeof(*moving));
	const struct delivery *delivery = lease->delivery;

	lease_leave_ready(destination, lease);
	lease->state = LEASE_SETTLING;
	lease->is_moving = true;
	moving->destination = destination;
	moving->lease = lease;
	moving->move = (struct store_move){
		.delivery = delivery,
		.destination = routing_destination(
			options_of(destination),
			routing_domain(destination->public.name),
			delivery->message->reverse_path, moving->name),
		.loop = destination->public.loop,
		.done = lease_moved,
		.private = moving,
	};
	store_move(destination->home->schedule->store, &moving->move);
}

void
destination_move_strangers(struct destination *destination)
{
	while (destination->ready_count > 0) {
		struct lease *lease =
			CONTAINER(destination->ready.next, struct lease, ready);

		if (lease_fits(destination, lease))
			return;
		lease_move(destination, lease);
	}
}
