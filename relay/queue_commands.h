/*
 * queue_commands - `signet queue`: what is in the queue, and why it is there.
 *
 * `list` and `show` read the store itself, whether a relay runs or not. Started
 * by root they become the relay's user first.
 */
#ifndef RELAY_QUEUE_COMMANDS_H
#define RELAY_QUEUE_COMMANDS_H

#include "relay/options.h"

/* argv[0] is "queue"; returns a sysexits(3) code. With options NULL it only
 * judges the arguments: 0 or 64. 65: an unknown ID; 77: not for this user. */
int queue_command(const struct options *options, int argc, char **argv);

#endif
