#include <criterion/criterion.h>

#include <time.h>
#include <unistd.h>

#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/unit/relay/queue/store_stand.h"

/* What goes into one commit, and what waits for others. */

#define GROUP 500

static struct store_put group_puts[GROUP];
static uv_sem_t group_done;

/* A group that is begun does not end before this does. */
static MDB_txn *
commits_hold(void)
{
	MDB_txn *txn;

	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, 0, &txn), 0);
	return txn;
}

static void
group_put_done(struct store_put *put, const struct fault *fault)
{
	cr_expect_eq(fault, NULL);
	deliveries_free(&put->deliveries);
	uv_sem_post(&group_done);
}

Test(store_group, commits_group_themselves, .init = begin, .fini = finish)
{
	struct store_counters counters;
	MDB_txn *held = commits_hold();

	uv_sem_init(&group_done, 0);
	for (int i = 0; i < GROUP; i++) {
		struct message *message =
			message_make("", "a@x.example", 1000);

		group_puts[i] = (struct store_put){.message = message,
						   .loop = &loop,
						   .done = group_put_done};
		store_put(store, &group_puts[i]);
		message_unref(message);
	}
	mdb_txn_abort(held);
	for (int i = 0; i < GROUP; i++)
		uv_sem_wait(&group_done);
	store_count(store, &counters);
	cr_expect_eq(counters.puts, GROUP);
	cr_expect_lt(counters.commits, GROUP / 2, "%lu commits",
		     (unsigned long)counters.commits);
	uv_sem_destroy(&group_done);
}

#define TURNS 20

/* The store waits for others a few milliseconds; by this clock as long as the
 * test likes. */
static atomic_bool is_time_still;

uint64_t
uv_hrtime(void)
{
	static uint64_t stood_at = 1;
	struct timespec now;

	if (atomic_load(&is_time_still))
		return stood_at;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void
turn_put(struct store_put *put)
{
	struct message *message = message_make("", "a@x.example", 1000);

	*put = (struct store_put){
		.message = message, .loop = &loop, .done = group_put_done};
	store_put(store, put);
	message_unref(message);
}

/* The store's thread waits for so many puts. */
static void
wait_wanted(size_t puts)
{
	size_t wanted = 0;

	while (wanted != puts) {
		usleep(100);
		uv_mutex_lock(&store->mutex);
		wanted = store->puts_wanted;
		uv_mutex_unlock(&store->mutex);
	}
}

/* One that is there waits for those that are expected. */
Test(store_group, puts_that_are_expected_go_along, .init = begin, .fini = finish)
{
	struct store_put puts[1 + STORE_GATHER_MIN];
	struct store_counters counters;

	uv_sem_init(&group_done, 0);
	atomic_store(&is_time_still, true);
	for (int i = 0; i < TURNS; i++) {
		for (size_t j = 1; j < COUNT(puts); j++)
			store_expect(store);
		turn_put(&puts[0]);
		wait_wanted(COUNT(puts));
		for (size_t j = 1; j < COUNT(puts); j++) {
			store_expect_no_more(store);
			turn_put(&puts[j]);
		}
		for (size_t j = 0; j < COUNT(puts); j++)
			uv_sem_wait(&group_done);
	}
	store_count(store, &counters);
	cr_expect_eq(counters.puts, COUNT(puts) * TURNS);
	cr_expect_eq(counters.commits, TURNS, "%lu commits",
		     (unsigned long)counters.commits);
	uv_sem_destroy(&group_done);
}

/* Whether it has something to do or not; and at its end. */
Test(store_group, says_that_its_thread_goes_on, .init = begin, .fini = finish,
     .timeout = 120)
{
	struct list deliveries;

	list_init(&deliveries);
	for (unsigned i = 0; i < 3; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("a@example.org", "b@x.example", 100);

		beat_wait(store, &loop);
		beat_wait(store, &loop);
		cr_expect(put_wait(store, &loop, message, &deliveries, NULL));
	}
	deliveries_free(&deliveries);
}

/* It is for those that come, not for those that do not. */
Test(store_group, a_put_that_never_comes_holds_nobody_up, .init = begin, .fini = finish)
{
	struct store_put put;

	uv_sem_init(&group_done, 0);
	for (int i = 0; i < STORE_GATHER_MIN; i++)
		store_expect(store);
	turn_put(&put);
	uv_sem_wait(&group_done);
	for (int i = 0; i < STORE_GATHER_MIN; i++)
		store_expect_no_more(store);
	uv_sem_destroy(&group_done);
}

static void
turn_settled(struct store_settle *settle, const struct fault *fault)
{
	(void)settle;
	cr_expect_eq(fault, NULL);
	uv_sem_post(&group_done);
}

/* Each settlement goes along with the put that follows it. */
Test(store_group, settlements_ride_along, .init = begin, .fini = finish)
{
	static struct store_settle settles[TURNS];
	struct list deliveries[TURNS];
	struct store_counters counters;

	uv_sem_init(&group_done, 0);
	atomic_store(&is_time_still, true);
	for (int i = 0; i < TURNS; i++) {
		struct message *message =
			message_make("", "a@x.example", 1000);
		struct delivery *delivery;

		list_init(&deliveries[i]);
		cr_assert(put_wait(store, &loop, message, &deliveries[i],
				   NULL));
		message_unref(message);
		delivery = first(&deliveries[i]);
		delivery->recipients[0].outcome = OUTCOME_DELIVERED;
		settles[i] = (struct store_settle){.delivery = delivery,
						   .loop = &loop,
						   .done = turn_settled};
		store_settle(store, &settles[i]);
	}
	/* Nothing follows the last one. */
	atomic_store(&is_time_still, false);
	for (int i = 0; i < TURNS; i++)
		uv_sem_wait(&group_done);
	store_count(store, &counters);
	cr_expect_eq(counters.settles, TURNS);
	cr_expect_eq(counters.commits, TURNS + 1, "%lu commits",
		     (unsigned long)counters.commits);
	for (int i = 0; i < TURNS; i++)
		deliveries_free(&deliveries[i]);
	uv_sem_destroy(&group_done);
}
