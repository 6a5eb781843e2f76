/*
 * destination - how mail gets to one destination: MX order, connections,
 * back-off. Runs on the destination's owning loop; its conversations may run
 * on any.
 */
#ifndef RELAY_DELIVERY_DESTINATION_H
#define RELAY_DELIVERY_DESTINATION_H

#include "relay/queue/schedule.h"

struct delivery_service;

/* One per process; conversations run on the loops. Loops and store are lent, and
 * the service is freed once every loop has ended. */
struct delivery_service *delivery_service_new(struct loop *loops,
					      size_t loops_count,
					      struct store *store);
void delivery_service_free(struct delivery_service *service);
/* The schedule's callbacks; the service is process-wide state handed over by
 * delivery_service_new(). */
void destination_due(struct schedule_destination *destination);
bool destination_gone(struct schedule_destination *destination);
void destination_hurry(struct schedule_destination *destination);
/* On each loop behind a reload: what was in force before is let go of by whoever
 * only waits. */
void delivery_service_reloaded(struct delivery_service *service,
			       struct loop *loop);
/* On each loop at a stop: closes idle connections, lets conversations end. */
void delivery_service_stop(struct delivery_service *service,
			   struct loop *loop);
/* On each loop behind that, when the grace period is over: whose conversations
 * have results already is settled with those in the next turn of its owner. */
void delivery_service_break_off(struct delivery_service *service,
				struct loop *loop);
/* On each loop at the very end: resets what is in the middle of its message, or the
 * kernel would send the rest of it. */
void delivery_service_cut_off(struct delivery_service *service,
			      struct loop *loop);

/* What goes on with one destination. The slices are lent for the call. */
struct destination_state {
	struct slice name;
	size_t connections;     /* open, or being opened */
	size_t idle;            /* of those, without a message */
	size_t window;          /* so many may be open now to its hosts, by
				   all destinations that share them; 0: they
				   are not known yet */
	size_t site_connections; /* so many are */
	bool is_resolving;      /* its hosts are being looked up */
	uint64_t paused_ms;     /* left of its back-off; 0: it has none */
	bool is_paced;          /* max_rate lets nothing go now */
	struct slice trouble;   /* why no host was reached; "": none so far */
};
typedef void destination_state_fn(void *owner,
				  const struct destination_state *state);
/* On the loop's thread: of each destination that this loop owns and that has
 * had something due since it last had nothing stored. */
void destination_each_state(struct delivery_service *service,
			    const struct loop *loop,
			    destination_state_fn *each, void *owner);

#endif
