/*
 * commands - the subcommands of milter/: `signet sign`, `signet verify`,
 * `signet explain`.
 *
 * The stage asks no DNS: the verifier is handed a source of records.
 */
#ifndef MILTER_COMMANDS_H
#define MILTER_COMMANDS_H

#include "milter/policy.h"
#include "milter/prepare.h"
#include "milter/records.h"

struct milter_listener {
	struct slice name;
	bool normalizes; /* bare CR and LF are made CRLF */
};

/* A listener or an account that gives others' mail an identity of ours. */
struct milter_rewriter {
	const char *what;       /* "listener" */
	struct slice name;
	struct rewrite rewrite; /* the policy is not set */
};

struct milter_options {
	struct keys_options keys;
	struct signing_options signing;
	bool strict_modes;
	size_t max_header_size; /* bytes; 0: HEADER_SIZE_DEFAULT */
	const struct records_source *records; /* `verify` only */
	/* Of the relay, for `explain`. */
	struct prepare_options prepare;
	uint64_t max_message_size, max_hops;
	const struct milter_listener *listeners;
	size_t listeners_count;
	const struct milter_rewriter *rewriters;
	size_t rewriters_count;
};

/* argv[0] is the command; returns a sysexits(3) code. With
 * options NULL they only judge the arguments: 0 or 64.
 *
 * Each message signed is verified as it will be written before any of it is. A
 * message that cannot be read safely (a bare CR, a NUL, a header over its
 * size) is refused, 65, and nothing is written. `sign` writes nothing before
 * all signatures are there. */
int sign_command(const struct milter_options *options, int argc, char **argv);
int verify_command(const struct milter_options *options, int argc,
		   char **argv);
/* 0 whatever becomes of the message; 65 where it cannot be taken at all, which
 * is then told on stdout with the rest. Works without access to the keys, and
 * says so. */
int explain_command(const struct milter_options *options, int argc,
		    char **argv);

#endif
