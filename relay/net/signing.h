/*
 * signing - a loop's way to the signer process: the client of keys/signer.h on
 * this loop.
 */
#ifndef RELAY_NET_SIGNING_H
#define RELAY_NET_SIGNING_H

#include "keys/signer.h"
#include "milter/pipeline.h"
#include "relay/net/loop.h"

/* Has every signature of a pipeline made. done comes once, from the loop,
 * never from inside signing_start() and never after signing_cancel(). fault
 * NULL: all are filled in. */
struct signing_order {
	void (*done)(struct signing_order *order, const struct fault *fault);
	/* its own */
	struct signing *signing;
	struct signing_call *calls;
	size_t count, waiting;
	struct fault fault;
};

bool signing_new(struct loop *loop, int descriptor,
		 struct signing **signing_out, struct fault *fault) MUST_USE;
void signing_close(struct signing *signing); /* no order may be open */
/* A new signer's descriptor: unanswered calls are sent again. */
void signing_replace(struct signing *signing, int descriptor);
/* count is not 0: without signatures there is nothing to wait for. The
 * signatures are the pipeline's; it must live until done or cancel. */
void signing_start(struct signing *signing, struct signing_order *order,
		   struct signature *signatures, size_t count);
void signing_cancel(struct signing_order *order);
/* Signatures made since the start; any thread. */
uint64_t signing_count(const struct signing *signing,
		       enum key_algorithm algorithm);

#endif
