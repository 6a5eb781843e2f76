#include "relay/queue/store_private.h"

#include "base/log.h"
#include "relay/queue/record.h"
#include "relay/queue/store_suspect.h"

/* Reads run on threads of their own: a page fault on cold data must not stop a
 * loop. */

static struct store_read_due *
read_due_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_read_due, operation);
}

static struct store_read_page *
read_page_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_read_page, operation);
}

static struct store_read_depths *
read_depths_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_read_depths, operation);
}

static struct store_read_body *
read_body_of(struct store_operation *operation)
{
	return CONTAINER(operation, struct store_read_body, operation);
}

static struct store_operation *
operation_of_job(struct job *job)
{
	return CONTAINER(job, struct store_operation, job);
}

/* The answer always comes from the loop, also where no thread took the job. */
static void
read_start(struct store *store, struct store_operation *operation,
	   struct loop *loop, void (*run)(struct job *job),
	   void (*done)(struct job *job), post_fn *refused)
{
	operation->store = store;
	operation->fault = (struct fault){0};
	operation->job = (struct job){.run = run, .done = done, .loop = loop};
	if (worker_submit(store->readers, &operation->job))
		return;
	fault_set(&operation->fault, FAULT_BUSY,
		  "too many reads of the store are waiting");
	loop_post(loop, &operation->post, refused);
}

/* Reads on a thread of the worker; a damaged structure ends the process. */
static void
read_begin(void)
{
	suspect_enter();
}

static void
read_end(const struct store_operation *operation)
{
	suspect_leave();
	if (engine_is_damaged(&operation->fault))
		store_die_of(&operation->fault);
}

static void
move_all(struct list *from, struct list *to)
{
	struct list *item;

	while ((item = list_take_first(from)) != NULL)
		list_add_last(to, item);
}

/* --- what is due --- */

static void
read_due_damaged(void *owner, struct slice destination, uint64_t due_ms,
		 const struct message_id *id, const struct fault *fault)
{
	store_set_aside(owner, destination, due_ms, id, fault);
}

static void
read_due_run(struct job *job)
{
	struct store_operation *operation = operation_of_job(job);
	struct store_read_due *read = read_due_of(operation);
	struct store *store = operation->store;
	struct engine_due due = {.destination = read->destination,
				 .until_ms = read->until_ms,
				 .after_ms = read->after.due_ms,
				 .after_id = read->after.id,
				 .max = read->max};
	bool is_read;

	list_init(&due.deliveries);
	read_begin();
	is_read = engine_read_due(store->engine, &due, read_due_damaged, store,
				  &operation->fault);
	read_end(operation);
	if (!is_read) {
		ASSERT(operation->fault.kind != FAULT_NONE);
		deliveries_free(&due.deliveries);
		return;
	}
	move_all(&due.deliveries, &read->deliveries);
	read->after.due_ms = due.after_ms;
	read->after.id = due.after_id;
	read->has_more = due.has_more;
	read->next_due_ms = due.next_due_ms;
	read->version = due.version;
}

