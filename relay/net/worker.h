/*
 * worker - a few threads for work that blocks, with a bounded queue.
 *
 * Each kind of work has its own (spool files, reads of stored bodies), so that
 * none can starve another.
 */
#ifndef RELAY_NET_WORKER_H
#define RELAY_NET_WORKER_H

#include "relay/net/loop.h"

struct worker;

/* run on a thread of the worker, then done on the loop, which does not end
 * before. */
struct job {
	void (*run)(struct job *job);
	void (*done)(struct job *job);
	struct loop *loop;
	struct post post;
	struct job *next;
};

/* name: of the threads, too, in what shows them; at most 15 bytes, for ever. */
bool worker_new(const char *name, unsigned threads, size_t jobs_max,
		struct worker **worker_out, struct fault *fault) MUST_USE;
/* Finishes what was submitted, joins the threads. */
void worker_free(struct worker *worker);
/* False when jobs_max are waiting: nothing happened, try later. */
bool worker_submit(struct worker *worker, struct job *job) MUST_USE;

#endif
