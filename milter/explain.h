/*
 * explain - what `signet explain` says: how a message would be treated, and
 * why, as one would tell it.
 */
#ifndef MILTER_EXPLAIN_H
#define MILTER_EXPLAIN_H

#include "milter/pipeline.h"

struct explain {
	/* At least the end of the header has been reached. */
	const struct pipeline *pipeline;
	const struct keys_options *options; /* of the policy's keyring */
	bool has_keys; /* else the keyring has no public halves */
};

/* Appends lines of printable ASCII and UTF-8; what comes from the message is
 * made so. */
void explain_write(const struct explain *explain, struct text *out);

#endif
