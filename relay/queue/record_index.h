/*
 * record_index - where in a message's record its recipients stand, so that a
 * delivery's few are read without all the others: the deliveries of a message
 * for 100,000 would otherwise take the square of that to read. Pure.
 *
 * It is made of the record and lives in memory only; a record never changes. The
 * recipients are taken in blocks of as many as keep the index small, and it has a
 * checksum of each: what is read by it is checked as the whole record would be.
 *
 * Ownership   Counted, atomically: threads that read share it.
 */
#ifndef RELAY_QUEUE_RECORD_INDEX_H
#define RELAY_QUEUE_RECORD_INDEX_H

#include "relay/queue/store.h"

struct record_index;

/* Whether one is worth the while: for this many recipients. The record may be
 * damaged. */
#define RECORD_INDEX_MIN 256
bool record_index_is_worth(struct slice of_message);
/* One reference; NULL: the record is damaged. */
struct record_index *record_index_new(const struct message_id *id,
				      struct slice of_message);
struct record_index *record_index_ref(struct record_index *index);
void record_index_unref(struct record_index *index);
CLEAN_POINTER(struct record_index, record_index_unref)
/* Of which message it is. */
const struct message_id *record_index_id(const struct record_index *index);

/* As record_delivery_read_alone(). INPUT: the delivery's record is damaged, or
 * the message's is, or is another than that of which the index was made. */
bool record_index_read(const struct record_index *index,
		       struct slice destination, struct slice of_message,
		       struct slice of_delivery, struct delivery *delivery,
		       struct fault *fault) MUST_USE;

#endif
