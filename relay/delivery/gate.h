/*
 * gate - how many may be open at once, counted over all loops.
 *
 * A place is taken before a connection is opened and given back once it is
 * closed: one atomic operation each, while there is room and nobody waits. Who
 * finds none free stands in a queue and gets a place by post, in the order of
 * asking: nobody polls, nobody is passed over but, by turns, for who is prompt
 * (turns.h). Whose turn came when he could not use it is owed one: he stands
 * again where he stood.
 *
 * Classes are for those of whom more trouble is expected: a place of one class
 * counts for all classes before it, too, and each has a limit. So they can
 * never take all there is from those that are known to work.
 *
 * Thread      Any; a ticket is its loop's. A granted() comes from the loop.
 */
#ifndef RELAY_DELIVERY_GATE_H
#define RELAY_DELIVERY_GATE_H

#include <stdatomic.h>

#include "relay/net/loop.h"

#define GATE_PLACES_MAX 65535

enum gate_class {
	GATE_PROVEN,  /* has worked */
	GATE_UNKNOWN, /* has yet to show whether it does */
	GATE_FAILING, /* did not, the last time */
	GATE_CLASSES,
};

struct gate {
	/* 16 bits for each class: places in it and in those behind it; the
	 * highest bit: somebody waits, and all goes by the mutex. */
	atomic_uint_fast64_t word;
	uv_mutex_t mutex;
	/* under the mutex; the limits are read without, too */
	atomic_uint limits[GATE_CLASSES];
	struct list prompt[GATE_CLASSES], patient[GATE_CLASSES]; /* who wait */
	bool was_prompt; /* the last turn, of whatever class */
};

enum gate_ticket_state { GATE_TICKET_NONE, GATE_TICKET_WAITS,
			 GATE_TICKET_COMES };

/* Whoever waits: at most at one gate at a time. */
struct gate_ticket {
	/* the owner's, before the first gate_take(); zero elsewhere */
	struct loop *loop;
	/* has_place false: the gate was emptied; ask again if need be. */
	void (*granted)(struct gate_ticket *ticket);
	/* the owner's, before gate_take(): it had its turn, and could not use
	 * it for no fault of its own */
	bool is_owed;
	bool is_prompt; /* and this; who waits changes it by gate_hurry() */
	bool has_place;
	enum gate_class class; /* of the place */
	/* the gate's */
	enum gate_ticket_state state;
	uint64_t asked_ns; /* uv_hrtime(): who has waited longest is next */
	struct list link;
	struct post post;
};

void gate_init(struct gate *gate, unsigned limit);
void gate_done(struct gate *gate);
/* At least 1; lower than what is taken: those stay. */
void gate_limit(struct gate *gate, enum gate_class class, unsigned limit);

/* Whether a place was free, and nobody waited for one. */
bool gate_try(struct gate *gate, enum gate_class class) MUST_USE;
/* True: the place is the caller's. False: granted() will come. */
bool gate_take(struct gate *gate, enum gate_class class,
	       struct gate_ticket *ticket) MUST_USE;
/* Gives how many are still taken. */
unsigned gate_give(struct gate *gate, enum gate_class class);
/* A place that is taken counts as of that class now. */
void gate_move(struct gate *gate, enum gate_class from, enum gate_class to);
/* It is prompt from now on, where it waits, too. */
void gate_hurry(struct gate *gate, struct gate_ticket *ticket);
/* False: granted() is on its way. */
bool gate_cancel(struct gate *gate, struct gate_ticket *ticket) MUST_USE;
/* Nobody waits any more: all are told, without a place. */
void gate_empty(struct gate *gate);

unsigned gate_taken(const struct gate *gate);
bool gate_is_wanted(const struct gate *gate); /* somebody waits */
/* And not for want of places of his class only: any that is given back helps. */
bool gate_is_full(const struct gate *gate);

#endif
