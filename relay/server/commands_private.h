/*
 * What commands.c (the table of verbs; all that is not mail) and commands_mail.c
 * (a transaction: MAIL, RCPT, DATA, BDAT) share. For them only.
 */
#ifndef RELAY_SERVER_COMMANDS_PRIVATE_H
#define RELAY_SERVER_COMMANDS_PRIVATE_H

#include "relay/server/claims.h"
#include "relay/server/session.h"

/* What check has found out for run. */
struct parsed {
	struct slice address; /* of mail or a recipient, for the log */
	struct envelope_mail mail;
	struct envelope_rcpt rcpt;
	struct recipient recipient; /* what it says, as it is stored */
	bool is_known;              /* the message has it already */
	struct slice word, initial;
	struct text room; /* of an address that is written anew */
	struct arena arena; /* of claims */
	struct claims claims;
	struct text sender; /* who takes the sender's place */
	struct chunk chunk;
};

/* --- commands.c --- */

extern const struct reply command_reply_sequence, command_reply_greet_first,
	command_reply_no_args, command_reply_session_full;

/* Whether it has had as many messages as one connection may. */
bool command_session_is_full(const struct session *session);

/* --- commands_mail.c --- */

const struct reply *mail_check(const struct session *session,
			      struct slice args, struct parsed *out);
enum step mail_run(struct session *session, const struct parsed *parsed);
const struct reply *rcpt_check(const struct session *session,
			      struct slice args, struct parsed *out);
enum step rcpt_run(struct session *session, const struct parsed *parsed);
const struct reply *data_check(const struct session *session,
			      struct slice args, struct parsed *out);
enum step data_run(struct session *session, const struct parsed *parsed);
const struct reply *bdat_check(const struct session *session,
			      struct slice args, struct parsed *out);
enum step bdat_run(struct session *session, const struct parsed *parsed);

#endif
