#include "relay/net/loop.h"

#include <stdlib.h>

#include <pthread.h>

#include "base/clock.h"

/*
 * Posts are run behind the poll. Before it the loop says that it is going to
 * wait, and only then has to be woken: whoever posts to a loop that is at work,
 * as a loop does to itself, needs no system call.
 */

static void
loop_on_wake(uv_async_t *wake)
{
	(void)wake; /* the check that follows takes the posts */
}

/* While there are posts, the poll does not wait. */
static void
loop_on_idle(uv_idle_t *busy)
{
	(void)busy;
}

static void
loop_on_prepare(uv_prepare_t *before)
{
	struct loop *loop = before->data;
	bool has_posts;

	uv_mutex_lock(&loop->mutex);
	has_posts = loop->posted_first != NULL;
	loop->is_waiting = !has_posts;
	uv_mutex_unlock(&loop->mutex);
	if (has_posts)
		uv_idle_start(&loop->busy, loop_on_idle);
	else
		uv_idle_stop(&loop->busy);
}

static void
loop_look(struct loop *loop)
{
	uint64_t now_ms = clock_now_ms();

	if (load_is_due(&loop->load, now_ms))
		load_look(&loop->load, now_ms, clock_thread_ms());
}

static void
farewells_hurry(struct loop *loop)
{
	loop->is_ending = true;
	LIST_EACH (item, &loop->farewells) {
		struct farewell *farewell =
			CONTAINER(item, struct farewell, link);

		farewell->hurry(farewell);
	}
}

void
loop_farewell(struct loop *loop, struct farewell *farewell,
	      void (*hurry)(struct farewell *farewell))
{
	farewell->hurry = hurry;
	list_add_last(&loop->farewells, &farewell->link);
	if (loop->is_ending)
		hurry(farewell);
}

static void
loop_on_check(uv_check_t *behind)
{
	struct loop *loop = behind->data;
	struct post *post, *next;
	bool is_stopping, may_end;

	loop_look(loop);
	uv_mutex_lock(&loop->mutex);
	loop->is_waiting = false;
	post = loop->posted_first;
	loop->posted_first = NULL;
	loop->posted_last = &loop->posted_first;
	uv_mutex_unlock(&loop->mutex);

	for (; post != NULL; post = next) {
		next = post->next; /* run() may free or post it again */
		post->next = NULL;
		post->run(post);
	}
	uv_mutex_lock(&loop->mutex);
	is_stopping = loop->is_stopping;
	may_end = is_stopping && loop->holds == 0 &&
		  loop->posted_first == NULL;
	uv_mutex_unlock(&loop->mutex);
	if (is_stopping && !loop->is_ending)
		farewells_hurry(loop);
	/* What a post started may hold it again. */
	if (may_end)
		uv_unref((uv_handle_t *)&loop->wake);
	else
		uv_ref((uv_handle_t *)&loop->wake);
}

/* They never fail, and do not keep the loop running. */
static void
loop_watch(struct loop *loop)
{
	uv_prepare_init(&loop->uv, &loop->before);
	uv_check_init(&loop->uv, &loop->behind);
	uv_idle_init(&loop->uv, &loop->busy);
	loop->before.data = loop->behind.data = loop;
	uv_prepare_start(&loop->before, loop_on_prepare);
	uv_check_start(&loop->behind, loop_on_check);
	uv_unref((uv_handle_t *)&loop->before);
	uv_unref((uv_handle_t *)&loop->behind);
	uv_unref((uv_handle_t *)&loop->busy);
}

bool
loop_init(struct loop *loop, unsigned index, struct fault *fault)
{
	int status;

	*loop = (struct loop){.index = index};
	loop->posted_last = &loop->posted_first;
	list_init(&loop->farewells);
	status = uv_loop_init(&loop->uv);
	if (status != 0)
		return fault_set(fault, FAULT_SYSTEM, "event loop: %s",
				 uv_strerror(status));
	loop->uv.data = loop;
	status = uv_async_init(&loop->uv, &loop->wake, loop_on_wake);
	if (status != 0) {
		uv_loop_close(&loop->uv);
		return fault_set(fault, FAULT_SYSTEM, "event loop: %s",
				 uv_strerror(status));
	}
	loop_watch(loop);
	ASSERT(uv_mutex_init(&loop->mutex) == 0);
	return true;
}

