#include <criterion/criterion.h>

#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/net/loop.h"
#include "relay/net/worker.h"

#define POSTS 10000

struct numbered {
	struct post post;
	unsigned number;
};

static unsigned next_number, out_of_order;
static uv_thread_t ran_on;
static struct loop *posting_loop;

static void
count(struct post *post)
{
	struct numbered *numbered = CONTAINER(post, struct numbered, post);

	if (numbered->number != next_number++)
		out_of_order++;
	ran_on = uv_thread_self();
	if (numbered->number == POSTS - 1)
		loop_stop(posting_loop);
}

Test(loop, posts_from_another_thread_come_in_order)
{
	static struct numbered posts[POSTS];
	struct loop loop;
	uv_thread_t thread, self = uv_thread_self();

	posting_loop = &loop;
	cr_assert(loop_init(&loop, 0, NULL));
	cr_assert(loop_start(&loop, NULL));
	thread = loop.thread;
	for (unsigned i = 0; i < POSTS; i++) {
		posts[i].number = i;
		loop_post(&loop, &posts[i].post, count);
	}
	loop_join(&loop);
	cr_expect_eq(next_number, POSTS);
	cr_expect_eq(out_of_order, 0);
	cr_expect(uv_thread_equal(&ran_on, &thread));
	cr_expect_not(uv_thread_equal(&ran_on, &self));
	loop_done(&loop);
}

struct again {
	struct post post;
	struct loop *loop;
	unsigned times;
	bool is_inside;
};

static void
post_again(struct post *post)
{
	struct again *again = CONTAINER(post, struct again, post);

	cr_assert_not(again->is_inside, "run from inside loop_post()");
	if (++again->times == 100) {
		loop_stop(again->loop);
		return;
	}
	again->is_inside = true;
	loop_post(again->loop, &again->post, post_again);
	again->is_inside = false;
}

Test(loop, a_post_may_be_posted_again_while_it_runs)
{
	struct loop loop;
	struct again again = {.loop = &loop};

	cr_assert(loop_init(&loop, 0, NULL));
	loop_post(&loop, &again.post, post_again);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	cr_expect_eq(again.times, 100);
	loop_done(&loop);
}

struct ball {
	struct post post;
	struct loop *at, *other;
	unsigned times;
};

static void
ball_return(struct post *post)
{
	struct ball *ball = CONTAINER(post, struct ball, post);
	struct loop *other = ball->other;

	if (++ball->times == POSTS) {
		loop_stop(ball->at);
		loop_stop(ball->other);
		return;
	}
	ball->other = ball->at;
	ball->at = other;
	loop_post(other, &ball->post, ball_return);
}

/* Each waits, or is about to, when the post comes: none may be slept through. */
Test(loop, wakes_however_short_it_has_slept, .timeout = 120)
{
	struct loop loops[2];
	struct ball ball = {.at = &loops[0], .other = &loops[1]};

	for (unsigned i = 0; i < COUNT(loops); i++) {
		cr_assert(loop_init(&loops[i], i, NULL));
		cr_assert(loop_start(&loops[i], NULL));
	}
	loop_post(ball.at, &ball.post, ball_return);
	for (unsigned i = 0; i < COUNT(loops); i++)
		loop_join(&loops[i]);
	cr_expect_eq(ball.times, POSTS);
	for (unsigned i = 0; i < COUNT(loops); i++)
		loop_done(&loops[i]);
}

struct work {
	struct job job;
	uv_thread_t ran, ended;
	bool is_done;
};

static unsigned works_left;

static void
work_run(struct job *job)
{
	CONTAINER(job, struct work, job)->ran = uv_thread_self();
}

static void
work_done(struct job *job)
{
	struct work *work = CONTAINER(job, struct work, job);

	work->is_done = true;
	work->ended = uv_thread_self();
	if (--works_left == 0)
		loop_stop(job->loop);
}

