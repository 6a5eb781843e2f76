/*
 * status_command - `signet status`: asks a running relay how it is.
 */
#ifndef RELAY_STATUS_COMMAND_H
#define RELAY_STATUS_COMMAND_H

#include "relay/options.h"

/* argv[0] is "status"; returns a sysexits(3) code. With options NULL it only
 * judges the arguments. 69: no relay runs on this state_dir; 77: not for this
 * user; 75: it is too busy to answer. */
int status_command(const struct options *options, int argc, char **argv);

#endif
