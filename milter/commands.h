/*
 * commands - the subcommands of milter/: `signet sign`, `signet verify`,
 * `signet explain`.
 *
 * The stage asks no DNS: the verifier is handed a function that does.
 */
#ifndef MILTER_COMMANDS_H
#define MILTER_COMMANDS_H

#include "milter/policy.h"
#include "milter/prepare.h"
#include "milter/verify.h"

/* Appends each TXT record of `name` to `records` as one text whose strings are
 * joined; at most `max`. Blocks. */
typedef enum lookup_status lookup_txt_fn(void *owner, struct slice name,
					 struct text *records, size_t max,
					 size_t *count_out);

struct milter_listener {
	struct slice name;
	bool normalizes; /* bare CR and LF are made CRLF */
};

struct milter_options {
	struct keys_options keys;
	struct signing_options signing;
	bool strict_modes;
	size_t max_header_size; /* bytes; 0: HEADER_SIZE_DEFAULT */
	lookup_txt_fn *lookup_txt;
	void *lookup_owner;
	/* Of the relay, for `explain`. */
	struct prepare_options prepare;
	uint64_t max_message_size, max_hops;
	const struct milter_listener *listeners;
	size_t listeners_count;
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
