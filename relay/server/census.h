/*
 * census - how many sessions each address has open, or each /64 of IPv6.
 *
 * Bounded      By the sessions that there are.
 * Thread       Any.
 */
#ifndef RELAY_SERVER_CENSUS_H
#define RELAY_SERVER_CENSUS_H

#include "relay/net/address.h"

struct census;

struct census *census_new(void);
void census_free(struct census *census); /* takes NULL */

/* One more, unless it would be more than max. */
bool census_enter(struct census *census, const struct address *client,
		  size_t max);
void census_leave(struct census *census, const struct address *client);

/* What an address counts as: itself, or its /64. 16 bytes. */
#define CENSUS_KEY_SIZE 16
void census_key(const struct address *client, uint8_t key[CENSUS_KEY_SIZE]);

#endif
