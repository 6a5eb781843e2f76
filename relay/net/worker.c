#include "relay/net/worker.h"

#include <pthread.h>
#include <stdlib.h>

#define WORKER_THREADS_MAX 64
/* Of jobs_max, one lane's; and what is kept for JOB_FIRST. */
#define SHARE 4

struct worker {
	const char *name;
	uv_mutex_t mutex;
	uv_cond_t wake;
	struct job *first, **last;
	size_t waiting, jobs_max;
	uint64_t turns[JOB_RANKS_COUNT]; /* of the job of each begun last */
	unsigned threads;
	unsigned passed; /* jobs of JOB_FIRST, while others waited */
	bool is_stopping;
	uv_thread_t thread[WORKER_THREADS_MAX];
};

static void
job_post(struct post *post)
{
	struct job *job = CONTAINER(post, struct job, post);

	loop_release(job->loop);
	job->done(job);
}

/* The first in line; where those before the others go on and on, one of the
 * others in between. */
static struct job **
next_place(struct worker *worker)
{
	struct job **at = &worker->first;

	if (worker->passed < JOB_BEHIND_EVERY - 1)
		return at;
	while (*at != NULL && (*at)->rank != JOB_BEHIND)
		at = &(*at)->next;
	return *at == NULL ? &worker->first : at;
}

/* As long as nobody else waits none is passed over. */
static void
passed_count(struct worker *worker, const struct job *job)
{
	if (job->rank == JOB_BEHIND || worker->first == NULL ||
	    CONTAINER(worker->last, struct job, next)->rank != JOB_BEHIND)
		worker->passed = 0;
	else
		worker->passed++;
}

/* NULL: the worker stops and nothing is left. */
static struct job *
worker_next(struct worker *worker)
{
	struct job *job, **at;

	uv_mutex_lock(&worker->mutex);
	while (worker->first == NULL && !worker->is_stopping)
		uv_cond_wait(&worker->wake, &worker->mutex);
	at = next_place(worker);
	job = *at;
	if (job != NULL) {
		*at = job->next;
		if (job->next == NULL)
			worker->last = at;
		worker->turns[job->rank] = job->turn;
		worker->waiting--;
		passed_count(worker, job);
	}
	uv_mutex_unlock(&worker->mutex);
	return job;
}

static void
worker_thread(void *argument)
{
	struct worker *worker = argument;
	struct job *job;

	pthread_setname_np(pthread_self(), worker->name);
	while ((job = worker_next(worker)) != NULL) {
		job->run(job);
		loop_post(job->loop, &job->post, job_post);
	}
}

bool
worker_new(const char *name, unsigned threads, size_t jobs_max,
	   struct worker **worker_out, struct fault *fault)
{
	struct worker *worker;

	ASSERT(threads > 0);
	ASSERT(threads <= WORKER_THREADS_MAX);
	worker = memory_new(sizeof(*worker));
	worker->name = name;
	worker->last = &worker->first;
	worker->jobs_max = jobs_max;
	ASSERT(uv_mutex_init(&worker->mutex) == 0);
	ASSERT(uv_cond_init(&worker->wake) == 0);
	while (worker->threads < threads) {
		int status = uv_thread_create(&worker->thread[worker->threads],
					      worker_thread, worker);

		if (status != 0) {
			worker_free(worker);
			return fault_set(fault, FAULT_SYSTEM,
					 "%s threads: %s", name,
					 uv_strerror(status));
		}
		worker->threads++;
	}
	*worker_out = worker;
	return true;
}

void
worker_free(struct worker *worker)
{
	uv_mutex_lock(&worker->mutex);
	worker->is_stopping = true;
	uv_cond_broadcast(&worker->wake);
	uv_mutex_unlock(&worker->mutex);
	for (unsigned i = 0; i < worker->threads; i++)
		uv_thread_join(&worker->thread[i]);
	ASSERT(worker->first == NULL);
	uv_cond_destroy(&worker->wake);
	uv_mutex_destroy(&worker->mutex);
	free(worker);
}

bool
worker_submit(struct worker *worker, struct job *job)
{
	bool has_room;

	job->next = NULL;
	uv_mutex_lock(&worker->mutex);
	ASSERT(!worker->is_stopping);
	has_room = worker->waiting < worker->jobs_max;
	if (has_room) {
		*worker->last = job;
		worker->last = &job->next;
		worker->waiting++;
		loop_hold(job->loop);
	}
	uv_mutex_unlock(&worker->mutex);
	/* Who is woken finds the mutex free. */
	if (has_room)
		uv_cond_signal(&worker->wake);
	return has_room;
}

static size_t
share_of(const struct worker *worker)
{
	return (worker->jobs_max + SHARE - 1) / SHARE;
}

/* Its turn comes behind those of its lane that wait, and no sooner than now.
 * False: the lane has enough, or its rank. */
static bool
turn_take(const struct worker *worker, struct job *job)
{
	size_t kept = job->rank == JOB_FIRST ? 0 : share_of(worker);
	size_t others = 0;

	job->turn = worker->turns[job->rank];
	for (const struct job *other = worker->first; other != NULL;
	     other = other->next) {
		if (memcmp(other->lane, job->lane, WORKER_LANE) != 0)
			continue;
		if (other->rank == job->rank)
			job->turn = other->turn + 1;
		others++;
	}
	return others < share_of(worker) &&
	       worker->waiting + kept < worker->jobs_max;
}

static bool
is_before(const struct job *one, const struct job *other)
{
	return one->rank == other->rank ? one->turn <= other->turn
					: one->rank < other->rank;
}

/* The list is in the order of ranks, and within each of turns. */
static void
insert(struct worker *worker, struct job *job)
{
	struct job **at = &worker->first;

	while (*at != NULL && is_before(*at, job))
		at = &(*at)->next;
	job->next = *at;
	*at = job;
	if (job->next == NULL)
		worker->last = &job->next;
	worker->waiting++;
	loop_hold(job->loop);
}

bool
worker_submit_fairly(struct worker *worker, struct job *job,
		     const uint8_t lane[WORKER_LANE], enum job_rank rank)
{
	bool has_room;

	memcpy(job->lane, lane, WORKER_LANE);
	job->rank = rank;
	uv_mutex_lock(&worker->mutex);
	ASSERT(!worker->is_stopping);
	has_room = turn_take(worker, job);
	if (has_room)
		insert(worker, job);
	uv_mutex_unlock(&worker->mutex);
	if (has_room)
		uv_cond_signal(&worker->wake);
	return has_room;
}
