/*
 * store_private - what the files of the store share: the store itself.
 */
#ifndef RELAY_QUEUE_STORE_PRIVATE_H
#define RELAY_QUEUE_STORE_PRIVATE_H

#include <stdatomic.h>

#include "relay/queue/quota.h"
#include "relay/queue/space.h"
#include "relay/queue/spool.h"
#include "relay/queue/store.h"
#include "relay/queue/store_engine.h"

enum operation_kind {
	OPERATION_PUT,
	OPERATION_SETTLE,
	OPERATION_SET_ASIDE,
	OPERATION_ALTER,
	OPERATION_MOVE,
};

struct store {
	int directory, lock;
	struct engine *engine;
	struct spool_room *room;
	struct space space;
	struct quota quota;
	atomic_uint_fast64_t lack_told_ms[STORE_LACKS_COUNT];
	struct worker *readers;
	uv_thread_t thread;
	uint64_t readers_checked_ms; /* its own */
	uv_mutex_t mutex;
	uv_cond_t wake, flushed;
	/* under the mutex */
	struct list waiting;
	bool is_awaited; /* one of them; or they are many */
	size_t puts_waiting; /* of them */
	size_t puts_wanted;  /* the thread waits for so many; 0: for none */
	bool is_stopping;
	struct store_beat *beat; /* NULL: nobody asks */
	bool is_hurried;     /* no patience any more */
	bool is_closing;     /* no put any more */
	uint64_t submitted, finished; /* operations, in that order */
	/* any thread */
	atomic_size_t waiting_count, expected;
	atomic_uint_fast64_t readers_check_ms;
	atomic_uint_fast64_t puts, settles, commits, refused, damaged;
};

/* Ends the process (75): a disk that loses what it was given. Nothing that it
 * was for was acknowledged, and only a fresh start knows what is on it. */
_Noreturn void store_die(const struct fault *fault);

/* The same; where the fault is damage the next start salvages the store. */
_Noreturn void store_die_of(const struct fault *fault);

/* Logs a damaged delivery and has it taken out of what is due. */
void store_set_aside(struct store *store, struct slice destination,
		     uint64_t due_ms, const struct message_id *id,
		     const struct fault *fault);

/* --- store_thread.c: operations, in groups of one commit each --- */

/* Gives an operation to the store thread; a put fails where none is taken any
 * more. */
void store_submit(struct store *store, struct store_operation *operation,
		  enum operation_kind kind);
/* The store thread. */
void store_thread(void *store);

/* --- store.c: what each operation does; on the store thread --- */

/* In the transaction that is open. False: the group cannot be committed with it;
 * its fault says why. */
bool operation_apply(struct engine *engine, struct store_operation *operation);
/* Durable, or failed: tells the caller. The operation may be gone afterwards. */
void operation_finish(struct store *store, struct store_operation *operation);
/* About the bytes that it writes: records, and a share of the pages that hold
 * them. */
size_t operation_weight(struct store_operation *operation);
/* Any thread: it was never begun, since the relay stops. */
void operation_refuse(struct store *store, struct store_operation *operation);

/* Appends a message's header as it was received, at most max bytes; waits for
 * the disk. */
bool store_header_read(struct engine *engine, struct spool_room *room,
		       const struct message *message, size_t max,
		       struct text *out, struct fault *fault) MUST_USE;

/* --- store_alter.c, on the store thread --- */

bool alter_apply(struct engine *engine, struct store_operation *operation);
/* Durable, or failed: removes body files, then tells the caller. */
void alter_finish(struct store *store, struct store_operation *operation);
size_t alter_weight(const struct store_operation *operation);

#endif