Test(worker, runs_elsewhere_and_ends_on_the_loop)
{
	static struct work works[100];
	struct loop loop;
	struct worker *worker;
	uv_thread_t self = uv_thread_self();

	cr_assert(loop_init(&loop, 0, NULL));
	cr_assert(worker_new("test", 3, COUNT(works), &worker, NULL));
	works_left = COUNT(works);
	for (size_t i = 0; i < COUNT(works); i++) {
		works[i].job = (struct job){.run = work_run,
					    .done = work_done,
					    .loop = &loop};
		cr_assert(worker_submit(worker, &works[i].job));
	}
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	for (size_t i = 0; i < COUNT(works); i++) {
		cr_expect(works[i].is_done);
		cr_expect_not(uv_thread_equal(&works[i].ran, &self));
		cr_expect(uv_thread_equal(&works[i].ended, &self));
	}
	worker_free(worker);
	loop_done(&loop);
}

static uv_sem_t gate, entered;

static void
work_wait(struct job *job)
{
	uv_sem_post(&entered);
	uv_sem_wait(&gate);
	work_run(job);
}

Test(worker, refuses_beyond_its_bound)
{
	static struct work works[4];
	struct loop loop;
	struct worker *worker;

	uv_sem_init(&gate, 0);
	uv_sem_init(&entered, 0);
	cr_assert(loop_init(&loop, 0, NULL));
	cr_assert(worker_new("test", 1, 2, &worker, NULL));
	works_left = 3;
	for (size_t i = 0; i < COUNT(works); i++) {
		works[i].job = (struct job){.run = work_wait,
					    .done = work_done,
					    .loop = &loop};
		/* the first is in hand, two wait, the fourth is too much */
		cr_expect_eq(worker_submit(worker, &works[i].job), i < 3);
		if (i == 0)
			uv_sem_wait(&entered);
	}
	for (int i = 0; i < 3; i++)
		uv_sem_post(&gate);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	cr_expect_eq(works_left, 0);
	worker_free(worker);
	loop_done(&loop);
	uv_sem_destroy(&gate);
	uv_sem_destroy(&entered);
}

static struct loop held_loop;
static bool held_ran;

static void
hold_run(struct post *post)
{
	(void)post;
	loop_hold(&held_loop);
}

static void
release_run(struct post *post)
{
	(void)post;
	held_ran = true;
	loop_release(&held_loop);
}

static atomic_uint turned;

static void
turn_slowly(struct post *post)
{
	(void)post;
	usleep(100000);
	atomic_fetch_add(&turned, 1);
}

Test(loop, a_turn_is_over_behind_what_was_posted_before)
{
	struct loop loops[3];
	struct post posts[COUNT(loops)];

	for (unsigned i = 0; i < COUNT(loops); i++) {
		cr_assert(loop_init(&loops[i], i, NULL));
		cr_assert(loop_start(&loops[i], NULL));
		loop_post(&loops[i], &posts[i], turn_slowly);
	}
	cr_expect(loops_turn(loops, COUNT(loops), 10 * SECOND));
	cr_expect_eq(turned, COUNT(loops));
	cr_expect(loops_turn(loops, COUNT(loops), 10 * SECOND));
	for (unsigned i = 0; i < COUNT(loops); i++) {
		loop_stop(&loops[i]);
		loop_join(&loops[i]);
		loop_done(&loops[i]);
	}
}

static uv_sem_t may_turn;

static void
turn_when_it_may(struct post *post)
{
	(void)post;
	uv_sem_wait(&may_turn);
}

Test(loop, a_turn_takes_no_longer_than_it_may)
{
	struct loop loop;
	struct post post;

	cr_assert_eq(uv_sem_init(&may_turn, 0), 0);
	cr_assert(loop_init(&loop, 0, NULL));
	cr_assert(loop_start(&loop, NULL));
	loop_post(&loop, &post, turn_when_it_may);
	cr_expect_not(loops_turn(&loop, 1, 10));
	uv_sem_post(&may_turn);
	loop_stop(&loop);
	loop_join(&loop);
	loop_done(&loop);
}

Test(loop, does_not_end_before_a_post_it_waits_for, .timeout = 120)
{
	struct post hold, release;
	struct fault fault;

	cr_assert(loop_init(&held_loop, 0, &fault));
	cr_assert(loop_start(&held_loop, &fault));
	loop_post(&held_loop, &hold, hold_run);
	loop_stop(&held_loop);
	/* Long enough for a loop that does not wait to be gone. */
	uv_sleep(50);
	loop_post(&held_loop, &release, release_run);
	loop_join(&held_loop);
	cr_expect(held_ran);
	loop_done(&held_loop);
}
