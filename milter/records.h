/*
 * records - TXT records of several names at once, for a thread that waits:
 * what the stage asks of whoever has a resolver (relay/resolver.h).
 *
 *	start, once the names are known: asks for all of them and returns
 *	→ take, for each: waits for its answer, until the time given to start
 *	  is over; all of them together wait no longer than that
 *	→ end: whatever is not there yet is not wanted any more
 *
 * Ownership   What take() hands out lives until end().
 * Thread      Each set belongs to the thread that started it.
 */
#ifndef MILTER_RECORDS_H
#define MILTER_RECORDS_H

#include "milter/verify.h"

struct records; /* one set of questions; the implementation's */

struct records_source {
	void *owner;
	/* Never NULL. The names are copied. */
	struct records *(*start)(void *owner, const struct slice *names,
				 size_t count, uint64_t timeout_ms);
	/* A text for each record, its strings joined; at most `max` of them.
	 * LOOKUP_FOUND: at least one. */
	enum lookup_status (*take)(struct records *records, size_t i,
				   struct slice *texts, size_t max,
				   size_t *count_out);
	void (*end)(struct records *records);
};

#endif
