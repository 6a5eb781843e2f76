/*
 * store_salvage_private - what the files of salvage share.
 *
 *	store_salvage.c       the old store's trees and pages, and whose place
 *	                      the new one takes
 *	store_salvage_node.c  one node of the old store into the new one
 *	store_salvage_queue.c the new one's tables made to agree
 */
#ifndef RELAY_QUEUE_STORE_SALVAGE_PRIVATE_H
#define RELAY_QUEUE_STORE_SALVAGE_PRIVATE_H

#include "base/arena.h"
#include "relay/queue/pages.h"
#include "relay/queue/store_engine_private.h"

/* In the table of the damaged, while salvaging: an id alone is one of which
 * there is only a copy in a page that may have been given up long ago. */
#define SALVAGE_DOUBTFUL SLICE("doubtful")

/* Keys of deliveries that may have been there. */
struct salvage_gap {
	struct slice from, high; /* as of pages_walk */
	struct slice low;        /* where the message of `from` begins */
};

struct salvage {
	const char *path;
	bool gives_up; /* what cannot be read */
	struct pages *pages;
	struct engine *engine; /* the new one */
	bool is_doubtful;      /* of what comes now: it may be old */
	bool is_for_messages;  /* and it is not the turn of deliveries */
	size_t uncommitted;    /* bytes, about */
	struct fault fault;    /* the first of writing: the end */
	struct arena arena;    /* of the gaps */
	struct salvage_gap *gaps;
	size_t gaps_count, gaps_room;
	struct text last; /* the last sound key of a delivery */
	bool is_in_gap;   /* one behind it was not */
	/* what became of them */
	uint64_t messages, deliveries, again, lost;
	char aside[64]; /* the directory for what is set aside */
};

/* A node of the old store, of whatever table. False: writing failed. */
bool salvage_node(void *salvage, struct slice key,
		  const struct pages_value *value);
/* Deliveries from `low` up to `high` cannot all be read. */
void salvage_gap(void *salvage, struct slice low, struct slice high);
/* No more deliveries in their order come. */
void salvage_gap_end(struct salvage *salvage);
/* Of a domain: a route's name, which nobody knows, is behind it. */
bool salvage_is_in_gap(const struct salvage *salvage, struct slice key);
/* Of a whole name. */
bool salvage_is_exactly_in_gap(const struct salvage *salvage,
			       struct slice key);
/* Deliveries and messages, and nothing else, are in the new store; then all of
 * it is. */
bool salvage_queue(struct salvage *salvage) MUST_USE;

/* --- writing --- */

/* Counts, and commits once it is enough. */
bool salvage_write(struct salvage *salvage, MDB_dbi table, struct slice key,
		   struct slice value, unsigned flags) MUST_USE;
bool salvage_delete(struct salvage *salvage, MDB_dbi table,
		    struct slice key) MUST_USE;
/* The first key at or behind this one; false: none. Both are copied. */
bool salvage_seek(struct salvage *salvage, MDB_dbi table, struct slice from,
		  struct text *key, struct text *value) MUST_USE;
bool salvage_failed(struct salvage *salvage, int status);

#endif
