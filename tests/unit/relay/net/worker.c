#include "relay/net/worker.h"

#include <criterion/criterion.h>

#define JOBS 16

struct task {
	struct job job;
	char name;
};

static struct loop loop;
static struct worker *worker;
static uv_sem_t begun, may_go;
static char ran[JOBS + 1];
static unsigned done;

static void
run(struct job *job)
{
	struct task *task = CONTAINER(job, struct task, job);

	if (task->name == '-') {
		uv_sem_post(&begun);
		uv_sem_wait(&may_go);
		return;
	}
	ran[strlen(ran)] = task->name; /* there is one thread */
}

static void
on_done(struct job *job)
{
	(void)job;
	done++;
}

static bool
submit_as(struct task *task, char name, char lane, enum job_rank rank)
{
	uint8_t key[WORKER_LANE] = {(uint8_t)lane};

	*task = (struct task){
		.job = {.run = run, .done = on_done, .loop = &loop},
		.name = name};
	return worker_submit_fairly(worker, &task->job, key, rank);
}

static bool
submit(struct task *task, char name, char lane)
{
	return submit_as(task, name, lane, JOB_BEHIND);
}

static void
begin(struct task *first)
{
	cr_assert(loop_init(&loop, 0, NULL));
	cr_assert_eq(uv_sem_init(&begun, 0), 0);
	cr_assert_eq(uv_sem_init(&may_go, 0), 0);
	cr_assert(worker_new("fair", 1, 4 * 4, &worker, NULL));
	cr_assert(submit(first, '-', 'a'));
	uv_sem_wait(&begun);
}

static void
end(unsigned count)
{
	uv_sem_post(&may_go);
	cr_assert(loop_start(&loop, NULL));
	worker_free(worker);
	loop_stop(&loop);
	loop_join(&loop);
	cr_expect_eq(done, count);
	loop_done(&loop);
}

/* Who has four waiting does not hold up who has one. */
Test(worker, takes_lanes_by_turns)
{
	static const char order[] = "abcabaa";
	struct task first, tasks[7];

	begin(&first);
	for (unsigned i = 0; i < 4; i++)
		cr_expect(submit(&tasks[i], 'a', 'a'));
	cr_expect(submit(&tasks[4], 'b', 'b'));
	cr_expect(submit(&tasks[5], 'b', 'b'));
	cr_expect(submit(&tasks[6], 'c', 'c'));
	end(8);
	cr_expect_str_eq(ran, order);
}

/* Nor fills the queue. */
Test(worker, one_lane_has_a_quarter)
{
	struct task first, tasks[6];

	begin(&first);
	for (unsigned i = 0; i < 4; i++)
		cr_expect(submit(&tasks[i], 'a', 'a'));
	cr_expect_not(submit(&tasks[4], 'a', 'a'));
	cr_expect(submit(&tasks[5], 'b', 'b'));
	end(6);
}

/* However many lanes of the other rank wait. */
Test(worker, takes_the_first_rank_first)
{
	struct task first, tasks[6];

	begin(&first);
	for (unsigned i = 0; i < 3; i++)
		cr_expect(submit(&tasks[i], 'x', (char)('x' + i)));
	cr_expect(submit_as(&tasks[3], 'a', 'a', JOB_FIRST));
	cr_expect(submit_as(&tasks[4], 'a', 'a', JOB_FIRST));
	cr_expect(submit_as(&tasks[5], 'b', 'b', JOB_FIRST));
	end(7);
	cr_expect_str_eq(ran, "abaxxx");
}

/* Who would go on for ever. */
Test(worker, takes_another_in_between)
{
	struct task first, tasks[8];

	begin(&first);
	cr_expect(submit(&tasks[0], 'x', 'x'));
	cr_expect(submit(&tasks[1], 'y', 'x'));
	for (unsigned i = 2; i < 8; i++)
		cr_expect(submit_as(&tasks[i], (char)('a' + i - 2),
				    (char)('a' + i), JOB_FIRST));
	end(9);
	cr_expect_str_eq(ran, "abcxdefy");
}

Test(worker, keeps_a_quarter_for_the_first_rank)
{
	struct task first, tasks[18];
	unsigned i;

	begin(&first);
	for (i = 0; i < 3 * 4; i++)
		cr_expect(submit(&tasks[i], 'x', (char)('a' + i)), "%u", i);
	cr_expect_not(submit(&tasks[i], 'x', 'y'));
	for (; i < 4 * 4; i++)
		cr_expect(submit_as(&tasks[i], 'a', (char)('A' + i), JOB_FIRST),
			  "%u", i);
	cr_expect_not(submit_as(&tasks[i], 'a', 'z', JOB_FIRST));
	end(17);
}
