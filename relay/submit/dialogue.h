/*
 * dialogue - standard input and output as a session of the relay (sendmail -bs).
 *
 * What comes in may be a whole batch; the relay is sent a line of it at a time,
 * and the next when it has answered: a server need not take more from who has
 * not been told so (RFC 2920 3.1).
 */
#ifndef RELAY_SUBMIT_DIALOGUE_H
#define RELAY_SUBMIT_DIALOGUE_H

#include "base/fault.h"

/* Over a connected socket, until the relay closes it. */
bool dialogue_run(int relay, struct fault *fault) MUST_USE;

#endif
