/*
 * pulse - whether every loop of the relay process turns, and the store thread
 * goes on.
 *
 * A beat goes through each of them and back to the main loop; the supervisor,
 * who has asked, is answered when all are back. What does not go on any more
 * keeps its beat, and so the answer.
 *
 * A loop waits for nothing; the store thread waits for the disk, whose beat
 * comes back behind the commit in hand. A disk may take as long as the service
 * manager allows (the units say 2 min, after which the kernel itself calls a
 * task that waits for one hung): that is slow, no more.
 *
 * Thread   The main loop's, but for the beats.
 */
#ifndef RELAY_PULSE_H
#define RELAY_PULSE_H

#include "relay/queue/store.h"

struct beat;

struct pulse {
	int control; /* the supervisor's */
	struct loop *main_loop, *loops;
	struct beat *beats; /* one a loop */
	struct store *store;
	struct store_beat store_beat;
	size_t loops_count, missing;
	uint64_t serial;
};

void pulse_init(struct pulse *pulse, int control, struct loop *main_loop,
		struct loop *loops, size_t loops_count, struct store *store);
/* Once the loops have ended. */
void pulse_done(struct pulse *pulse);
/* Answers HANDOVER_ALIVE with the serial. While an earlier question is still
 * without an answer, a later one gets none. */
void pulse_take(struct pulse *pulse, uint64_t serial);

#endif
