/*
 * quota - how much may be received at once, and how much the queue may hold.
 *
 * What is received is reserved before it is there: as much as its sender has
 * said it will be, and more as it grows. Messages on their way into the store
 * count as if they were there.
 *
 * Thread      Any.
 */
#ifndef RELAY_QUEUE_QUOTA_H
#define RELAY_QUEUE_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* 0: no limit. */
struct quota {
	atomic_uint_fast64_t incoming_max, held_max, messages_max, bytes_max;
	/* Now. */
	atomic_uint_fast64_t incoming;        /* bytes */
	atomic_uint_fast64_t held;            /* of them in memory, where no
						 file takes them */
	atomic_uint_fast64_t messages, bytes; /* on their way into the store */
};

/* Whether that many bytes more could be reserved. */
bool quota_may_reserve(const struct quota *quota, uint64_t bytes);
bool quota_reserve(struct quota *quota, uint64_t bytes);
void quota_release(struct quota *quota, uint64_t bytes);
/* More than half is reserved. */
bool quota_is_pressed(const struct quota *quota);

/* The same of memory for envelopes and headers. */
bool quota_may_hold(const struct quota *quota, uint64_t bytes);
bool quota_hold(struct quota *quota, uint64_t bytes);
void quota_let_go(struct quota *quota, uint64_t bytes);

/* Whether the queue, which holds so much, may take one more of that many
 * bytes. */
bool quota_has_place(const struct quota *quota, uint64_t stored_messages,
		     uint64_t stored_bytes, uint64_t bytes);
/* One more is on its way; then it is there, or will not be. */
void quota_enter(struct quota *quota, uint64_t bytes);
void quota_leave(struct quota *quota, uint64_t bytes);

#endif
