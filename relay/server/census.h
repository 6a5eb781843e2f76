/*
 * census - who is here, by address, or by /64 of IPv6: how many sessions each
 * has open and has opened of late, as far as they are counted; and what each has
 * of the room for messages that are being received (how much that may be is the
 * quota's to say: queue/quota.h).
 *
 * Each has so many to open; what was opened comes back evenly over the minute
 * (as in rates.h).
 *
 * Ownership    A citizen is there as long as somebody has it: a session, and a
 *              message, which the session may not outlive. With the last one
 *              nothing may be left of either.
 * Bounded      By the sessions and messages that there are, and CENSUS_GONE_MAX
 *              addresses that have none any more; one beyond is forgotten at
 *              once.
 * Thread       Any.
 */
#ifndef RELAY_SERVER_CENSUS_H
#define RELAY_SERVER_CENSUS_H

#include "relay/net/address.h"
#include "relay/queue/quota.h"

struct census;
struct citizen;

struct census *census_new(void);
void census_free(struct census *census); /* takes NULL */

#define CENSUS_GONE_MAX 65536

/* The address's: a reference. */
struct citizen *census_find(struct census *census,
			    const struct address *client);
struct citizen *citizen_ref(struct citizen *citizen);
void citizen_unref(struct citizen *citizen); /* takes NULL */
struct quota_part *citizen_part(struct citizen *citizen);

enum census_answer {
	CENSUS_IN,
	CENSUS_FULL, /* max at once */
	CENSUS_FAST, /* per_minute */
};

/* One session more, where there is room; it leaves before its reference goes.
 * per_minute 0: no limit. */
enum census_answer citizen_enter(struct citizen *citizen, size_t max,
				 uint64_t per_minute);
void citizen_leave(struct citizen *citizen);

/* What an address counts as: itself, or its /64. 16 bytes. */
#define CENSUS_KEY_SIZE 16
void census_key(const struct address *client, uint8_t key[CENSUS_KEY_SIZE]);

#endif
