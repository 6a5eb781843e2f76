/*
 * queue - what the tests of the queue share: a directory, a running loop, and
 * calls that wait for their answer.
 */
#ifndef TESTS_UNIT_RELAY_QUEUE_QUEUE_H
#define TESTS_UNIT_RELAY_QUEUE_QUEUE_H

#include "relay/queue/store.h"

/* A fresh directory under $TMPDIR or /tmp. */
void directory_make(char path[64]);
void directory_remove(const char *path);

/* A store in a fresh directory, and a loop that the test's own thread runs in
 * steps; the timer keeps the steps short. */
void stand_begin(char path[64], struct store **store, struct loop *loop,
		 uv_timer_t *keep);
void stand_end(const char *path, struct store *store, struct loop *loop,
	       uv_timer_t *keep);

/* The same with a loop that runs on a thread of its own. */
void threaded_begin(char path[64], struct store **store, struct loop *loop,
		    uv_async_t *keep);
void threaded_end(const char *path, struct store *store, struct loop *loop,
		  uv_async_t *keep);
/* Where it has to be possible. */
struct store *store_of(const char *path);

/* A message with a body of this many bytes in memory, for the recipients
 * "a@x.example b@y.example" (separated by spaces). */
struct message *message_make(const char *from, const char *recipients,
			     size_t body_size);
/* The byte at this offset of every body that message_make() makes. */
char message_byte(size_t offset);

/* From a thread that is not the loop's; each waits for the answer. */
bool put_wait(struct store *store, struct loop *loop, struct message *message,
	      struct list *deliveries_out, struct fault *fault);
bool settle_wait(struct store *store, struct loop *loop,
		 struct delivery *delivery, uint64_t due_ms,
		 struct message *report, struct fault *fault);
/* All of a list at once, which go for good; the list stays as it is. */
bool settle_all_wait(struct store *store, struct loop *loop,
		     struct list *deliveries, struct fault *fault);
/* Appends to deliveries; *next_due_ms_out may be NULL. */
bool due_wait(struct store *store, struct loop *loop, const char *destination,
	      uint64_t until_ms, size_t max, struct list *deliveries,
	      uint64_t *next_due_ms_out, struct fault *fault);
bool body_wait(struct store *store, struct loop *loop, struct message *message,
	       struct text *out, struct fault *fault);

/* Until the store thread has come around. */
void beat_wait(struct store *store, struct loop *loop);

size_t list_count(const struct list *list);

#endif
