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

/* Whom a job is for. */
#define WORKER_LANE 16

/* Whose turn comes first, whatever the others'; but each JOB_BEHIND_EVERYth is
 * one of theirs. */
enum job_rank { JOB_FIRST, JOB_BEHIND, JOB_RANKS_COUNT };
#define JOB_BEHIND_EVERY 4

/* run on a thread of the worker, then done on the loop, which does not end
 * before. */
struct job {
	void (*run)(struct job *job);
	void (*done)(struct job *job);
	struct loop *loop;
	struct post post;
	struct job *next;
	/* Of worker_submit_fairly(). */
	uint8_t lane[WORKER_LANE];
	enum job_rank rank;
	uint64_t turn;
};

/* name: of the threads, too, in what shows them; at most 15 bytes, for ever. */
bool worker_new(const char *name, unsigned threads, size_t jobs_max,
		struct worker **worker_out, struct fault *fault) MUST_USE;
/* Finishes what was submitted, joins the threads. */
void worker_free(struct worker *worker);
/* False when jobs_max are waiting: nothing happened, try later. */
bool worker_submit(struct worker *worker, struct job *job) MUST_USE;
/* The same, by turns: who has many jobs waiting does not hold up another of his
 * rank who has one, and has a quarter of jobs_max at most; and a quarter of it
 * is kept from JOB_BEHIND. A worker has jobs of one kind or of the other. Walks
 * along all that waits: for few jobs that take long. */
bool worker_submit_fairly(struct worker *worker, struct job *job,
			  const uint8_t lane[WORKER_LANE],
			  enum job_rank rank) MUST_USE;

#endif
