/*
 * spool - where a message's bytes go while it is being received.
 *
 * Bytes stay in memory up to BODY_INLINE_MAX and as long as the process's
 * budget for message bytes allows; then everything goes to a file in
 * state_dir/spool, written and synced by the spool worker's threads. The file
 * is durable (data, then directory) before SPOOL_DONE is reported; what is
 * left without a record in the store is swept at the next start.
 */
#ifndef RELAY_QUEUE_SPOOL_H
#define RELAY_QUEUE_SPOOL_H

#include "relay/net/loop.h"
#include "relay/queue/message.h"

struct store;
struct spool;

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
/* Takes a copy. False: wait for SPOOL_DRAINED (the bytes are kept). */
bool spool_write(struct spool *spool, struct slice bytes);
/* No more bytes; SPOOL_DONE or SPOOL_FAILED follows, and the spool is gone
 * after SPOOL_DONE. header_len etc. of message->body are the caller's to
 * set. */
void spool_finish(struct spool *spool);
/* Drops all, in whatever state; no event follows. */
void spool_cancel(struct spool **spool);
const struct fault *spool_fault(const struct spool *spool);

#endif
