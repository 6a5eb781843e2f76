/*
 * queue_commands - `signet queue`: what is in the queue, why it is there, and
 * what an administrator wants done about it.
 *
 * A running relay is asked through its control socket. Where none runs, `list`
 * and `show` read the store itself; started by root they become the relay's
 * user first.
 */
#ifndef RELAY_QUEUE_COMMANDS_H
#define RELAY_QUEUE_COMMANDS_H

#include "relay/options.h"

/* argv[0] is "queue"; returns a sysexits(3) code. With options NULL it only
 * judges the arguments: 0 or 64. 65: an unknown ID, or nothing matches; 69: no
 * relay runs; 75: some are being delivered, or the relay is busy; 77: not for
 * this user. */
int queue_command(const struct options *options, int argc, char **argv);

#endif
