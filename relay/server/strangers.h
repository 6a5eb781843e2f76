/*
 * strangers - how many clients are connected that no allow_from names and that
 * have not logged in.
 *
 * Of max_sessions they may have three quarters, so that they keep nobody out
 * who may send; nor is any of them kept out by those while there are places.
 *
 * Thread       Any.
 */
#ifndef RELAY_SERVER_STRANGERS_H
#define RELAY_SERVER_STRANGERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct strangers {
	atomic_size_t count;
};

/* One more, where there is a place. */
bool strangers_enter(struct strangers *strangers, uint64_t max_sessions)
	MUST_USE;
/* One more, who was connected before he became one: nobody is sent away. */
void strangers_join(struct strangers *strangers);
void strangers_leave(struct strangers *strangers); /* once for each of these */
bool strangers_have_place(const struct strangers *strangers,
			  uint64_t max_sessions);
/* More than half of the places are taken that everybody else leaves to them. */
bool strangers_are_many(const struct strangers *strangers, uint64_t everybody,
			uint64_t max_sessions);

#endif
