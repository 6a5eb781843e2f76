/*
 * loop - one event loop, its thread, and how other threads reach it.
 *
 * What belongs to one loop (sessions, connections, resolver, the owner's part
 * of the scheduler) is touched by its thread only. Everybody else posts.
 */
#ifndef RELAY_NET_LOOP_H
#define RELAY_NET_LOOP_H

#include <uv.h>

#include "base/fault.h"
#include "base/list.h"
#include "relay/generation.h"
#include "relay/net/load.h"

struct post;
typedef void post_fn(struct post *post);

/* Embedded in what is being sent; belongs to the receiver until run. */
struct post {
	post_fn *run;
	struct post *next;
};

/* Embedded in what nobody needs any more and only takes its time to go. hurry()
 * comes once the loop is to end, which waits for it; it may leave the list. */
struct farewell {
	struct list link;
	void (*hurry)(struct farewell *farewell);
};

struct signing;
struct dns;

struct loop {
	uv_loop_t uv;
	unsigned index;
	/* Services of this loop, for everything that runs on it. */
	struct signing *signing;
	struct dns *dns;
	struct generation *generation; /* the current one; changed by a post */
	struct text scratch; /* for bytes that are used up at once */
	/* the loop's own */
	uv_async_t wake;
	uv_prepare_t before; /* the poll */
	uv_check_t behind;   /* it */
	uv_idle_t busy;
	uv_mutex_t mutex;
	struct post *posted_first, **posted_last; /* under the mutex */
	bool is_waiting; /* or about to: has to be woken; under the mutex */
	uv_thread_t thread;
	struct load load;
	unsigned holds; /* under the mutex */
	bool has_thread, is_stopping;
	struct list farewells;
	bool is_ending; /* is_stopping, as the loop's thread has seen it */
};

bool loop_init(struct loop *loop, unsigned index,
	       struct fault *fault) MUST_USE;
/* Every handle must be closed; asserts it. */
void loop_done(struct loop *loop);
/* Starts a thread that runs the loop until loop_stop(). */
bool loop_start(struct loop *loop, struct fault *fault) MUST_USE;
/* From any thread: the loop ends once no handle but its own is left. */
void loop_stop(struct loop *loop);
void loop_join(struct loop *loop);
/* From any thread, never blocks: run(post) will be called once on the loop's
 * thread, in the order of posting, never from inside loop_post(). */
void loop_post(struct loop *loop, struct post *post, post_fn *run);

/* From a thread that runs none of them: waits until each has done what was
 * posted to it before, and has looked for input behind that. False: it takes
 * longer. */
bool loops_turn(struct loop *loops, size_t count, uint64_t timeout_ms);

/* From any thread: whether it is at work for most of the time, so that what is
 * new is better given to another. */
bool loop_is_busy(const struct loop *loop);

/* From any thread: what another thread has under way keeps the loop running
 * although it has no handle, until the release, on the loop. */
void loop_hold(struct loop *loop);
void loop_release(struct loop *loop);

/* It leaves with list_remove(). Where the loop is to end already hurry() comes
 * from inside. */
void loop_farewell(struct loop *loop, struct farewell *farewell,
		   void (*hurry)(struct farewell *farewell));

/* A timer that a struct can embed: one shot, set again at will. Memory may go
 * only after alarm_close()'s callback (NULL: none wanted) has run. */
struct alarm {
	uv_timer_t timer;
	void (*fired)(struct alarm *alarm);
	void (*closed)(struct alarm *alarm);
};
void alarm_init(struct alarm *alarm, struct loop *loop,
		void (*fired)(struct alarm *alarm));
void alarm_set(struct alarm *alarm, uint64_t delay_ms);
void alarm_clear(struct alarm *alarm);
void alarm_close(struct alarm *alarm, void (*closed)(struct alarm *alarm));

#endif
