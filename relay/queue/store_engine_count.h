/*
 * store_engine_count - how many messages the store has and how many bytes they
 * are: records, chunks, and bodies in files.
 *
 * One record in `about`, written with every transaction that changes it, so
 * that it is known at once whatever happened, without a look at the queue. Only
 * a store that has no such record, or a damaged one, is counted when it is
 * opened; one that is made by a salvage at its end.
 *
 * Thread      The writer's.
 */
#ifndef RELAY_QUEUE_STORE_ENGINE_COUNT_H
#define RELAY_QUEUE_STORE_ENGINE_COUNT_H

#include "relay/queue/store_engine_private.h"

/* In the transaction that opens the tables. */
bool engine_count_open(struct engine *engine, MDB_txn *txn,
		       struct fault *fault) MUST_USE;
/* Forgets what a transaction that was aborted has counted. */
void engine_count_begin(struct engine *engine);
void engine_count_put(struct engine *engine, const struct message *message);
/* One entry of the table of messages, before it is deleted. */
void engine_count_gone(struct engine *engine, const MDB_val *name,
		       const MDB_val *value);
/* Of what was written without the two above: all that the transaction has. */
bool engine_count_anew(struct engine *engine, struct fault *fault) MUST_USE;
/* Before the commit; then, where that went well: */
bool engine_count_write(struct engine *engine, struct fault *fault) MUST_USE;
void engine_count_committed(struct engine *engine);

#endif
