/*
 * claims - what an MTA or a proxy in front of us says of the client behind it:
 * the attributes of XCLIENT and XFORWARD, as Postfix documents them
 * (XCLIENT_README, XFORWARD_README). Pure.
 *
 * Whether it is believed is for others to judge.
 */
#ifndef RELAY_SERVER_CLAIMS_H
#define RELAY_SERVER_CLAIMS_H

#include "base/arena.h"
#include "relay/net/address.h"
#include "relay/net/reply.h"

enum claims_command { CLAIMS_XCLIENT, CLAIMS_XFORWARD };

/* The attributes of each, as EHLO lists them. */
#define CLAIMS_XCLIENT_NAMES                                                   \
	"NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME"
#define CLAIMS_XFORWARD_NAMES "NAME ADDR PORT PROTO HELO IDENT SOURCE"

enum claim {
	CLAIM_NAME = 1u << 0,
	CLAIM_ADDR = 1u << 1,
	CLAIM_PORT = 1u << 2,
	CLAIM_PROTO = 1u << 3,
	CLAIM_HELO = 1u << 4,
	CLAIM_LOGIN = 1u << 5,
	CLAIM_IDENT = 1u << 6,
};

/* A zeroed one is ready. What is not available is empty. */
struct claims {
	unsigned given;         /* enum claim, in this command or before */
	struct address address; /* AF_UNSPEC: not available */
	uint16_t port;          /* 0: likewise */
	struct slice name, proto, helo, login, ident;
};

/* The arguments of the command, added to what is there. Texts go into the
 * arena. NULL, or the refusal; `claims` is undefined then. */
const struct reply *claims_parse(enum claims_command command,
				 struct slice args, struct arena *arena,
				 struct claims *claims);
/* The same in an arena of its own, for longer. */
void claims_copy(const struct claims *claims, struct arena *arena,
		 struct claims *out);

#endif