void
loop_done(struct loop *loop)
{
	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_close((uv_handle_t *)&loop->before, NULL);
	uv_close((uv_handle_t *)&loop->behind, NULL);
	uv_close((uv_handle_t *)&loop->busy, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	ASSERT(loop->posted_first == NULL);
	ASSERT(uv_loop_close(&loop->uv) == 0);
	uv_mutex_destroy(&loop->mutex);
	text_done(&loop->scratch);
}

static void
loop_thread(void *argument)
{
	struct loop *loop = argument;

	pthread_setname_np(pthread_self(), "loop");
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

bool
loop_start(struct loop *loop, struct fault *fault)
{
	int status = uv_thread_create(&loop->thread, loop_thread, loop);

	if (status != 0)
		return fault_set(fault, FAULT_SYSTEM, "thread: %s",
				 uv_strerror(status));
	loop->has_thread = true;
	return true;
}

void
loop_stop(struct loop *loop)
{
	uv_mutex_lock(&loop->mutex);
	loop->is_stopping = true;
	uv_mutex_unlock(&loop->mutex);
	uv_async_send(&loop->wake);
}

void
loop_join(struct loop *loop)
{
	ASSERT(loop->has_thread);
	uv_thread_join(&loop->thread);
	loop->has_thread = false;
}

void
loop_post(struct loop *loop, struct post *post, post_fn *run)
{
	bool was_waiting;

	post->run = run;
	post->next = NULL;
	uv_mutex_lock(&loop->mutex);
	*loop->posted_last = post;
	loop->posted_last = &post->next;
	was_waiting = loop->is_waiting;
	loop->is_waiting = false; /* once is enough */
	uv_mutex_unlock(&loop->mutex);
	if (was_waiting)
		uv_async_send(&loop->wake);
}

/* Whoever is the last to have to do with it frees it. */
struct turn {
	uv_mutex_t mutex;
	uv_cond_t done;
	size_t left;
	bool is_waited_for;
	struct turn_post {
		struct post post;
		struct turn *turn;
		struct loop *loop;
		bool has_polled; /* between the first time and the second */
	} posts[];
};

static void
turn_free(struct turn *turn)
{
	uv_cond_destroy(&turn->done);
	uv_mutex_destroy(&turn->mutex);
	free(turn);
}

/* Posts are run before the loop looks for input: once more, behind that. */
static void
turn_run(struct post *post)
{
	struct turn_post *here = CONTAINER(post, struct turn_post, post);
	struct turn *turn = here->turn;
	bool is_last;

	if (!here->has_polled) {
		here->has_polled = true;
		loop_post(here->loop, post, turn_run);
		return;
	}
	uv_mutex_lock(&turn->mutex);
	if (--turn->left == 0)
		uv_cond_signal(&turn->done);
	is_last = turn->left == 0 && !turn->is_waited_for;
	uv_mutex_unlock(&turn->mutex);
	if (is_last)
		turn_free(turn);
}

static struct turn *
turn_begin(struct loop *loops, size_t count)
{
	struct turn *turn = memory_new(sizeof(*turn) +
				       count * sizeof(turn->posts[0]));

	ASSERT(uv_mutex_init(&turn->mutex) == 0);
	ASSERT(uv_cond_init(&turn->done) == 0);
	turn->left = count;
	turn->is_waited_for = true;
	for (size_t i = 0; i < count; i++) {
		turn->posts[i].turn = turn;
		turn->posts[i].loop = &loops[i];
		loop_post(&loops[i], &turn->posts[i].post, turn_run);
	}
	return turn;
}

bool
loops_turn(struct loop *loops, size_t count, uint64_t timeout_ms)
{
	uint64_t now = uv_hrtime(), until = now + timeout_ms * 1000000;
	struct turn *turn = turn_begin(loops, count);
	bool has_turned;

	uv_mutex_lock(&turn->mutex);
	while (turn->left > 0 && now < until) {
		(void)uv_cond_timedwait(&turn->done, &turn->mutex,
					until - now);
		now = uv_hrtime();
	}
	has_turned = turn->left == 0;
	turn->is_waited_for = false;
	uv_mutex_unlock(&turn->mutex);
	if (has_turned)
		turn_free(turn);
	return has_turned;
}

bool
loop_is_busy(const struct loop *loop)
{
	return load_is_high(&loop->load, clock_now_ms());
}

void
loop_hold(struct loop *loop)
{
	uv_mutex_lock(&loop->mutex);
	loop->holds++;
	uv_mutex_unlock(&loop->mutex);
}

void
loop_release(struct loop *loop)
{
	uv_mutex_lock(&loop->mutex);
	ASSERT(loop->holds > 0);
	loop->holds--;
	uv_mutex_unlock(&loop->mutex);
}

static void
alarm_on_timer(uv_timer_t *timer)
{
	struct alarm *alarm = timer->data;

	alarm->fired(alarm);
}

void
alarm_init(struct alarm *alarm, struct loop *loop,
	   void (*fired)(struct alarm *alarm))
{
	ASSERT(uv_timer_init(&loop->uv, &alarm->timer) == 0);
	alarm->timer.data = alarm;
	alarm->fired = fired;
	alarm->closed = NULL;
}

void
alarm_set(struct alarm *alarm, uint64_t delay_ms)
{
	ASSERT(uv_timer_start(&alarm->timer, alarm_on_timer, delay_ms, 0) ==
	       0);
}

void
alarm_clear(struct alarm *alarm)
{
	uv_timer_stop(&alarm->timer);
}

static void
alarm_on_close(uv_handle_t *handle)
{
	struct alarm *alarm = handle->data;

	if (alarm->closed != NULL)
		alarm->closed(alarm);
}

void
alarm_close(struct alarm *alarm, void (*closed)(struct alarm *alarm))
{
	alarm->closed = closed;
	uv_close((uv_handle_t *)&alarm->timer, alarm_on_close);
}
