/*
 * strip - a message on its way out, without its DKIM-Signature fields: for a
 * next hop that rejects or breaks signatures (route.sign). Pure; what is stored
 * stays as it is.
 *
 * Takes the message in pieces of any size, the prefix first. Fields of ARC
 * (RFC 8617) stay: they are a chain of others' seals, and say nothing about the
 * DKIM-Signature of this hop.
 */
#ifndef RELAY_DELIVERY_STRIP_H
#define RELAY_DELIVERY_STRIP_H

#include "base/slice.h"

struct strip {
	/* KEEPING and LEAVING a field; BEGINNING a line of the header, of which
	 * `held` has come and is not decided yet; the body PASSES. */
	enum { STRIP_BEGINNING, STRIP_KEEPING, STRIP_LEAVING, STRIP_PASSING }
		state;
	bool was_left; /* the field before, which a folded line belongs to */
	bool has_left; /* any */
	struct text held;
};

void strip_init(struct strip *strip);
void strip_done(struct strip *strip);
void strip_feed(struct strip *strip, struct slice bytes, struct text *out);
/* No more header: what is held goes out, and what follows passes. */
void strip_end(struct strip *strip, struct text *out);

#endif
