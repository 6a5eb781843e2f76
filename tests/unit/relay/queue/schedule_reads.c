#include "tests/unit/relay/queue/schedule_stand.h"

/* What becomes of a delivery while a read that brings it is under way: the read
 * is held up before the store has it, and once more on its way back. */

static struct store_read_due *held_read; /* under the mutex */
static void (*held_done)(struct store_read_due *read, const struct fault *fault);
static bool holds_read, is_read;
static struct store *read_from;

static bool
read_is_held(void)
{
	return held_read != NULL;
}

static bool
read_is_back(void)
{
	return is_read;
}

static void
note_under_mutex(bool *what)
{
	uv_mutex_lock(&mutex);
	*what = true;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

static void
read_came_back(struct store_read_due *read, const struct fault *fault)
{
	cr_assert_null(fault);
	cr_assert_eq(read, held_read);
	note_under_mutex(&is_read);
}

void __real_store_read_due(struct store *from, struct store_read_due *read);
void __wrap_store_read_due(struct store *from, struct store_read_due *read);

void
__wrap_store_read_due(struct store *from, struct store_read_due *read)
{
	if (!holds_read) {
		__real_store_read_due(from, read);
		return;
	}
	holds_read = false;
	held_done = read->done;
	read->done = read_came_back;
	read_from = from;
	uv_mutex_lock(&mutex);
	held_read = read;
	uv_cond_broadcast(&cond);
	uv_mutex_unlock(&mutex);
}

static void
on_ask(struct post *post)
{
	(void)post;
	__real_store_read_due(read_from, held_read);
}

static void
on_answer(struct post *post)
{
	(void)post;
	held_done(held_read, NULL);
}

/* The store reads what is there now. */
static void
read_ask(void)
{
	static struct post post;

	loop_post(held_read->loop, &post, on_ask);
	cr_assert(wait_for(read_is_back));
}

static void
read_answer(void)
{
	static struct post post;

	loop_post(held_read->loop, &post, on_answer);
}

/* A minute old: the read that is held up finds it due. */
static struct message_id
put_old(const char *to, bool is_handed_over)
{
	CLEAN(message_unref_clean) struct message *message =
		message_make("from@example.org", to, 500);

	message->received_ms -= MINUTE;
	put_message(message, is_handed_over);
	return message->id;
}

/* The first is stored before the start, and so is read. */
static void
begin_reading(void)
{
	run_main();
	put_old("first@x.example", false);
	holds_read = true;
	begin_schedule();
	run_loops();
	cr_assert(wait_for(read_is_held));
}

static bool
last_is_there(void)
{
	return fake_log_count("delivered ", "to=last@x.example") == 1;
}

/* Behind whatever else there is to take. */
static void
last_arrives(void)
{
	put_old("last@x.example", true);
	cr_expect(wait_for(last_is_there));
}

static void
expect_once(const char *to)
{
	cr_expect_eq(fake_log_count("delivered ", to), 1, "%s", to);
}

/* Handed over, and delivered, behind the read's back. */
Test(schedule_reads, what_is_over_meanwhile_is_not_tried_again, .init = begin,
     .fini = stop_all)
{
	begin_reading();
	is_holding = true;
	put_old("second@x.example", true);
	cr_assert(wait_for(is_held));
	read_ask();
	held_settle();
	cr_assert(wait_delivered(1));
	/* Behind the settlement, which the same loop ends. */
	beat_wait(store, &main_loop);
	read_answer();
	cr_expect(wait_delivered(2));
	last_arrives();
	expect_once("to=first@x.example");
	expect_once("to=second@x.example");
	cr_expect_eq(attempts_count, 3);
}

static void
settle_all(struct schedule_destination *destination, struct delivery *delivery)
{
	for (; delivery != NULL; delivery = schedule_take(destination))
		settle(destination, delivery);
}

/* While it is under way yet. */
Test(schedule_reads, what_is_under_way_is_not_taken_twice, .init = begin,
     .fini = stop_all)
{
	begin_reading();
	is_holding = true;
	put_old("second@x.example", true);
	cr_assert(wait_for(is_held));
	read_ask();
	read_answer();
	held_go_on(settle_all);
	cr_expect(wait_delivered(2));
	last_arrives();
	expect_once("to=first@x.example");
	expect_once("to=second@x.example");
}

/* The read has it already; whoever deleted it was told that it is gone. */
Test(schedule_reads, what_is_deleted_meanwhile_is_not_tried, .init = begin,
     .fini = stop_all)
{
	struct message_id id;

	begin_reading();
	id = put_old("second@x.example", false);
	read_ask();
	cr_expect_eq(alter(ALTER_DELETE, id, "x.example", clock_wall_ms()),
		     ALTERED);
	read_answer();
	cr_expect(wait_delivered(1));
	last_arrives();
	expect_once("to=first@x.example");
	cr_expect_eq(attempts_count, 2);
}
