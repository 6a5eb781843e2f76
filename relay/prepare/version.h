/*
 * version - a message in the making: its bytes are handed in once, and it is
 * spooled and signed as it then is. A message that comes in is one, so is what
 * is made of it where it has to be repaired, or for one next hop.
 *
 *	version_new → version_write with header and body, from the first byte;
 *	              field() and header_ended() meanwhile
 *	            → version_end: those were all
 *	            → version_spool, where the bytes are to be read before it is
 *	              known whether they are signed: spooled() follows
 *	            → version_finish: done() or failed() follows
 *
 * One pass through signing stage and spool; then the signer, and the whole
 * message verified where that is due (recheck.h).
 *
 * Ownership   version_cancel() ends it in any state, also after done() and
 *             failed().
 * Events      From the loop, or from inside version_finish(); field() and
 *             header_ended() from inside version_write() and version_end().
 */
#ifndef RELAY_PREPARE_VERSION_H
#define RELAY_PREPARE_VERSION_H

#include "relay/queue/changes.h"
#include "relay/queue/store.h"

struct version;

struct version_setup {
	struct loop *loop;
	struct store *store;
	struct policy *policy;   /* a reference is taken */
	struct message *message; /* with its envelope; a reference is taken;
				    body and prefix are filled in */
	uint64_t time_s;         /* of the signatures */
	size_t header_max;
	bool is_signed;          /* without a signature it must not be */
	/* NULL: of no interest. The field lies in the version's hands. */
	void (*field)(void *owner, struct slice field);
	void (*header_ended)(void *owner);
	void (*drained)(void *owner);
	void (*spooled)(void *owner);
	void (*done)(void *owner);
	/* Once; no other event follows. UNSIGNED, or LOCAL: LIMIT for want of
	 * room. */
	void (*failed)(void *owner, enum outcome_trouble trouble,
		       const struct fault *fault);
	void *owner;
};

struct version *version_new(const struct version_setup *setup);
/* A field of ours, without its CRLF, that goes below the signatures and above
 * all that is handed in; signed as one of them. Until the header has ended, and
 * from inside header_ended(). */
void version_on_top(struct version *version, struct slice field);

enum version_status {
	VERSION_TAKEN,
	VERSION_WAIT, /* taken, but wait for drained() */
	VERSION_HEADER_TOO_LARGE, /* over header_max: cancel it */
};
enum version_status version_write(struct version *version, struct slice bytes);
/* False: VERSION_HEADER_TOO_LARGE. */
bool version_end(struct version *version) MUST_USE;
/* Of what was handed in and stands on top. */
bool version_has_8bit(const struct version *version);
/* Once the header has ended; lives as long as the version. */
const struct decision *version_decision(const struct version *version);
void version_spool(struct version *version);
/* above: whole fields of ours that nobody signs, above version_on_top()'s. */
void version_finish(struct version *version, struct slice above);
/* After done(): who signed it, copied into the arena. */
void version_signatures(const struct version *version, struct arena *arena,
			struct changes *changes);
void version_cancel(struct version **version);

#endif
