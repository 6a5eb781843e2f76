#include "relay/queue/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/queue/record.h"
#include "relay/queue/space.h"
#include "relay/queue/spool_private.h"
#include "relay/queue/store_private.h"

/* A small message does not cost a whole chunk. */
#define CHUNK_FIRST 2048

struct chunk {
	char *bytes;
	size_t len, size;
};

/* Chunks in order, all full but perhaps the last. */
struct batch {
	struct chunk *chunks;
	size_t count, room;
};

/*
 * MEMORY until there is too much, of this message or of all; then FILE: while
 * one batch is being written the next one fills. FINISHING once the last byte
 * is here. FAILED waits for spool_cancel(); CANCELLED for a job under way.
 */
enum spool_state {
	SPOOL_MEMORY,
	SPOOL_FILE,
	SPOOL_FINISHING,
	SPOOL_BROKEN,
	SPOOL_CANCELLED,
};

struct spool {
	struct spool_room *room;
	struct loop *loop;
	struct message *message;
	spool_fn *event;
	void *owner;
	enum spool_state state;
	struct batch filling;
	uint64_t size;
	bool is_waiting; /* the writer was told to stop */
	bool is_posted;
	struct post post;
	struct fault fault;
	/* of the file; the job's while is_writing */
	bool is_writing, is_last;
	struct job job;
	struct batch writing;
	int descriptor;
	bool has_file;
	uint64_t written_chunks;
	struct fault job_fault;
};

/* --- chunks --- */

static void
batch_done(struct spool_room *room, struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		spool_room_give(room, batch->chunks[i].size);
		free(batch->chunks[i].bytes);
	}
	free(batch->chunks);
	*batch = (struct batch){0};
}

static struct chunk *
batch_last(struct batch *batch)
{
	if (batch->count == 0 ||
	    batch->chunks[batch->count - 1].len == BODY_CHUNK) {
		if (batch->count == batch->room) {
			batch->room = batch->room == 0 ? 1 : batch->room * 2;
			batch->chunks =
				memory_grow(batch->chunks,
					    batch->room *
						    sizeof(*batch->chunks));
		}
		batch->chunks[batch->count++] = (struct chunk){0};
	}
	return &batch->chunks[batch->count - 1];
}

/* False: the memory of all messages together is used up. */
static bool
chunk_make_room(struct spool_room *room, struct chunk *chunk, size_t len)
{
	size_t size = chunk->size == 0 ? CHUNK_FIRST : chunk->size;
	bool has_room;

	while (size < chunk->len + len)
		size *= 2;
	if (size > BODY_CHUNK)
		size = BODY_CHUNK;
	if (size == chunk->size)
		return true;
	has_room = spool_room_take(room, size - chunk->size);
	chunk->bytes = memory_grow(chunk->bytes, size);
	chunk->size = size;
	return has_room;
}

static bool
batch_add(struct spool_room *room, struct batch *batch, struct slice bytes)
{
	bool has_room = true;

	while (bytes.len > 0) {
		struct chunk *chunk = batch_last(batch);
		size_t len = BODY_CHUNK - chunk->len;

		if (len > bytes.len)
			len = bytes.len;
		if (!chunk_make_room(room, chunk, len))
			has_room = false;
		memcpy(chunk->bytes + chunk->len, bytes.bytes, len);
		chunk->len += len;
		bytes = slice_from(bytes, len);
	}
	return has_room;
}

static size_t
batch_full_chunks(const struct batch *batch)
{
	if (batch->count > 0 &&
	    batch->chunks[batch->count - 1].len < BODY_CHUNK)
		return batch->count - 1;
	return batch->count;
}

/* --- on a thread of the worker --- */

#define WRITE_CHUNKS ((int)(SPOOL_BATCH_LARGE / BODY_CHUNK)) /* at a time */

