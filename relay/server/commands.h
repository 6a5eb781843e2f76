/*
 * commands - the verbs of SMTP: what each is, where it is legal, what it does.
 */
#ifndef RELAY_SERVER_COMMANDS_H
#define RELAY_SERVER_COMMANDS_H

#include "relay/server/session.h"

/* One line without its CRLF; session->has_more says whether bytes follow. */
enum step command_run(struct session *session, struct slice line);

#endif
