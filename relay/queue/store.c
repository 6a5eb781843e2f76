#include "relay/queue/store_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/record.h"
#include "relay/queue/store_suspect.h"
#include "relay/routing.h"

/* What a reader found damaged; frees itself. */
struct set_aside {
	struct store_operation operation;
	struct arena arena;
	struct slice destination, reason;
	struct message_id id;
	uint64_t due_ms;
};

static struct store_put *
put_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_put, operation);
}

static struct store_settle *
settle_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_settle, operation);
}

static struct store_move *
move_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_move, operation);
}

static struct store_operation *
operation_of(struct list *item)
{
	return CONTAINER(item, struct store_operation, link);
}

/* --- one group, one transaction --- */

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

static bool
settle_apply(struct engine *engine, struct store_settle *settle)
{
	struct fault *fault = &settle->operation.fault;
	bool is_gone;

	/* First, or the message goes with its last delivery. */
	if ((settle->besides != NULL &&
	     !engine_add(engine, settle->besides, fault)) ||
	    !engine_settle(engine, settle->delivery, settle->due_ms, &is_gone,
			   fault))
		return false;
	settle->operation.has_dead_file =
		is_gone && settle->delivery->message->body.is_file;
	for (size_t i = 0; i < settle->reports_count; i++)
		if (!engine_put(engine, settle->reports[i].message,
				&settle->reports[i].deliveries, fault))
			return false;
	return true;
}

/* A group that failed is tried again one by one: what was read for it goes. */
static bool
move_apply(struct engine *engine, struct store_move *move)
{
	CLEAN(delivery_free_clean) struct delivery *moved = NULL;

	deliveries_free(&move->deliveries);
	if (!engine_move(engine, move->delivery, move->destination, &moved,
			 &move->operation.fault))
		/* Alone in this: the others of its group are as they were. */
		return move->operation.fault.kind == FAULT_ABSENT ||
		       move->operation.fault.kind == FAULT_BUSY;
	if (!moved->is_held)
		list_add_last(&move->deliveries, &TAKE(moved)->link);
	return true;
}

