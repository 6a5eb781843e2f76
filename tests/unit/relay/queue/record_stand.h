/*
 * record_stand - a message and a delivery with something in each field, and their
 * records.
 */
#ifndef TESTS_UNIT_RELAY_QUEUE_RECORD_STAND_H
#define TESTS_UNIT_RELAY_QUEUE_RECORD_STAND_H

#include "relay/queue/message.h"

/* The caller's. */
struct message *message_full(void);
struct delivery *delivery_full(struct message *message);

/* As they are stored; the caller's. */
struct text message_record(const struct message *message);
struct text delivery_record(const struct delivery *delivery, uint64_t due_ms);

#endif
