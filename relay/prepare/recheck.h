/*
 * recheck - has a signed message verified whole before it is stored, where that
 * is due, from the bytes as they will be sent (milter/proof.h). One that fails
 * is logged as the event "error".
 *
 * What is in memory is read on the loop, at most BODY_INLINE_MAX of it; a body
 * that went to a file is read back on the store's reader threads, a chunk at a
 * time.
 */
#ifndef RELAY_PREPARE_RECHECK_H
#define RELAY_PREPARE_RECHECK_H

#include "milter/proof.h"
#include "relay/queue/store.h"

struct recheck {
	/* Exactly once, if recheck_start() said so, from the loop. fault NULL:
	 * it verifies. */
	void (*done)(struct recheck *recheck, const struct fault *fault);
	/* its own */
	struct store *store;
	struct proof *proof;
	struct store_read_body read;
};

enum recheck_status {
	RECHECK_GOOD,   /* it verifies, or its turn has not come */
	RECHECK_BAD,    /* *fault says why; it must not leave */
	RECHECK_LATER,  /* done() will say */
};

/* The message has its prefix and its body; it, the pipeline and the signatures
 * must live until then. It cannot be cancelled. */
enum recheck_status recheck_start(struct recheck *recheck, struct store *store,
				  struct loop *loop, struct message *message,
				  const struct pipeline *pipeline,
				  struct fault *fault) MUST_USE;

#endif