static bool
operation_apply(struct engine *engine, struct store_operation *operation)
{
	struct store_put *put;
	struct set_aside *aside;

	switch ((enum operation_kind)operation->kind) {
	case OPERATION_PUT:
		put = put_of(operation);
		return engine_put(engine, put->message, &put->deliveries,
				  &operation->fault);
	case OPERATION_SETTLE:
		return settle_apply(engine, settle_of(operation));
	case OPERATION_MOVE:
		return move_apply(engine, move_of(operation));
	case OPERATION_SET_ASIDE:
		aside = CONTAINER(operation, struct set_aside, operation);
		return engine_set_aside(engine, aside->destination,
					aside->due_ms, &aside->id,
					aside->reason, &operation->fault);
	case OPERATION_ALTER:
		return alter_apply(engine, operation);
	}
	return false;
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

/* What is damaged is mended at the next start. */
void
store_die_of(const struct fault *fault)
{
	if (engine_is_damaged(fault))
		suspect_mark(fault->text);
	store_die(fault);
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

/* --- telling the callers --- */

static void
put_tell(struct post *post)
{
	struct store_operation *operation =
		CONTAINER(post, struct store_operation, post);
	struct store_put *put = put_of(operation);
	struct message *message = put->message;
	struct fault fault = operation->fault;

	if (fault.kind != FAULT_NONE)
		deliveries_free(&put->deliveries);
	/* The put may be gone after this. */
	put->done(put, fault.kind != FAULT_NONE ? &fault : NULL);
	message_unref(message);
}

static void
settle_tell(struct post *post)
{
	struct store_operation *operation =
		CONTAINER(post, struct store_operation, post);
	struct store_settle *settle = settle_of(operation);
	struct fault fault = operation->fault;

	for (size_t i = 0;
	     fault.kind != FAULT_NONE && i < settle->reports_count; i++)
		deliveries_free(&settle->reports[i].deliveries);
	settle->done(settle, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
move_tell(struct post *post)
{
	struct store_operation *operation =
		CONTAINER(post, struct store_operation, post);
	struct store_move *move = move_of(operation);
	struct fault fault = operation->fault;

	if (fault.kind != FAULT_NONE)
		deliveries_free(&move->deliveries);
	move->done(move, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
dead_file_remove(struct job *job)
{
	struct store_operation *operation =
		CONTAINER(job, struct store_operation, job);

	spool_remove(operation->store->room,
		     &settle_of(operation)->delivery->message->id);
}

static void
dead_file_removed(struct job *job)
{
	struct store_operation *operation =
		CONTAINER(job, struct store_operation, job);

	settle_tell(&operation->post);
}

/* The file goes only now that no record names it any more. */
static void
settle_finish(struct store *store, struct store_settle *settle)
{
	struct store_operation *operation = &settle->operation;

	atomic_fetch_add(&store->settles, 1);
	if (operation->has_dead_file) {
		operation->job = (struct job){.run = dead_file_remove,
					      .done = dead_file_removed,
					      .loop = settle->loop};
		if (worker_submit(spool_room_worker(store->room),
				  &operation->job))
			return;
		spool_remove(store->room, &settle->delivery->message->id);
	}
	loop_post(settle->loop, &operation->post, settle_tell);
}

static void
put_finish(struct store *store, struct store_put *put)
{
	quota_leave(&store->quota, message_size(put->message));
	if (put->operation.fault.kind == FAULT_NONE) {
		atomic_fetch_add(&store->puts, 1);
		spool_file_keep(put->message);
	} else {
		atomic_fetch_add(&store->refused, 1);
	}
	loop_post(put->loop, &put->operation.post, put_tell);
}

static void
set_aside_free(struct set_aside *aside)
{
	arena_done(&aside->arena);
	free(aside);
}

static void
operation_finish(struct store *store, struct store_operation *operation)
{
	switch ((enum operation_kind)operation->kind) {
	case OPERATION_PUT:
		put_finish(store, put_of(operation));
		return;
	case OPERATION_SETTLE:
		if (operation->fault.kind == FAULT_NONE)
			settle_finish(store, settle_of(operation));
		else
			loop_post(settle_of(operation)->loop,
				  &operation->post, settle_tell);
		return;
	case OPERATION_MOVE:
		loop_post(move_of(operation)->loop, &operation->post,
			  move_tell);
		return;
	case OPERATION_SET_ASIDE:
		set_aside_free(
			CONTAINER(operation, struct set_aside, operation));
		return;
	case OPERATION_ALTER:
		alter_finish(store, operation);
		return;
	}
}

/* --- the store thread --- */

/* About what it writes: records, and a share of the pages that hold them. */
static size_t
message_weight(const struct message *message)
{
	return message->prefix.len + message->recipients_count * KIB +
	       (message->body.is_file ? 0 : (size_t)message->body.size);
}

static size_t
settle_weight(const struct store_settle *settle)
{
	size_t weight = settle->delivery->recipients_count * KIB;

	for (size_t i = 0; i < settle->reports_count; i++)
		weight += message_weight(settle->reports[i].message);
	return weight;
}

static size_t
operation_weight(struct store_operation *operation)
{
	switch ((enum operation_kind)operation->kind) {
	case OPERATION_PUT:
		return message_weight(put_of(operation)->message);
	case OPERATION_SETTLE:
		return settle_weight(settle_of(operation));
	case OPERATION_MOVE:
		return move_of(operation)->delivery->recipients_count * KIB;
	case OPERATION_SET_ASIDE:
		return KIB;
	case OPERATION_ALTER:
		return alter_weight(operation);
	}
	return KIB;
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

static void
put_too_late(struct store *store, struct store_put *put)
{
	atomic_fetch_sub(&store->waiting_count, 1);
	fault_set(&put->operation.fault, FAULT_BUSY, "the relay is stopping");
	put_finish(store, put);
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
		put_too_late(store, put_of(operation));
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

/* --- operations --- */

void
store_put(struct store *store, struct store_put *put)
{
	struct message *message = put->message;
	uint64_t size = message_size(message);
	struct fault *fault = &put->operation.fault;

	ASSERT(put->done != NULL);
	ASSERT(message->body.is_file || message->body.size == 0 ||
	       message->body.chunks != NULL);
	message_ref(message);
	list_init(&put->deliveries);
	list_init(&put->operation.link);
	*fault = (struct fault){0};
	if (!record_message_check(message, fault) ||
	    (store_lacks(store, size) != STORE_LACKS_NOTHING &&
	     !fault_set(fault, FAULT_LIMIT, "no room in the queue"))) {
		atomic_fetch_add(&store->refused, 1);
		loop_post(put->loop, &put->operation.post, put_tell);
		return;
	}
	deliveries_of(message, put->loop, &put->deliveries);
	space_take(&store->space, size);
	quota_enter(&store->quota, size);
	store_submit(store, &put->operation, OPERATION_PUT);
}

void
store_expect(struct store *store)
{
	atomic_fetch_add(&store->expected, 1);
}

void
store_expect_no_more(struct store *store)
{
	ASSERT(atomic_fetch_sub(&store->expected, 1) > 0);
}

void
store_settle(struct store *store, struct store_settle *settle)
{
	ASSERT(settle->done != NULL);
	ASSERT(settle->reports_count <= STORE_REPORTS_MAX);
	for (size_t i = 0; i < settle->reports_count; i++) {
		list_init(&settle->reports[i].deliveries);
		deliveries_of(settle->reports[i].message, settle->loop,
			      &settle->reports[i].deliveries);
	}
	if (settle->reports_count > 0 &&
	    !engine_has_room_for_reports(store->engine)) {
		fault_set(&settle->operation.fault, FAULT_LIMIT,
			  "no room for a report");
		loop_post(settle->loop, &settle->operation.post, settle_tell);
		return;
	}
	store_submit(store, &settle->operation, OPERATION_SETTLE);
}

void
store_move(struct store *store, struct store_move *move)
{
	ASSERT(move->done != NULL);
	list_init(&move->deliveries);
	store_submit(store, &move->operation, OPERATION_MOVE);
}

void
store_set_aside(struct store *store, struct slice destination, uint64_t due_ms,
		const struct message_id *id, const struct fault *fault)
{
	struct set_aside *aside = memory_new(sizeof(*aside));
	char text[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(id, text);
	log_begin(&line, LOG_LEVEL_ERROR, "damaged");
	log_string(&line, "id", text);
	log_text(&line, "domain", routing_domain(destination));
	log_fault(&line, fault);
	log_send(&line);
	atomic_fetch_add(&store->damaged, 1);

	aside->destination = arena_copy(&aside->arena, destination);
	aside->reason = arena_copy(&aside->arena, SLICE(fault->text));
	aside->id = *id;
	aside->due_ms = due_ms;
	store_submit(store, &aside->operation, OPERATION_SET_ASIDE);
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

struct spool_room *
store_spool_room(struct store *store)
{
	return store->room;
}
