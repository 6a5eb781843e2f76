/*
 * attempt - one try at one delivery: a lease, and what became of each of its
 * recipients so far.
 *
 * Made by the destination on its loop, travels to a connection and back by
 * post; whoever has it in hand owns it.
 */
#ifndef RELAY_DELIVERY_ATTEMPT_H
#define RELAY_DELIVERY_ATTEMPT_H

#include "relay/queue/outcome.h"
#include "relay/queue/schedule.h"

struct connection;

struct attempt {
	struct list link;
	struct post post;
	struct connection *connection;
	struct delivery *delivery;
	/* One per recipient; NONE: still to be tried. Slices in the arena. */
	struct recipient_result *results;
	bool *accepted;       /* by RCPT, in the transaction under way */
	struct arena arena;
	bool is_unreached;    /* no host was reached: not the message's fault */
	bool is_put_down;     /* comes back between two transactions: nothing
				 has failed */
	bool is_homeless;     /* comes back from a connection that has failed */
	unsigned lost;        /* conversations lost in the middle of it */
};

struct attempt *attempt_new(struct delivery *delivery);
void attempt_free(struct attempt *attempt); /* not the delivery */
/* Whether every recipient has a result. */
bool attempt_is_complete(const struct attempt *attempt);
/* Whether any recipient has one. */
bool attempt_has_begun(const struct attempt *attempt);
/* Whether any is to be tried again after a while. */
bool attempt_has_deferred(const struct attempt *attempt);
/* Whether any has one that is final. */
bool attempt_has_final(const struct attempt *attempt);
/* Only what is final; the others have NONE. free(3) */
struct recipient_result *attempt_final_results(const struct attempt *attempt);
/* Those with such a result leave the attempt, as they do its delivery. */
void attempt_drop_final(struct attempt *attempt);
/* Every recipient without a result gets this one; words are copied. */
void attempt_fill(struct attempt *attempt, const struct recipient_result *like);
/* Copies what it points to. */
void attempt_set(struct attempt *attempt, size_t i,
		 const struct recipient_result *like);

#endif
