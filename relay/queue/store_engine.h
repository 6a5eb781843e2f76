/*
 * store_engine - the store's tables in LMDB: transactions, what a put and a
 * settlement write, what reads give. Private to the store.
 *
 * Safe mode only: no MDB_NOSYNC, no MDB_WRITEMAP. Every read is a transaction
 * of its own and short, because an open one pins pages.
 *
 * Faults      LIMIT: no space (map or disk); nothing was written, try later or
 *             less. INPUT: a damaged record. SYSTEM: the engine or the disk
 *             failed; for a writer that is the end.
 * Thread      One writer. Reads: any, each with its own transaction.
 */
#ifndef RELAY_QUEUE_STORE_ENGINE_H
#define RELAY_QUEUE_STORE_ENGINE_H

#include <errno.h>

#include "relay/queue/store.h"

/* Damage to the structure itself, not to a record: nothing can be done with the
 * store until it is salvaged (store_salvage.h). */
static inline bool
engine_is_damaged(const struct fault *fault)
{
	return fault->kind == FAULT_INPUT && fault->system == EUCLEAN;
}
/* Makes it one. */
static inline void
engine_damaged(struct fault *fault)
{
	if (fault != NULL) {
		fault->kind = FAULT_INPUT;
		fault->system = EUCLEAN;
	}
}

/* Of a fault: a machine of other bits wrote it. The engine cannot read it, but a
 * salvage can, and takes over all of it. */
static inline bool
engine_is_foreign(const struct fault *fault)
{
	return fault->kind == FAULT_INPUT && fault->system == ENOEXEC;
}
static inline bool
engine_foreign(struct fault *fault, const char *path, unsigned bits)
{
	fault_set(fault, FAULT_INPUT,
		  "%s: a machine of %u bits wrote it", path, bits);
	if (fault != NULL)
		fault->system = ENOEXEC;
	return false;
}

/* Of a fault: the file cannot be read now, which may pass. */
static inline bool
engine_is_unreadable(const struct fault *fault)
{
	return fault->kind == FAULT_SYSTEM && fault->system == ENODATA;
}
static inline bool
engine_unreadable(struct fault *fault, const char *path, const char *why)
{
	fault_set(fault, FAULT_SYSTEM, "%s: %s", path, why);
	if (fault != NULL)
		fault->system = ENODATA;
	return false;
}

/* Deliveries that one page may pass over: a transaction stays short. */
#define ENGINE_PAGE_LOOKS 16384

struct engine;

/* `directory` is made if missing. */
bool engine_open(const char *directory, struct engine **engine_out,
		 struct fault *fault) MUST_USE;
/* For another process than the relay, whose user it must be, whether that runs
 * or not: no writing, nothing is made. Only for engine_read_page(),
 * engine_read_message() and engine_read_chunk(). ABSENT: there is no store. */
bool engine_open_reading(const char *directory, struct engine **engine_out,
			 struct fault *fault) MUST_USE;
void engine_close(struct engine *engine);
CLEAN_POINTER(struct engine, engine_close)

/* --- the writer --- */

bool engine_begin(struct engine *engine, struct fault *fault) MUST_USE;
/* Ends the transaction, one way or the other. */
bool engine_commit(struct engine *engine, struct fault *fault) MUST_USE;
void engine_abort(struct engine *engine);
/* The version of the store that the open transaction makes. */
uint64_t engine_version(const struct engine *engine);
/* After a fault of these the transaction can only be aborted. */
bool engine_put(struct engine *engine, const struct message *message,
		struct list *deliveries, struct fault *fault) MUST_USE;
/* One more delivery of a message that is stored. */
bool engine_add(struct engine *engine, struct delivery *delivery,
		struct fault *fault) MUST_USE;
/* message_gone: the message went with its last delivery. */
bool engine_settle(struct engine *engine, const struct delivery *delivery,
		   uint64_t due_ms, bool *message_gone_out,
		   struct fault *fault) MUST_USE;
/* What a row becomes, as in store_alter. */
bool engine_alter(struct engine *engine, enum alteration alteration,
		  uint64_t now_ms, struct store_alter_row *row,
		  struct fault *fault) MUST_USE;
/* A stored delivery goes under another destination; out: it as it is stored
 * now, without the body. ABSENT: it is not stored; BUSY: the message has one
 * there. */
bool engine_move(struct engine *engine, const struct delivery *delivery,
		 struct slice destination, struct delivery **moved_out,
		 struct fault *fault) MUST_USE;
