/*
 * offenders - clients whose logins fail: how long each has to wait.
 *
 * By address, or by /64 of an IPv6 address, which is what one subscriber has.
 * The first OFFENDER_FREE failures cost nothing; from then on each doubles the
 * time in which no further login is tried, up to OFFENDER_WAIT_MAX_MS for one name
 * and OFFENDER_WAIT_ALL_MAX_MS for all of an address: behind it there may be an
 * office whose devices know old passwords, and then each slip of somebody costs
 * all the others that. OFFENDER_FORGET_MS without a failure end it.
 *
 * Counted for each name with the address, and for the address alone as far as
 * the name has failed OFFENDER_FREE times there; beyond that only the name has
 * to wait. So one program with an old password does not keep out others whose
 * address is the same, but who tries name after name has to wait with all of
 * them. A login that succeeds forgives what failed with its name, and what that
 * cost the address, but nothing that was tried with others' names: who has an
 * account would have as many guesses as he likes.
 *
 * A regular is a name that has logged in from that address within
 * OFFENDER_REGULAR_MS: it waits for what failed with it, and never for what
 * others have tried. Or one guesser behind an address would keep out all who
 * share it, as long as he goes on. (So who shares an address with a regular can
 * learn that he is one: he is heard while others wait.) What is tried with a
 * name from elsewhere costs its owner nothing: else whoever knows an account's
 * name could lock it.
 *
 * Bounded      OFFENDERS_MAX names and addresses that failed, and as many that
 *              have logged in; the one that was here longest ago makes room
 *              within its part of the table.
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
#define OFFENDER_WAIT_ALL_MAX_MS (1 * MINUTE)
#define OFFENDER_FORGET_MS (1 * HOUR)
#define OFFENDER_REGULAR_MS (30 * DAY)

struct offenders;

struct offenders *offenders_new(void);
void offenders_free(struct offenders *offenders); /* takes NULL */

/* Whether a regular is there. */
bool offenders_know(struct offenders *offenders, const struct address *client);
/* How long no login from there is to be tried, with that name, or (empty)
 * whatever the name; 0: it may. */
uint64_t offenders_wait_ms(struct offenders *offenders,
			   const struct address *client, struct slice name);
/* name: empty where none was said; of a success that is nothing. */
void offenders_failed(struct offenders *offenders,
		      const struct address *client, struct slice name);
void offenders_succeeded(struct offenders *offenders,
			 const struct address *client, struct slice name);
/* Another spelling of a name that has succeeded there, by which it will be asked
 * for again; empty is nothing. Each has a place of its own: one account may hold
 * several, as many as it has spellings. */
void offenders_note_regular(struct offenders *offenders,
			    const struct address *client, struct slice name);

#endif
