/*
 * convert - a 7-bit version of a stored message, for a next hop that does not
 * offer 8BITMIME (RFC 6152 3), signed anew for it.
 *
 * Parts are encoded by milter/repair.h. The fields that we had put on top stay,
 * but for our signatures: those of the policy in force take their place, and
 * that of signatures of the same domains that the message brought along. The
 * stored message is not touched.
 *
 * What cannot be converted   A message with a signature or an ARC set that ours
 *             do not replace, with 8-bit text in its header, or with parts that
 *             must stay as they are: TROUBLE_NO_8BITMIME. Where it cannot be
 *             signed now: TROUBLE_UNSIGNED, and never without; where it cannot
 *             be read or there is no room: TROUBLE_DAMAGED, TROUBLE_LOCAL.
 * Memory      As of a message that comes in: bounded, from the spool's budget.
 * Ownership   convert_cancel() ends it in any state; it is gone when done() is
 *             called.
 * Events      done() once, from the loop, never from inside convert_start().
 */
#ifndef RELAY_PREPARE_CONVERT_H
#define RELAY_PREPARE_CONVERT_H

#include "relay/generation.h"
#include "relay/queue/changes.h"
#include "relay/queue/store.h"

struct convert;

struct convert_result {
	/* The version, with its reference, for whoever gets this; else NULL. */
	struct message *message;
	const struct changes *changes; /* in its arena */
	/* Else: why. Words of detail live until done() returns. */
	enum outcome_trouble trouble;
	struct slice detail;
};

struct convert_setup {
	struct loop *loop;
	struct store *store;
	struct generation
		*generation;     /* whose keys sign; a reference is taken */
	struct message *message; /* a reference is taken */
	void (*done)(void *owner, const struct convert_result *result);
	void *owner;
};

void convert_start(const struct convert_setup *setup,
		   struct convert **convert_out);
void convert_cancel(struct convert **convert);

#endif