/* Takes what is damaged out of what is due; the records stay. */
bool engine_set_aside(struct engine *engine, struct slice destination,
		      uint64_t due_ms, const struct message_id *id,
		      struct slice reason, struct fault *fault) MUST_USE;
/* Puts back what was set aside and can be read by now. No transaction is open.
 * Damage to the structure is a fault. */
bool engine_take_back_readable(struct engine *engine, size_t *count_out,
			       struct fault *fault) MUST_USE;
/* A process that died while it was reading pins what it saw, until somebody
 * looks for such: how many there were. */
unsigned engine_forget_dead_readers(struct engine *engine);
/* Bytes of the store's file that hold nothing: what can be written without the
 * file growing. As of the last commit. */
uint64_t engine_reusable_bytes(const struct engine *engine);
/* Whether the file may hold so much more, however large the disk is: some of the
 * map is kept for what becomes of deliveries, which takes new pages before it
 * gives any back; half of that their reports may have. Holes count half, because
 * not everything fits into them. As of the last commit; any thread. */
bool engine_has_room(const struct engine *engine, uint64_t bytes);
bool engine_has_room_for_reports(const struct engine *engine);
/* Those that hold something. Any thread. */
uint64_t engine_used_bytes(const struct engine *engine);
/* As of the last commit: all deliveries, those that will be tried, and those
 * that are held (the others are damaged). Any thread. */
void engine_count(const struct engine *engine, uint64_t *deliveries_out,
		  uint64_t *due_out, uint64_t *held_out);
/* Likewise: messages, and their bytes wherever they lie. */
void engine_count_messages(const struct engine *engine, uint64_t *messages_out,
			   uint64_t *bytes_out);

/* --- reads --- */

/* Something that cannot be read; called inside a transaction. */
typedef void engine_damaged_fn(void *owner, struct slice destination,
			       uint64_t due_ms, const struct message_id *id,
			       const struct fault *fault);

struct engine_due {
	struct slice destination;
	uint64_t until_ms;
	uint64_t after_ms; /* out: the last that was looked at, with its id */
	struct message_id after_id;
	size_t max; /* to look at */
	/* out */
	struct list deliveries;
	bool has_more;
	uint64_t next_due_ms, version;
};
bool engine_read_due(struct engine *engine, struct engine_due *due,
		     engine_damaged_fn *damaged, void *owner,
		     struct fault *fault) MUST_USE;
/* Reads every record that is due, but no body, until clock_now_ms() is past
 * the deadline. */
bool engine_check(struct engine *engine, uint64_t deadline_ms,
		  engine_damaged_fn *damaged, void *owner,
		  struct fault *fault) MUST_USE;
/* Appends part of the chunk: from `from`, at most max bytes. ABSENT: there is
 * no such chunk. */
bool engine_read_chunk(struct engine *engine, const struct message_id *id,
		       uint32_t number, size_t from, size_t max,
		       struct text *out, struct fault *fault) MUST_USE;
/* Whole messages in the order of their ids, from the first behind `after`
 * (zero: from the first) to `until` (zero: the last there is now), until `max`
 * deliveries are read or ENGINE_PAGE_LOOKS looked at. Of a message only the
 * deliveries that the selection takes; they share it and follow each other. Of a
 * domain with no more than ENGINE_PAGE_LOOKS only its own are looked at. */
struct engine_page {
	struct selection selection;
	struct message_id after; /* out: the last that was looked at */
	struct message_id until; /* out */
	size_t max;
	/* out */
	struct list deliveries;
	bool has_more;
	size_t looks; /* deliveries that it took */
};
bool engine_read_page(struct engine *engine, struct engine_page *page,
		      engine_damaged_fn *damaged, void *owner,
		      struct fault *fault) MUST_USE;
/* All deliveries of one message; ABSENT: there is none. */
bool engine_read_message(struct engine *engine, const struct message_id *id,
			 struct list *deliveries, engine_damaged_fn *damaged,
			 void *owner, struct fault *fault) MUST_USE;
/* How many deliveries of a destination are due some time, and held; counts no
 * further than max each. */
bool engine_count_depth(struct engine *engine, struct store_depth *depth,
			size_t max, struct fault *fault) MUST_USE;
bool engine_each_destination(struct engine *engine,
			     void (*each)(void *owner,
					  struct slice destination,
					  uint64_t due_ms),
			     void *owner, struct fault *fault) MUST_USE;
/* Whether the store has this message. */
bool engine_has_message(struct engine *engine, const struct message_id *id,
			bool *has_out, struct fault *fault) MUST_USE;

#endif
