/*
 * version - another version of a message, in the making: its bytes are handed
 * in, and it is signed as it then is.
 *
 *	version_new → version_write with header and body, from the first byte
 *	            → version_finish: done() or failed() follows
 *	            → version_take
 *
 * One pass through signing stage and spool; then the signer, and the whole
 * message verified where that is due (recheck.h), as for one that comes in.
 *
 * Ownership   version_cancel() ends it in any state, also after done() and
 *             failed().
 * Events      From the loop, or from inside version_finish().
 */
#ifndef RELAY_PREPARE_VERSION_H
#define RELAY_PREPARE_VERSION_H

#include "relay/queue/changes.h"
#include "relay/queue/store.h"

struct version;

struct version_setup {
	struct loop *loop;
	struct store *store;
	struct policy *policy;      /* a reference is taken */
	const struct message *like; /* the envelope; copied */
	/* Fields of ours, each with its CRLF, that stand above those handed in
	 * and below the signatures; copied. */
	struct slice on_top;
	bool is_signed; /* without a signature it must not be */
	void (*drained)(void *owner);
	void (*done)(void *owner);
	/* Once; no other event follows. */
	void (*failed)(void *owner, enum outcome_trouble trouble,
		       const struct fault *fault);
	void *owner;
};

struct version *version_new(const struct version_setup *setup);
/* False: the bytes are taken, but wait for drained(). */
bool version_write(struct version *version, struct slice bytes);
/* Of what was handed in and stands on top. */
bool version_has_8bit(const struct version *version);
void version_finish(struct version *version);
/* After done(): the message, with its reference; and who signed it, copied into
 * its arena. */
struct message *version_take(struct version *version, struct changes *changes);
void version_cancel(struct version **version);

#endif
