/*
 * accepted - the log event of a message taken: who, whose signatures and why,
 * and what was changed in it.
 */
#ifndef RELAY_SERVER_ACCEPTED_H
#define RELAY_SERVER_ACCEPTED_H

#include "relay/net/address.h"
#include "relay/queue/changes.h"
#include "relay/queue/message.h"
#include "relay/server/claims.h"

struct accepted {
	const struct message *message;
	struct slice listener;
	const struct address *client;
	const struct claims *origin; /* by XFORWARD; NULL: nothing was said */
	struct slice mail_id; /* of its field Message-ID; "": it has none */
	struct slice user_by; /* how the message's user has authenticated */
	struct slice reason;
	const struct changes *changes;
};

void accepted_log(const struct accepted *event);

#endif
