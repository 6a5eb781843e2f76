#include "relay/queue/store_private.h"

#include <errno.h>
#include <pthread.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/store_suspect.h"

static struct store_operation *
operation_of(struct list *item)
{
	return CONTAINER(item, struct store_operation, link);
}

void
store_die(const struct fault *fault)
{
	struct log line;

	log_begin(&line, LOG_LEVEL_ERROR, "store-failed");
	log_fault(&line, fault);
	log_send(&line);
	log_stop();
	_exit(EX_TEMPFAIL);
}

/* What is damaged is mended at the next start. */
void
store_die_of(const struct fault *fault)
{
	if (engine_is_damaged(fault))
		suspect_mark(fault->text);
	store_die(fault);
}

/* All of the group in one transaction, or nothing: then fault says why. */
static bool
group_commit(struct store *store, struct list *group, struct fault *fault)
{
	if (!engine_begin(store->engine, fault))
		return false;
	LIST_EACH (item, group) {
		struct store_operation *operation = operation_of(item);

		if (!operation_apply(store->engine, operation)) {
			*fault = operation->fault;
			engine_abort(store->engine);
			return false;
		}
	}
	if (!engine_commit(store->engine, fault))
		return false;
	atomic_fetch_add(&store->commits, 1);
	return true;
}

/* Whether the store can go on after this. A file that cannot grow may show as
 * EIO (a short write), as a broken disk does; then the disk tells which. */
static bool
fault_is_survivable(struct store *store, struct fault *fault)
{
	if (fault->system == EIO && space_is_out(&store->space))
		fault->kind = FAULT_LIMIT;
	return fault->kind == FAULT_LIMIT ||
	       (fault->kind == FAULT_INPUT && !engine_is_damaged(fault));
}

/* What fails alone fails alone. */
static void
operation_commit_alone(struct store *store, struct store_operation *operation)
{
	struct list group;
	struct fault fault = {0};

	list_init(&group);
	list_add_last(&group, &operation->link);
	operation->fault = (struct fault){0};
	if (!group_commit(store, &group, &fault)) {
		if (!fault_is_survivable(store, &fault))
			store_die_of(&fault);
		/* To the caller damage is as good as a failing disk. */
		if (fault.kind == FAULT_INPUT)
			fault.kind = FAULT_SYSTEM;
		operation->fault = fault;
	}
	list_remove(&operation->link);
}

/* On the store thread, between two commits. */
static void
beat_answer(struct store *store)
{
	struct store_beat *beat;

	uv_mutex_lock(&store->mutex);
	beat = TAKE(store->beat);
	uv_mutex_unlock(&store->mutex);
	if (beat != NULL)
		loop_post(beat->loop, &beat->post, beat->back);
}

static void
group_commit_singly(struct store *store, struct list *group)
{
	struct list done, *item;

	list_init(&done);
	while ((item = list_take_first(group)) != NULL) {
		beat_answer(store);
		operation_commit_alone(store, operation_of(item));
		list_add_last(&done, item);
	}
	while ((item = list_take_first(&done)) != NULL)
		list_add_last(group, item);
}

/* Now and then, for the pages that they pin are never used again. */
static void
readers_check(struct store *store)
{
	uint64_t now_ms = clock_now_ms();
	unsigned dead;

	if (now_ms < store->readers_checked_ms + store->readers_check_ms)
		return;
	store->readers_checked_ms = now_ms;
	dead = engine_forget_dead_readers(store->engine);
	if (dead > 0)
		log_note(LOG_LEVEL_INFO, "store",
			 "%u readers had died, and pin nothing any more", dead);
}

/* Nobody waits for a settlement to be durable, as a client does for its 250:
 * it goes along with the next group that somebody waits for, if there is one
 * soon. */
static void
settlements_wait(struct store *store)
{
	uint64_t now = uv_hrtime(), until = now + STORE_PATIENCE_MS * 1000000;

	while (!store->is_awaited && !store->is_stopping &&
	       !store->is_hurried && now < until) {
		(void)uv_cond_timedwait(&store->wake, &store->mutex,
					until - now);
		now = uv_hrtime();
	}
}

/* Puts that are expected go along with one that is there, rather than in a
 * commit of their own each. Only those that were expected at first: under load
 * there is always one more. Not for a few: where few are under way it is
 * latency that counts. */
static void
expected_wait(struct store *store)
{
	uint64_t now = uv_hrtime(), until = now + STORE_GATHER_MS * 1000000;
	size_t expected = atomic_load(&store->expected);

	if (store->puts_waiting == 0 || expected < STORE_GATHER_MIN)
		return;
	store->puts_wanted = store->puts_waiting + expected;
	if (store->puts_wanted > STORE_GROUP_MAX)
		store->puts_wanted = STORE_GROUP_MAX;
	while (store->puts_waiting < store->puts_wanted &&
	       !store->is_stopping && now < until) {
		(void)uv_cond_timedwait(&store->wake, &store->mutex,
					until - now);
		now = uv_hrtime();
	}
	store->puts_wanted = 0;
}

