/*
 * commands - the subcommands of keys/: `signet key …` and the hidden
 * `signer-process`.
 *
 * run gets the arguments after the subcommand's own name (argv[0] is the
 * first word behind `key`) and returns a sysexits(3) code; errors go to
 * stderr as "signet: what". With options NULL it only judges the arguments,
 * for who has yet to read the configuration: 0 or 64.
 */
#ifndef KEYS_COMMANDS_H
#define KEYS_COMMANDS_H

#include "keys/check.h"

struct keys_dns {
	check_ask_fn *ask;
	void *owner;
};

/* dns may be NULL while it only judges the arguments. */
int keys_command(const struct keys_options *options, const struct keys_dns *dns,
		 int argc, char **argv);

/* The public halves of all keys, which a signer process of its own reads; for
 * commands. What is odd about a file goes to stderr. */
bool keys_load(const struct keys_options *options, struct keyring **keyring_out,
	       struct fault *fault) MUST_USE;

#endif
