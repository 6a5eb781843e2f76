/*
 * errand - one message taken to its recipients at once, without a queue, for
 * who waits for what becomes of it.
 *
 * Which hosts, how they are talked to, and what a reply means is decided where
 * the relay decides it: route.h, hosts.h, connection.h. Each destination has one
 * attempt: what the queue would defer is a result here. One destination is one
 * delivery, and destinations of the same site share connections and wait for
 * places (site.h).
 *
 * Memory      The message's body is in memory, and needs no converting for hosts
 *             without 8BITMIME: there is no store to read or to write.
 * Ownership   errand_free() once the loop has ended.
 * Thread      The loop's, which has a resolver and a generation. One errand at a
 *             time in a process.
 */
#ifndef RELAY_DELIVERY_ERRAND_H
#define RELAY_DELIVERY_ERRAND_H

#include "relay/queue/schedule.h"

struct errand;

struct errand_setup {
	struct loop *loop;       /* its index is 0 */
	struct message *message; /* with its recipients; a reference is taken */
	uint64_t deadline_ms;    /* clock_now_ms(): whoever has no result by
				    then gets one */
	/* From the loop; of each recipient once, by its place in the message;
	 * lent. */
	void (*result)(void *owner, size_t recipient,
		       const struct recipient_result *result);
	/* All have one, and nothing is under way but farewells. */
	void (*done)(void *owner);
	void *owner;
};

/* False: a route cannot be followed; nothing has been done. */
bool errand_start(const struct errand_setup *setup, struct errand **errand_out,
		  struct fault *fault) MUST_USE;
void errand_free(struct errand *errand); /* takes NULL */

#endif
