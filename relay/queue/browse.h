/*
 * browse - looks at the stored queue from outside the relay, without writing.
 *
 * Works whether a relay runs or not, and never holds it up: each page is one
 * short transaction, so a long listing pins nothing and needs memory for one
 * page. What comes or goes meanwhile may be in it or not.
 *
 * The process must have become the relay's user: the engine's lock file would
 * else belong to somebody whom the relay cannot follow.
 */
#ifndef RELAY_QUEUE_BROWSE_H
#define RELAY_QUEUE_BROWSE_H

#include "relay/queue/store.h"

struct browse;

/* A record that cannot be read. */
typedef void browse_damaged_fn(const struct message_id *id,
			       struct slice destination,
			       const struct fault *fault);

/* The queue of the state directory that is the current one; of it what is
 * selected, whose slices stay the caller's. ABSENT: no relay has ever run here.
 * DENIED: not for this user. */
bool browse_open(const struct selection *selection, browse_damaged_fn *damaged,
		 struct browse **browse_out, struct fault *fault) MUST_USE;
void browse_close(struct browse *browse);
CLEAN_POINTER(struct browse, browse_close)

/* The next messages, oldest first; deliveries of one message share it and
 * follow each other, and are the caller's. An empty list: that was all. */
bool browse_next(struct browse *browse, struct list *deliveries,
		 struct fault *fault) MUST_USE;
/* One message's. ABSENT: it is not in the queue. */
bool browse_find(struct browse *browse, const struct message_id *id,
		 struct list *deliveries, struct fault *fault) MUST_USE;
/* Its header as it was received, appended; at most max bytes. */
bool browse_header(struct browse *browse, const struct message *message,
		   size_t max, struct text *out, struct fault *fault) MUST_USE;

#endif
