#include "tests/fake/worker.h"

#include "relay/net/worker.h"

static struct job *first, **last = &first;
static bool full;

bool
worker_submit(struct worker *worker, struct job *job)
{
	(void)worker;
	if (full)
		return false;
	job->next = NULL;
	*last = job;
	last = &job->next;
	return true;
}

bool
worker_submit_fairly(struct worker *worker, struct job *job,
		     const uint8_t lane[WORKER_LANE], enum job_rank rank)
{
	(void)lane;
	(void)rank;
	return worker_submit(worker, job);
}

void
fake_worker_is_full(bool is_full)
{
	full = is_full;
}

bool
fake_worker_turn(void)
{
	struct job *job = first;

	if (job == NULL)
		return false;
	first = job->next;
	if (first == NULL)
		last = &first;
	job->run(job);
	job->done(job);
	return true;
}

void
fake_worker_forget(void)
{
	while (fake_worker_turn())
		;
	full = false;
}