static void
read_due_tell(struct store_operation *operation)
{
	struct store_read_due *read = read_due_of(operation);
	struct fault fault = operation->fault;

	read->done(read, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
read_due_done(struct job *job)
{
	read_due_tell(operation_of_job(job));
}

static void
read_due_refused(struct post *post)
{
	read_due_tell(CONTAINER(post, struct store_operation, post));
}

void
store_read_due(struct store *store, struct store_read_due *read)
{
	ASSERT(read->max > 0);
	ASSERT(read->destination.len > 0);
	list_init(&read->deliveries);
	read->has_more = false;
	read->next_due_ms = 0;
	read->version = 0;
	read_start(store, &read->operation, read->loop, read_due_run,
		   read_due_done, read_due_refused);
}

/* --- pages --- */

static void
read_page_damaged(void *owner, struct slice destination, uint64_t due_ms,
		  const struct message_id *id, const struct fault *fault)
{
	struct store_read_page *read = owner;
	struct store_damage *damage = memory_new(sizeof(*damage));

	(void)due_ms;
	damage->id = *id;
	damage->fault = *fault;
	damage->destination_len = destination.len;
	memcpy(damage->destination, destination.bytes, destination.len);
	list_add_last(&read->damages, &damage->link);
}

static bool
read_page(struct engine *engine, struct store_read_page *read,
	  struct fault *fault)
{
	struct engine_page page = {.selection = read->selection,
				   .after = read->after,
				   .until = read->until,
				   .max = read->max};
	bool is_read = engine_read_page(engine, &page, read_page_damaged, read,
					fault);

	move_all(&page.deliveries, &read->deliveries);
	if (!is_read)
		return false;
	read->after = page.after;
	read->until = page.until;
	read->has_more = page.has_more;
	return true;
}

static void
read_page_run(struct job *job)
{
	struct store_operation *operation = operation_of_job(job);
	struct store_read_page *read = read_page_of(operation);
	struct engine *engine = operation->store->engine;
	bool is_read;

	read_begin();
	is_read = read->is_one ? engine_read_message(engine, &read->after,
						     &read->deliveries,
						     read_page_damaged, read,
						     &operation->fault)
			       : read_page(engine, read, &operation->fault);
	ASSERT(is_read || operation->fault.kind != FAULT_NONE);
	if (is_read && read->prepare != NULL)
		read->prepare(read);
	read_end(operation);
}

static void
read_page_tell(struct store_operation *operation)
{
	struct store_read_page *read = read_page_of(operation);
	struct fault fault = operation->fault;

	read->done(read, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
read_page_done(struct job *job)
{
	read_page_tell(operation_of_job(job));
}

static void
read_page_refused(struct post *post)
{
	read_page_tell(CONTAINER(post, struct store_operation, post));
}

void
store_read_page(struct store *store, struct store_read_page *read)
{
	ASSERT(read->max > 0 || read->is_one);
	list_init(&read->deliveries);
	list_init(&read->damages);
	read->has_more = false;
	read_start(store, &read->operation, read->loop, read_page_run,
		   read_page_done, read_page_refused);
}

/* --- depths --- */

static void
read_depths_run(struct job *job)
{
	struct store_operation *operation = operation_of_job(job);
	struct store_read_depths *read = read_depths_of(operation);

	read_begin();
	for (size_t i = 0; i < read->count; i++)
		if (!engine_count_depth(operation->store->engine,
					&read->depths[i], read->max,
					&operation->fault))
			break;
	read_end(operation);
}

static void
read_depths_tell(struct store_operation *operation)
{
	struct store_read_depths *read = read_depths_of(operation);
	struct fault fault = operation->fault;

	read->done(read, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
read_depths_done(struct job *job)
{
	read_depths_tell(operation_of_job(job));
}

static void
read_depths_refused(struct post *post)
{
	read_depths_tell(CONTAINER(post, struct store_operation, post));
}

void
store_read_depths(struct store *store, struct store_read_depths *read)
{
	read_start(store, &read->operation, read->loop, read_depths_run,
		   read_depths_done, read_depths_refused);
}

/* --- bodies --- */

static void
read_body_memory(struct store_read_body *read)
{
	const struct body *body = &read->message->body;
	struct slice chunk = body->chunks[(size_t)(read->offset / BODY_CHUNK)];

	text_add(&read->bytes, slice_sub(chunk,
					 (size_t)(read->offset % BODY_CHUNK),
					 read->max));
}

static bool
read_body_stored(struct store *store, struct store_read_body *read,
		 struct fault *fault)
{
	struct store_operation *operation = &read->operation;
	bool is_read;

	read_begin();
	is_read = engine_read_chunk(store->engine, &read->message->id,
				    (uint32_t)(read->offset / BODY_CHUNK) + 1,
				    (size_t)(read->offset % BODY_CHUNK),
				    read->max,
				    &read->bytes, fault);
	read_end(operation);
	return is_read;
}

static void
read_body_damaged(struct store *store, const struct message *message,
		  const struct fault *fault)
{
	char id[MESSAGE_ID_TEXT + 1];
	struct log line;

	message_id_write(&message->id, id);
	log_begin(&line, LOG_LEVEL_ERROR, "damaged");
	log_string(&line, "id", id);
	log_fault(&line, fault);
	log_send(&line);
	atomic_fetch_add(&store->damaged, 1);
}

static bool
read_body(struct store *store, struct store_read_body *read,
	  struct fault *fault)
{
	const struct message *message = read->message;
	size_t before = read->bytes.len;
	bool is_read = true;

	if (message->body.is_file)
		is_read = spool_read(store->room, message, read->offset,
				     read->max, &read->bytes, fault);
	else if (message->body.chunks != NULL)
		read_body_memory(read);
	else
		is_read = read_body_stored(store, read, fault);
	if (is_read && read->bytes.len == before)
		return fault_set(fault, FAULT_INPUT,
				 "the body is shorter than its record says");
	return is_read;
}

static bool
is_damage(const struct fault *fault)
{
	return fault->kind == FAULT_INPUT || fault->kind == FAULT_ABSENT;
}

/* Whoever asked may not have waited for this: a host has said what it has to say
 * before it had the body, and that has been settled. */
static bool
message_is_gone(struct store_operation *operation, const struct message *message)
{
	bool is_stored;

	read_begin();
	if (!engine_has_message(operation->store->engine, &message->id,
				&is_stored, NULL))
		is_stored = true;
	read_end(operation);
	return !is_stored;
}

/* A message is given up for what is found here: so it is looked at twice, the
 * second time as it is on the disk, where the system lets go of its copy. */
static void
read_body_run(struct job *job)
{
	struct store_operation *operation = operation_of_job(job);
	struct store_read_body *read = read_body_of(operation);
	struct store *store = operation->store;
	struct fault *fault = &operation->fault;

	if (read->offset >= read->message->body.size ||
	    read_body(store, read, fault))
		return;
	if (is_damage(fault)) {
		if (read->message->body.is_file)
			spool_forget(store->room, read->message);
		*fault = (struct fault){0};
		if (read_body(store, read, fault) || !is_damage(fault))
			return;
		if (message_is_gone(operation, read->message))
			fault_set(fault, FAULT_ABSENT, "the message is gone");
		else
			read_body_damaged(store, read->message, fault);
	}
}

static void
read_body_tell(struct store_operation *operation)
{
	struct store_read_body *read = read_body_of(operation);
	struct fault fault = operation->fault;

	read->done(read, fault.kind != FAULT_NONE ? &fault : NULL);
}

static void
read_body_done(struct job *job)
{
	read_body_tell(operation_of_job(job));
}

static void
read_body_refused(struct post *post)
{
	read_body_tell(CONTAINER(post, struct store_operation, post));
}

void
store_read_body(struct store *store, struct store_read_body *read)
{
	ASSERT(read->max > 0);
	read_start(store, &read->operation, read->loop, read_body_run,
		   read_body_done, read_body_refused);
}

bool
store_read_body_now(struct store *store, const struct message *message,
		    uint64_t offset, size_t max, struct text *out)
{
	return message->body.is_file &&
	       spool_read_now(store->room, message, offset, max, out);
}

bool
store_each_destination(struct store *store,
		       void (*each)(void *owner, struct slice destination,
				    uint64_t due_ms),
		       void *owner, struct fault *fault)
{
	bool is_done;

	suspect_enter();
	is_done = engine_each_destination(store->engine, each, owner, fault);
	suspect_leave();
	/* The process ends, and the next one mends it. */
	if (!is_done && engine_is_damaged(fault)) {
		suspect_mark(fault->text);
		fault->kind = FAULT_SYSTEM;
	}
	return is_done;
}