/* Waits for work, which may be none after a while; false once there will be
 * none. */
static bool
group_take(struct store *store, struct list *group)
{
	struct list *item;
	size_t count = 0, bytes = 0;
	bool goes_on;

	uv_mutex_lock(&store->mutex);
	if (list_is_empty(&store->waiting) && !store->is_stopping &&
	    store->beat == NULL)
		(void)uv_cond_timedwait(&store->wake, &store->mutex,
					store->readers_check_ms * 1000000);
	if (!list_is_empty(&store->waiting))
		settlements_wait(store);
	expected_wait(store);
	while (count < STORE_GROUP_MAX && bytes < STORE_GROUP_BYTES &&
	       (item = list_take_first(&store->waiting)) != NULL) {
		list_add_last(group, item);
		bytes += operation_weight(operation_of(item));
		if (operation_of(item)->kind == OPERATION_PUT)
			store->puts_waiting--;
		count++;
	}
	if (list_is_empty(&store->waiting))
		store->is_awaited = false;
	goes_on = count > 0 || !store->is_stopping;
	uv_mutex_unlock(&store->mutex);
	atomic_fetch_sub(&store->waiting_count, count);
	return goes_on;
}

static void
group_finish(struct store *store, struct list *group)
{
	struct list *item;
	size_t count = 0;

	while ((item = list_take_first(group)) != NULL) {
		operation_finish(store, operation_of(item));
		count++;
	}
	uv_mutex_lock(&store->mutex);
	store->finished += count;
	uv_cond_signal(&store->flushed);
	uv_mutex_unlock(&store->mutex);
}

bool
store_flush(struct store *store, uint64_t timeout_ms)
{
	uint64_t now = uv_hrtime(), until = now + timeout_ms * 1000000;
	uint64_t wanted;
	bool is_done;

	uv_mutex_lock(&store->mutex);
	store->is_hurried = true;
	uv_cond_signal(&store->wake);
	wanted = store->submitted;
	while (store->finished < wanted && now < until) {
		(void)uv_cond_timedwait(&store->flushed, &store->mutex,
					until - now);
		now = uv_hrtime();
	}
	is_done = store->finished >= wanted;
	uv_mutex_unlock(&store->mutex);
	return is_done;
}

void
store_thread(void *argument)
{
	struct store *store = argument;
	struct list group;
	struct fault fault;

	suspect_enter();
	pthread_setname_np(pthread_self(), "store");
	list_init(&group);
	while (group_take(store, &group)) {
		beat_answer(store);
		readers_check(store);
		if (list_is_empty(&group))
			continue;
		if (!group_commit(store, &group, &fault)) {
			if (!fault_is_survivable(store, &fault))
				store_die_of(&fault);
			group_commit_singly(store, &group);
		}
		atomic_store(&store->space.reusable_bytes,
			     engine_reusable_bytes(store->engine));
		group_finish(store, &group);
	}
	beat_answer(store);
}

void
store_take_no_more(struct store *store)
{
	uv_mutex_lock(&store->mutex);
	store->is_closing = true;
	uv_mutex_unlock(&store->mutex);
}

void
store_submit(struct store *store, struct store_operation *operation,
	     enum operation_kind kind)
{
	bool is_first, was_awaited, is_wanted = false;
	size_t count;

	operation->store = store;
	operation->kind = (int)kind;
	operation->has_dead_file = false;
	operation->fault = (struct fault){0};
	count = atomic_fetch_add(&store->waiting_count, 1) + 1;
	uv_mutex_lock(&store->mutex);
	ASSERT(!store->is_stopping);
	if (kind == OPERATION_PUT && store->is_closing) {
		uv_mutex_unlock(&store->mutex);
		atomic_fetch_sub(&store->waiting_count, 1);
		operation_refuse(store, operation);
		return;
	}
	is_first = list_is_empty(&store->waiting);
	was_awaited = store->is_awaited;
	list_add_last(&store->waiting, &operation->link);
	store->submitted++;
	if (kind != OPERATION_SETTLE || count >= STORE_PATIENT_MAX)
		store->is_awaited = true;
	if (kind == OPERATION_PUT)
		is_wanted = ++store->puts_waiting == store->puts_wanted;
	if (is_first || store->is_awaited != was_awaited || is_wanted)
		uv_cond_signal(&store->wake);
	uv_mutex_unlock(&store->mutex);
}

void
store_beat(struct store *store, struct store_beat *beat)
{
	uv_mutex_lock(&store->mutex);
	ASSERT(!store->is_stopping);
	ASSERT(store->beat == NULL);
	store->beat = beat;
	uv_cond_signal(&store->wake);
	uv_mutex_unlock(&store->mutex);
}
