/*
 * offenders - clients whose logins fail: how long each has to wait.
 *
 * By address, or by /64 of an IPv6 address, which is what one subscriber has.
 * The first OFFENDER_FREE failures cost nothing; from then on each doubles the
 * time in which no further login is tried, up to OFFENDER_WAIT_MAX_MS. A login
 * that succeeds, or OFFENDER_FORGET_MS without a failure, ends it.
 *
 * Counted once for the address, and once for each name with it: an address may
 * be that of many, and who logs in from there with his own name forgives what
 * failed with his, and the address, but not what was tried with others'.
 *
 * Bounded      OFFENDERS_MAX addresses; the one that failed longest ago makes
 *              room within its part of the table.
 * Thread       Any; a lock is held for a look at a few entries.
 */
#ifndef RELAY_SERVER_OFFENDERS_H
#define RELAY_SERVER_OFFENDERS_H

#include "relay/limits.h"
#include "relay/net/address.h"

#define OFFENDERS_MAX 4096
#define OFFENDER_FREE 5
#define OFFENDER_WAIT_MIN_MS (2 * SECOND)
#define OFFENDER_WAIT_MAX_MS (15 * MINUTE)
#define OFFENDER_FORGET_MS (1 * HOUR)

struct offenders;

struct offenders *offenders_new(void);
void offenders_free(struct offenders *offenders); /* takes NULL */

/* name: with that name; empty: with any. */

/* How long no login from there is to be tried; 0: it may. */
uint64_t offenders_wait_ms(struct offenders *offenders,
			   const struct address *client, struct slice name);
void offenders_failed(struct offenders *offenders,
		      const struct address *client, struct slice name);
void offenders_succeeded(struct offenders *offenders,
			 const struct address *client, struct slice name);

#endif
