/*
 * store_engine_private - what the files of the engine share: the tables.
 *
 *	store_engine.c       the writer: transactions, puts and settlements
 *	store_engine_alter.c what an administrator decides
 *	store_engine_aside.c what cannot be read
 *	store_engine_count.c how much there is of it
 *	store_engine_domain.c which messages are for a domain
 *	store_engine_index.c where the recipients of large ones stand
 *	store_engine_open.c  opening: the file, its layout, the tables
 *	store_engine_page.c  reads of the whole queue, in pages
 *	store_engine_read.c  reads, each a transaction of its own
 *	store_engine_room.c  how full the file is, and what is kept for it
 */
#ifndef RELAY_QUEUE_STORE_ENGINE_PRIVATE_H
#define RELAY_QUEUE_STORE_ENGINE_PRIVATE_H

#include <lmdb.h>
#include <stdatomic.h>

#include "relay/queue/record.h"
#include "relay/queue/record_index.h"
#include "relay/queue/store_engine.h"

/* In `about`: which layout this store has. */
#define LAYOUT_KEY "layout"
#define LAYOUT "1"
/* Likewise: how many messages it has (store_engine_count.h). */
#define COUNT_KEY "count"

/* What an engine for reading has, too. */
#define TABLES_OF_PAGES(X)                                                     \
	X(messages)                                                            \
	X(deliveries)                                                          \
	X(about)
/* And this, unless the store is from before there were all of them. */
#define TABLES_BY_DESTINATION(X)                                               \
	X(due)                                                                 \
	X(held)                                                                \
	X(damaged)
#define TABLES(X)                                                              \
	TABLES_OF_PAGES(X)                                                     \
	TABLES_BY_DESTINATION(X)

/* Of the next engine that is opened: STORE_MAP_SIZE, but for tests. */
extern size_t engine_map_size;

struct engine_count {
	uint64_t messages, bytes;
};

struct engine_indexes;

struct engine {
	MDB_env *env;
	struct engine_indexes *indexes; /* NULL: for reading pages only */
	MDB_txn *txn; /* the writer's, while one is open */
#define TABLE_FIELD(name) MDB_dbi name;
	TABLES(TABLE_FIELD)
#undef TABLE_FIELD
	/* As of the last commit, and with what the open transaction does. */
	struct engine_count counted, counting;
	bool is_by_destination; /* TABLES_BY_DESTINATION are there */
	size_t page_size;
	uint64_t reserved_bytes; /* of the file are on the disk */
	uint64_t reserve_at_ms;  /* clock_now_ms(): not asked for more before */
	_Atomic uint64_t reusable_bytes, used_bytes, deliveries_count,
		due_count, held_count, messages_count, message_bytes;
	/* Until the map is full; of that, for what becomes of deliveries. */
	_Atomic uint64_t room_bytes, kept_bytes;
};

static inline MDB_val
val_of_key(struct record_key *key)
{
	return (MDB_val){key->len, key->bytes};
}

static inline struct slice
slice_of_val(const MDB_val *val)
{
	return slice_of(val->mv_data, val->mv_size);
}

/* Says what the engine's status means; false, as the compiler sees
 * (base/fault.h). */
void engine_fault_fill(struct fault *fault, int status, const char *what);
#define engine_fault(...)                                                      \
	__extension__({                                                        \
		engine_fault_fill(__VA_ARGS__);                                \
		false;                                                         \
	})
/* ABSENT: not there. The value is valid as long as the transaction. */
bool engine_get(MDB_txn *txn, MDB_dbi table, struct record_key *key,
		struct slice *value_out, struct fault *fault) MUST_USE;
/* Whether a key of this table begins with the id: the cursor is on the first
 * and the caller's to close. */
bool engine_find_id(MDB_txn *txn, MDB_dbi table, const struct message_id *id,
		    MDB_cursor **cursor_out, bool *found_out,
		    struct fault *fault) MUST_USE;
/* With its message, without the body, and without recipients of other
 * deliveries. */
bool engine_read_delivery(struct engine *engine, MDB_txn *txn,
			  struct slice destination,
			  const struct message_id *id,
			  struct delivery **delivery_out,
			  struct fault *fault) MUST_USE;

/* What the tables take, and what that leaves in the file and in the map: as this
 * transaction sees it. */
void engine_measure(struct engine *engine, MDB_txn *txn);
/* Has the file system keep room behind the file, whose size stays. Where there is
 * none, or it cannot, there is no reserve for a while; half of one is asked for
 * again. */
void engine_reserve_disk(struct engine *engine);

/* Of messages for very many that were read last; any thread. */
struct engine_indexes *engine_indexes_new(void);
void engine_indexes_free(struct engine_indexes *indexes);
/* A reference; NULL: the record is read without one. */
struct record_index *engine_index(struct engine *engine,
				  const struct message_id *id,
				  struct slice of_message);

/* Messages that have a delivery at a domain, in the order of their ids. Looks at
 * nothing but that domain's deliveries, at most ENGINE_PAGE_LOOKS. */
struct engine_find {
	struct slice domain;
	struct message_id after, until; /* behind the one, up to the other */
	size_t max;
	/* out */
	struct message_id *ids; /* the caller's: max + 1 */
	size_t count;           /* at most max */
	bool has_more;          /* behind the last of them */
	bool is_too_much;       /* to look at: nothing else is said then */
	size_t looks;
};
bool engine_find_domain(struct engine *engine, MDB_txn *txn,
			struct engine_find *find, struct fault *fault) MUST_USE;

/* --- of the writer: within its transaction --- */

/* Among what is due, or what is held: the latter is never tried. */
bool engine_put_due(struct engine *engine, const struct delivery *delivery,
		    uint64_t due_ms, struct fault *fault) MUST_USE;
/* Whether there is a record of it, damaged or not. */
bool engine_has_delivery(struct engine *engine, struct slice destination,
			 const struct message_id *id) MUST_USE;
/* Deletes what may not be there. */
bool engine_delete(struct engine *engine, MDB_dbi table, struct record_key *key,
		   struct fault *fault) MUST_USE;
/* The delivery's entry among what is due or held, wherever it stands now. */
bool engine_delete_due(struct engine *engine, struct slice destination,
		       const struct message_id *id, uint64_t due_ms,
		       struct fault *fault) MUST_USE;
/* The delivery's record, and the message with the last one. */
bool engine_delete_delivery(struct engine *engine, struct slice destination,
			    const struct message_id *id, bool *message_gone_out,
			    struct fault *fault) MUST_USE;

#endif
