#include "relay/queue/store_private.h"

#include <stdlib.h>

#include "base/log.h"
#include "relay/queue/record.h"
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

/* --- in the writer's transaction --- */

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

bool
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

void
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

size_t
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

void
operation_refuse(struct store *store, struct store_operation *operation)
{
	fault_set(&operation->fault, FAULT_BUSY, "the relay is stopping");
	operation_finish(store, operation);
}

/* --- from the callers --- */

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

struct spool_room *
store_spool_room(struct store *store)
{
	return store->room;
}
