/*
 * spool - where a message's bytes go while it is being received.
 *
 * Bytes stay in memory up to BODY_INLINE_MAX and as long as the process's
 * budget for message bytes allows; then everything goes to a file in
 * state_dir/spool, written and synced by the spool worker's threads. The file
 * is durable (data, then directory) before SPOOL_DONE is reported; a sync that
 * fails ends the process, as the store's does. What is left without a record in
 * the store is swept at the next start.
 */
#ifndef RELAY_QUEUE_SPOOL_H
#define RELAY_QUEUE_SPOOL_H

#include "relay/net/worker.h"
#include "relay/queue/message.h"
#include "relay/queue/space.h"

struct store;
struct spool;
struct spool_room;

enum spool_event {
	SPOOL_DRAINED, /* write on */
	SPOOL_DONE,    /* spool_finish(): message->body is filled in */
	SPOOL_FAILED,  /* spool_fault(): LIMIT (no space or budget: 452) or
			  SYSTEM (451); only spool_cancel() may follow */
};
typedef void spool_fn(void *owner, enum spool_event event);

/* For one message, on the session's loop. Events come from the loop, never
 * from inside a call. */
struct spool *spool_new(struct store *store, struct loop *loop,
			struct message *message, spool_fn *event, void *owner);
/* Takes a copy. False: wait for SPOOL_DRAINED (the bytes are kept, and so are
 * those of a call before it, which is answered alike). */
bool spool_write(struct spool *spool, struct slice bytes);
/* No more bytes; SPOOL_DONE or SPOOL_FAILED follows, and the spool is gone
 * after SPOOL_DONE. header_len etc. of message->body are the caller's to
 * set. */
void spool_finish(struct spool *spool);
/* Drops all, in whatever state; no event follows. */
void spool_cancel(struct spool **spool);
const struct fault *spool_fault(const struct spool *spool);

/* --- for the store --- */

/* Makes "spool" in the directory where it is missing. `space` outlives it. */
bool spool_room_new(int directory, struct space *space,
		    struct spool_room **room_out,
		    struct fault *fault) MUST_USE;
/* Every spool must be gone, every message freed. */
void spool_room_free(struct spool_room *room);
/* Message bytes in memory, all together. */
void spool_room_limit(struct spool_room *room, uint64_t memory_bytes);
uint64_t spool_room_memory(const struct spool_room *room);
/* The worker for files, also for removing them. */
struct worker *spool_room_worker(struct spool_room *room);
/* Removes every file that no stored message names. */
void spool_sweep(struct spool_room *room,
		 bool (*is_stored)(void *owner, const struct message_id *id),
		 void *owner);
/* Part of a stored file, appended, from an offset inside: at most max bytes and
 * BODY_READ_CHUNKS chunks. INPUT: damaged. Blocks. */
bool spool_read(struct spool_room *room, const struct message *message,
		uint64_t offset, size_t max, struct text *out,
		struct fault *fault) MUST_USE;
/* The same where nothing has to be waited for: of what the system has in memory.
 * False also for damage, which spool_read() names. */
bool spool_read_now(struct spool_room *room, const struct message *message,
		    uint64_t offset, size_t max, struct text *out) MUST_USE;
/* What the system keeps of it in memory: the next read is of the disk. */
void spool_forget(struct spool_room *room, const struct message *message);
void spool_remove(struct spool_room *room, const struct message_id *id);
/* The store has taken over the file of a message: it stays when the message
 * is freed. */
void spool_file_keep(struct message *message);

#endif
