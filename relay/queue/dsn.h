/*
 * dsn - what MAIL and RCPT say about reports, as parameters: RET, ENVID, NOTIFY,
 * ORCPT (RFC 3461 4; ORCPT of the type utf-8 by RFC 6533 3). Pure.
 *
 * What is taken here is written into reports and goes out to other servers:
 * nothing that it stands for is a control character.
 */
#ifndef RELAY_QUEUE_DSN_H
#define RELAY_QUEUE_DSN_H

#include "relay/queue/message.h"

/* RFC 3461 4.4 and 4.2, in octets as they are given. */
#define DSN_ENVID_MAX 100
#define DSN_ORCPT_MAX 500

bool dsn_ret_parse(struct slice value, enum message_ret *ret_out) MUST_USE;
/* NEVER alone, or a list of the others, each once. */
bool dsn_notify_parse(struct slice value, unsigned *notify_out) MUST_USE;
bool dsn_envid_check(struct slice value) MUST_USE;
/* allows_utf8: UTF-8 as it is, which only SMTPUTF8 allows. */
bool dsn_orcpt_check(struct slice value, bool allows_utf8) MUST_USE;

/* Appends what was given, each with a space before it. allows_utf8: the peer
 * takes UTF-8 in an ORCPT; else it becomes "\x{…}". */
void dsn_write_mail(struct text *out, const struct message *message);
void dsn_write_rcpt(struct text *out, const struct recipient *recipient,
		    bool allows_utf8);

#endif