static bool
write_full(int descriptor, struct iovec *parts, int count, off_t offset,
	   struct fault *fault)
{
	while (count > 0) {
		ssize_t put = pwritev(descriptor, parts, count, offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return fault_errno(fault, "spool file");
		offset += put;
		spool_parts_skip(&parts, &count, (size_t)put);
	}
	return true;
}

static bool
spool_write_batch(struct spool *spool, struct fault *fault)
{
	struct iovec parts[2 * WRITE_CHUNKS];
	uint8_t sums[WRITE_CHUNKS][RECORD_SUM_SIZE];
	size_t done = 0;

	while (done < spool->writing.count) {
		off_t offset = (off_t)(spool->written_chunks *
				       RECORD_CHUNK_MAX);
		int count = 0;

		for (; count < WRITE_CHUNKS && done < spool->writing.count;
		     count++, done++) {
			struct chunk *chunk = &spool->writing.chunks[done];

			spool->written_chunks++;
			record_chunk_sum(&spool->message->id,
					 (uint32_t)spool->written_chunks,
					 slice_of(chunk->bytes, chunk->len),
					 sums[count]);
			parts[2 * count] = (struct iovec){sums[count],
							  RECORD_SUM_SIZE};
			parts[2 * count + 1] =
				(struct iovec){chunk->bytes, chunk->len};
		}
		if (!write_full(spool->descriptor, parts, 2 * count, offset,
				fault))
			return false;
	}
	return true;
}

static bool
spool_open_file(struct spool *spool, struct fault *fault)
{
	char name[MESSAGE_ID_TEXT + 1];

	message_id_write(&spool->message->id, name);
	spool->descriptor =
		openat(spool->room->directory, name,
		       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (spool->descriptor < 0)
		return fault_errno(fault, "spool/%s", name);
	spool->has_file = true;
	return true;
}

/* The file first, then the name. A sync that fails is never tried again: the
 * kernel tells it once, and the directory is everybody's, so the next one would
 * be told that all is well. A full disk may be seen as late as here; then only
 * this file is lost, and refused. */
static bool
spool_sync(struct spool *spool, struct fault *fault)
{
	if (fdatasync(spool->descriptor) == 0) {
		if (fsync(spool->room->directory) == 0)
			return true;
		fault_errno(fault, "spool: sync");
	} else {
		fault_errno(fault, "spool file: sync");
		if (space_is_lack(fault->system))
			return false;
	}
	store_die(fault);
}

static void
spool_job_run(struct job *job)
{
	struct spool *spool = CONTAINER(job, struct spool, job);
	struct fault *fault = &spool->job_fault;
	bool is_done = spool->has_file || spool_open_file(spool, fault);

	is_done = is_done && spool_write_batch(spool, fault) &&
		  (!spool->is_last || spool_sync(spool, fault));
	if (!is_done && space_is_lack(fault->system))
		fault->kind = FAULT_LIMIT;
	if ((!is_done || spool->is_last) && spool->descriptor >= 0) {
		close(spool->descriptor);
		spool->descriptor = -1;
	}
}

static void
spool_remove_run(struct job *job)
{
	struct spool *spool = CONTAINER(job, struct spool, job);

	if (spool->descriptor >= 0)
		close(spool->descriptor);
	spool->descriptor = -1;
	spool_remove(spool->room, &spool->message->id);
}

/* --- ending --- */

static void
spool_free(struct spool *spool)
{
	ASSERT(!spool->is_writing);
	ASSERT(!spool->is_posted);
	batch_done(spool->room, &spool->filling);
	batch_done(spool->room, &spool->writing);
	message_unref(spool->message);
	free(spool);
}

static void
spool_removed(struct job *job)
{
	struct spool *spool = CONTAINER(job, struct spool, job);

	spool->is_writing = false;
	spool_free(spool);
}

/* Cancelled, and nothing is under way. */
static void
spool_end(struct spool *spool)
{
	if (!spool->has_file) {
		spool_free(spool);
		return;
	}
	spool->has_file = false;
	spool->is_writing = true;
	spool->job = (struct job){.run = spool_remove_run,
				  .done = spool_removed,
				  .loop = spool->loop};
	if (worker_submit(spool->room->worker, &spool->job))
		return;
	spool_remove_run(&spool->job);
	spool_removed(&spool->job);
}

/* What the message keeps in memory; counted until it is freed. */
struct spool_chunks {
	struct spool_room *room;
	struct batch batch;
};

static void
spool_chunks_release(void *argument)
{
	struct spool_chunks *chunks = argument;

	batch_done(chunks->room, &chunks->batch);
}

static void
spool_hand_over(struct spool *spool)
{
	struct message *message = spool->message;
	struct body *body = &message->body;
	struct spool_chunks *chunks;

	body->size = spool->size;
	body->is_file = spool->has_file;
	if (spool->has_file) {
		spool->has_file = false;
		spool_file_own(spool->room, message);
		return;
	}
	chunks = arena_new(&message->arena, sizeof(*chunks));
	chunks->room = spool->room;
	chunks->batch = spool->filling;
	spool->filling = (struct batch){0};
	arena_at_end(&message->arena, spool_chunks_release, chunks);
	body->chunks_count = chunks->batch.count;
	body->chunks = arena_array(&message->arena, chunks->batch.count,
				   sizeof(*body->chunks));
	for (size_t i = 0; i < body->chunks_count; i++)
		body->chunks[i] = slice_of(chunks->batch.chunks[i].bytes,
					   chunks->batch.chunks[i].len);
}

static void
spool_report_done(struct spool *spool)
{
	spool_fn *event = spool->event;
	void *owner = spool->owner;

	spool_hand_over(spool);
	spool_free(spool);
	event(owner, SPOOL_DONE);
}

static void
spool_on_post(struct post *post)
{
	struct spool *spool = CONTAINER(post, struct spool, post);

	spool->is_posted = false;
	if (spool->state == SPOOL_CANCELLED) {
		if (!spool->is_writing)
			spool_end(spool);
	} else if (spool->state == SPOOL_BROKEN) {
		spool->event(spool->owner, SPOOL_FAILED);
	} else {
		ASSERT(spool->state == SPOOL_FINISHING);
		spool_report_done(spool);
	}
}

static void
spool_post(struct spool *spool)
{
	ASSERT(!spool->is_posted);
	spool->is_posted = true;
	loop_post(spool->loop, &spool->post, spool_on_post);
}

/* --- writing to the file --- */

static void spool_job_done(struct job *job);

/* Moves what is full (at the end: all) from filling to writing. */
static void
spool_move_batch(struct spool *spool)
{
	size_t full = spool->is_last ? spool->filling.count
				     : batch_full_chunks(&spool->filling);
	struct chunk rest = {0};

	ASSERT(spool->writing.count == 0);
	if (full < spool->filling.count)
		rest = spool->filling.chunks[full];
	spool->writing = spool->filling;
	spool->writing.count = full;
	spool->filling = (struct batch){0};
	if (rest.bytes != NULL)
		*batch_last(&spool->filling) = rest;
}

static void
spool_submit(struct spool *spool)
{
	uint64_t bytes;

	ASSERT(!spool->is_writing);
	spool->is_last = spool->state == SPOOL_FINISHING;
	spool_move_batch(spool);
	bytes = spool->writing.count * RECORD_CHUNK_MAX;
	spool->job = (struct job){.run = spool_job_run,
				  .done = spool_job_done,
				  .loop = spool->loop};
	if (!space_has(spool->room->space, bytes)) {
		fault_set(&spool->fault, FAULT_LIMIT,
			  "no room for the message in the spool");
	} else if (!worker_submit(spool->room->worker, &spool->job)) {
		fault_set(&spool->fault, FAULT_LIMIT,
			  "too many messages wait for the spool");
	} else {
		space_take(spool->room->space, bytes);
		spool->is_writing = true;
		return;
	}
	spool->state = SPOOL_BROKEN;
	spool_post(spool);
}

static void
spool_job_done(struct job *job)
{
	struct spool *spool = CONTAINER(job, struct spool, job);

	spool->is_writing = false;
	batch_done(spool->room, &spool->writing);
	if (spool->state == SPOOL_CANCELLED) {
		if (!spool->is_posted)
			spool_end(spool);
		return;
	}
	if (spool->job_fault.kind != FAULT_NONE) {
		spool->fault = spool->job_fault;
		spool->state = SPOOL_BROKEN;
		spool->event(spool->owner, SPOOL_FAILED);
		return;
	}
	if (spool->state == SPOOL_FINISHING) {
		if (spool->is_last)
			spool_report_done(spool);
		else
			spool_submit(spool);
		return;
	}
	if (spool->is_waiting) {
		spool->is_waiting = false;
		spool->event(spool->owner, SPOOL_DRAINED);
	}
}

/* --- the caller's side --- */

struct spool *
spool_new(struct store *store, struct loop *loop, struct message *message,
	  spool_fn *event, void *owner)
{
	struct spool *spool = memory_new(sizeof(*spool));

	ASSERT(event != NULL);
	spool->room = store_spool_room(store);
	spool->loop = loop;
	spool->message = message_ref(message);
	spool->event = event;
	spool->owner = owner;
	spool->descriptor = -1;
	return spool;
}

/* Each batch costs two switches of threads; so they are large while there is
 * memory for them. */
static size_t
batch_chunks(const struct spool_room *room)
{
	uint64_t used = atomic_load(&room->memory) * SPOOL_LARGE_SHARE;

	return (used < atomic_load(&room->memory_max) ? SPOOL_BATCH_LARGE
						      : SPOOL_BATCH_SMALL) /
	       BODY_CHUNK;
}

bool
spool_write(struct spool *spool, struct slice bytes)
{
	bool has_room;
	size_t full, most;

	ASSERT(spool->state != SPOOL_FINISHING);
	ASSERT(spool->state != SPOOL_CANCELLED);
	if (spool->state == SPOOL_BROKEN)
		return false; /* SPOOL_FAILED is on its way */
	has_room = batch_add(spool->room, &spool->filling, bytes);
	spool->size += bytes.len;
	if (spool->state == SPOOL_MEMORY) {
		if (has_room && spool->size <= BODY_INLINE_MAX)
			return true;
		spool->state = SPOOL_FILE;
	}
	full = batch_full_chunks(&spool->filling);
	most = batch_chunks(spool->room);
	if (!spool->is_writing && (full >= most || (!has_room && full > 0)))
		spool_submit(spool);
	if (spool->state == SPOOL_BROKEN ||
	    (spool->is_writing &&
	     (!has_room || spool->filling.count >= most / 2)))
		spool->is_waiting = true;
	return !spool->is_waiting;
}

void
spool_finish(struct spool *spool)
{
	ASSERT(spool->state != SPOOL_FINISHING);
	ASSERT(spool->state != SPOOL_CANCELLED);
	if (spool->state == SPOOL_BROKEN)
		return;
	if (spool->state == SPOOL_MEMORY) {
		spool->state = SPOOL_FINISHING;
		spool_post(spool);
		return;
	}
	spool->state = SPOOL_FINISHING;
	if (!spool->is_writing)
		spool_submit(spool);
}

void
spool_cancel(struct spool **spool_pointer)
{
	struct spool *spool = TAKE(*spool_pointer);

	if (spool == NULL)
		return;
	spool->state = SPOOL_CANCELLED;
	if (!spool->is_writing && !spool->is_posted)
		spool_end(spool);
}

const struct fault *
spool_fault(const struct spool *spool)
{
	return &spool->fault;
}
