/*
 * pace - how many connections some hosts are given at once, as they take them;
 * and how long they are left alone when they take none. Pure.
 *
 * It begins small and grows with each message delivered while all of it is in
 * use, so that the window doubles in the time of one delivery, until the first
 * connection fails. Then the window is what is still open, which is what the
 * hosts bear: no guess, as a half or one less would be. Above that it grows by
 * one after PACE_PATIENCE messages for each connection, so that hosts which
 * take just so many refuse one connection now and then, and not one for each
 * that they take. (Postfix's SCHEDULER_README: feedback and hysteresis.)
 *
 * When the last one fails the hosts are out of reach. After a pause, longer
 * each time, one connection at a time finds out whether they still are.
 */
#ifndef RELAY_DELIVERY_PACE_H
#define RELAY_DELIVERY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_FIRST 5
#define PACE_PATIENCE 10

struct pace {
	unsigned window;     /* at least 1 */
	unsigned ceiling;    /* has been too much above; UINT_MAX: never yet */
	unsigned successes;  /* at the ceiling, towards one more */
	uint64_t backoff_ms; /* of the last pause; 0: works, or unknown */
	bool has_worked;     /* since it was last out of reach */
};
void pace_init(struct pace *pace);
/* A conversation came to its end as it should, delivered or not. */
void pace_answered(struct pace *pace);
/* A message was delivered, while so many connections were open. */
void pace_delivered(struct pace *pace, unsigned open, unsigned max);
/* No host could be talked to, or a connection was lost without need. others:
 * what is still open. Gives how long to pause; 0: go on with the others. */
uint64_t pace_failed(struct pace *pace, unsigned others,
		     uint64_t pause_max_ms);
/* The next pause, of 1 minute to 1 hour, each twice the last one. */
uint64_t pace_back_off(uint64_t *backoff_ms, uint64_t max_ms);

#endif
