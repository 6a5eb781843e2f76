/*
 * envelope - what MAIL and RCPT say, by the grammar: RFC 5321 4.1.1.2 and
 * 4.1.1.3; SIZE: RFC 1870, BODY: RFC 6152, SMTPUTF8: RFC 6531, RET, ENVID,
 * NOTIFY and ORCPT: RFC 3461, AUTH: RFC 4954 5. Pure.
 *
 * Whether it is taken by who says it, now, is for others to judge
 * (commands_mail.c).
 */
#ifndef RELAY_SERVER_ENVELOPE_H
#define RELAY_SERVER_ENVELOPE_H

#include "relay/limits.h"
#include "relay/net/reply.h"
#include "relay/queue/message.h"
#include "relay/server/path.h"

/* Slices lie in the arguments, those of path in the room where the address is
 * written anew. */
struct envelope_mail {
	struct path path;
	struct slice given; /* the address, where another has taken its place */
	uint64_t size; /* 0: not given */
	bool declared_8bit, declared_smtputf8;
	enum message_ret ret;
	struct slice envid;
};

struct envelope_rcpt {
	struct path path;
	/* As in struct recipient. */
	char destination[DOMAIN_MAX + 1];
	unsigned notify;
	struct slice orcpt;
};

/* args: behind the verb. NULL, or the refusal; the path is filled in as far as
 * it could be read. takes_any: something else will take the address's place; one
 * that would be refused is then taken, with an empty local part and domain.
 * Else one without a domain gets ours; "": it is refused. */
const struct reply *envelope_mail_parse(struct slice args, bool takes_any,
					struct slice ours, struct text *room,
					struct envelope_mail *out);
/* has_smtputf8: MAIL had the parameter. ours: the domain of "postmaster" (RFC
 * 5321 4.1.1.3). */
const struct reply *envelope_rcpt_parse(struct slice args, bool has_smtputf8,
					struct slice ours, struct text *room,
					struct envelope_rcpt *out);

#endif
