/*
 * pulse - whether every loop of the relay process turns.
 *
 * A beat goes through each loop and back to the main one; the supervisor, who
 * has asked, is answered when all are back. What does not turn any more keeps
 * its beat, and so the answer.
 *
 * Thread   The main loop's, but for the beats.
 */
#ifndef RELAY_PULSE_H
#define RELAY_PULSE_H

#include "relay/net/loop.h"

struct beat;

struct pulse {
	int control; /* the supervisor's */
	struct loop *main_loop, *loops;
	struct beat *beats; /* one a loop */
	size_t loops_count, missing;
	uint64_t serial;
};

void pulse_init(struct pulse *pulse, int control, struct loop *main_loop,
		struct loop *loops, size_t loops_count);
/* Once the loops have ended. */
void pulse_done(struct pulse *pulse);
/* Answers HANDOVER_ALIVE with the serial. While an earlier question is still
 * without an answer, a later one gets none. */
void pulse_take(struct pulse *pulse, uint64_t serial);

#endif
