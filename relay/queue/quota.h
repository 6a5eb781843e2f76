/*
 * quota - how much may be received at once, and how much the queue may hold.
 *
 * What is received is reserved before it is there: as much as its sender has
 * said it will be, and more as it grows. Messages on their way into the store
 * count as if they were there.
 *
 * No client takes all of the room: what one has is at most QUOTA_FAIR times
 * what is left then, whoever has the rest. So one alone may have three quarters
 * of it, two 3/7 each, and there is always something for one more. Only the
 * first message of each, beside which there is nothing else of his, may be as
 * large as there is room.
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

/* What one client has of it. */
struct quota_part {
	atomic_uint_fast64_t incoming, held;
};

#define QUOTA_FAIR 3

/* The least incoming_max, or held_max, at which one client who is alone may have
 * so many bytes in several messages. */
static inline uint64_t
quota_max_for(uint64_t bytes)
{
	return bytes + bytes / QUOTA_FAIR;
}

/* Whether that many bytes more could be reserved. */
bool quota_may_reserve(const struct quota *quota, uint64_t bytes);
/* Whether so many more would be fair for whom this is a part; own: of what he
 * has, what the message has that they are for. */
bool quota_is_fair(const struct quota *quota, const struct quota_part *part,
		   uint64_t own, uint64_t bytes);
bool quota_reserve(struct quota *quota, uint64_t bytes);
void quota_release(struct quota *quota, uint64_t bytes);
/* More than half is reserved. */
bool quota_is_pressed(const struct quota *quota);

/* The same of memory for envelopes and headers. */
bool quota_may_hold(const struct quota *quota, uint64_t bytes);
bool quota_is_fair_to_hold(const struct quota *quota,
			   const struct quota_part *part, uint64_t own,
			   uint64_t bytes);
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
