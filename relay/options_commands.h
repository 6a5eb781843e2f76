/*
 * options_commands - `signet options` and `signet check-config`, and how every
 * command reads its configuration.
 */
#ifndef RELAY_OPTIONS_COMMANDS_H
#define RELAY_OPTIONS_COMMANDS_H

#include "relay/options.h"

/* Writes the reference configuration to stdout. */
int options_command(int argc, char **argv);
/* Prints nothing and returns 0, or every error to stderr and returns 78, 77
 * where a file may not be read. Reads every file that the configuration names;
 * private keys only in a signer process of its own. */
int check_config_command(const char *path, int argc, char **argv);
/* options_load() for a command: errors go to stderr, and the result is 0 or an
 * exit code. may_default: where the file does not exist, the defaults do. */
int options_read(const char *path, bool may_default,
		 struct options **options_out) MUST_USE;

#endif
