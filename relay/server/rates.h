/*
 * rates - how much somebody may do in an hour, whatever it is: users' messages
 * and recipients.
 *
 * Each key has so many to spend; what is spent comes back evenly over the hour,
 * so that there is no full hour to wait for (a leaky bucket; ITU-T I.371 calls
 * it GCRA).
 *
 * Bounded      RATES_MAX keys that have spent anything; for one more the one
 *              that has spent nothing for longest is forgotten, which the log
 *              says once.
 * Thread       Any.
 */
#ifndef RELAY_SERVER_RATES_H
#define RELAY_SERVER_RATES_H

#include "base/slice.h"

#define RATES_MAX 65536

struct rates;

struct rates *rates_new(void);
void rates_free(struct rates *rates); /* takes NULL */

/* How long until there is one to spend, in ms; 0: now. per_hour 0: no limit. */
uint64_t rates_wait_ms(struct rates *rates, struct slice key,
		       uint64_t per_hour);
/* Spends one, also where there is none. */
void rates_spend(struct rates *rates, struct slice key, uint64_t per_hour);

#endif
