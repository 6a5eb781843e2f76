#include "relay/queue/store_private.h"

static struct store_alter *
alter_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_alter, operation);
}

bool
alter_apply(struct engine *engine, struct store_operation *operation)
{
	struct store_alter *alter = alter_of(operation);

	operation->has_dead_file = false;
	alter->version = engine_version(engine);
	for (size_t i = 0; i < alter->count; i++) {
		if (!engine_alter(engine, alter->alteration, alter->now_ms,
				  &alter->rows[i], &operation->fault))
			return false;
		operation->has_dead_file |= alter->rows[i].has_dead_file;
	}
	return true;
}

size_t
alter_weight(const struct store_operation *operation)
{
	const struct store_alter *alter =
		CONTAINER(operation, struct store_alter, operation);

	return alter->count * KIB;
}

/* --- telling the caller --- */

static void
alter_tell(struct post *post)
{
	struct store_operation *operation =
		CONTAINER(post, struct store_operation, post);
	struct store_alter *alter = alter_of(operation);
	struct fault fault = operation->fault;

	alter->done(alter, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
dead_files_remove(struct job *job)
{
	struct store_operation *operation =
		CONTAINER(job, struct store_operation, job);
	struct store_alter *alter = alter_of(operation);

	for (size_t i = 0; i < alter->count; i++)
		if (alter->rows[i].has_dead_file)
			spool_remove(operation->store->room,
				     &alter->rows[i].id);
}

static void
dead_files_removed(struct job *job)
{
	alter_tell(&CONTAINER(job, struct store_operation, job)->post);
}

void
alter_finish(struct store *store, struct store_operation *operation)
{
	struct loop *loop = alter_of(operation)->loop;

	if (operation->fault.kind == FAULT_NONE && operation->has_dead_file) {
		operation->job = (struct job){.run = dead_files_remove,
					      .done = dead_files_removed,
					      .loop = loop};
		if (worker_submit(spool_room_worker(store->room),
				  &operation->job))
			return;
		dead_files_remove(&operation->job);
	}
	loop_post(loop, &operation->post, alter_tell);
}

void
store_alter(struct store *store, struct store_alter *alter)
{
	ASSERT(alter->done != NULL);
	ASSERT(alter->count > 0 && alter->count <= STORE_ALTER_MAX);
	store_submit(store, &alter->operation, OPERATION_ALTER);
}
