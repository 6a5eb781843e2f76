/*
 * explain - what `signet explain` says: how a message would be treated, and
 * why, as one would tell it.
 */
#ifndef MILTER_EXPLAIN_H
#define MILTER_EXPLAIN_H

#include "milter/commands.h"
#include "milter/examine.h"

struct explain {
	const struct examination *examination;
	/* Its keys are those of the policy's keyring. */
	const struct milter_options *options;
	/* Why the keys cannot be loaded, and why the header cannot be read;
	 * FAULT_NONE where they can. */
	const struct fault *keys_fault, *header_fault;
};

/* Appends lines of printable ASCII and UTF-8; what comes from the message is
 * made so. False: the relay does not take such a message from anybody. */
bool explain_write(const struct explain *explain, struct text *out);

#endif
