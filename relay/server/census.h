/*
 * census - how many sessions each address has open, or each /64 of IPv6, and how
 * many it has opened of late.
 *
 * Each has so many to open; what was opened comes back evenly over the minute
 * (as in rates.h).
 *
 * Bounded      By the sessions that there are, and CENSUS_GONE_MAX addresses
 *              that have none any more; one beyond is forgotten at once.
 * Thread       Any.
 */
#ifndef RELAY_SERVER_CENSUS_H
#define RELAY_SERVER_CENSUS_H

#include "relay/net/address.h"

struct census;

struct census *census_new(void);
void census_free(struct census *census); /* takes NULL */

#define CENSUS_GONE_MAX 65536

enum census_answer {
	CENSUS_IN,
	CENSUS_FULL, /* max at once */
	CENSUS_FAST, /* per_minute */
};

/* One more, where there is room. per_minute 0: no limit. */
enum census_answer census_enter(struct census *census,
				const struct address *client, size_t max,
				uint64_t per_minute);
void census_leave(struct census *census, const struct address *client);

/* What an address counts as: itself, or its /64. 16 bytes. */
#define CENSUS_KEY_SIZE 16
void census_key(const struct address *client, uint8_t key[CENSUS_KEY_SIZE]);

#endif
