/*
 * selection - which part of the queue is meant. Pure.
 *
 * Nothing set: all of it. The slices are the caller's.
 */
#ifndef RELAY_QUEUE_SELECTION_H
#define RELAY_QUEUE_SELECTION_H

#include "base/slice.h"

struct selection {
	bool has_domain, has_sender;
	struct slice domain; /* of recipients; A-labels, lower case, or "[…]" */
	struct slice sender; /* without <>; "" is the null path */
};

/* Whatever the route of the destination is: relay/routing.h. */
bool selection_takes_destination(const struct selection *selection,
				 struct slice destination);
/* Case does not matter: nobody who looks for mail is served by the letter of
 * RFC 5321 2.4. */
bool selection_takes_sender(const struct selection *selection,
			    struct slice reverse_path);

#endif
