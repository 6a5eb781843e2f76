/*
 * portions - what each client has of the room for messages that are being
 * received: an address, or a /64 of IPv6, as in census.h. How much that may be
 * is the quota's to say (queue/quota.h).
 *
 * Bounded      By the messages that are being received.
 * Thread       Any.
 */
#ifndef RELAY_SERVER_PORTIONS_H
#define RELAY_SERVER_PORTIONS_H

#include "relay/net/address.h"
#include "relay/queue/quota.h"

struct portions;
struct portion;

struct portions *portions_new(void);
void portions_free(struct portions *portions); /* takes NULL */

/* The client's, of which there is one as long as somebody has it. */
struct portion *portions_take(struct portions *portions,
			      const struct address *client);
/* With the last one nothing may be left in it. */
void portions_give(struct portions *portions, struct portion *portion);
struct quota_part *portion_part(struct portion *portion);

#endif
