/*
 * alter_stand - a store, and what the tests of its alterations do with it and
 * wait for.
 */
#ifndef TESTS_UNIT_RELAY_QUEUE_ALTER_STAND_H
#define TESTS_UNIT_RELAY_QUEUE_ALTER_STAND_H

#include "base/clock.h"
#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/unit/relay/queue/queue.h"

#define NOW_MS ((uint64_t)2000000000000)

extern char path[64];
extern struct store *store;
extern struct loop loop;
/* Of what was asked of the store last. */
extern bool is_done;
extern struct fault last_fault;
/* What page_read() asks for, and gets. */
extern struct store_read_page page;
extern size_t damages_seen;

void alter_stand_init(void);
void alter_stand_done(void);

void run_until_done(void);
void put(struct message *message);
/* Of one delivery; expects no fault. */
struct store_alter_row alter(enum alteration alteration,
			     const struct message_id *id,
			     const char *destination);
/* The caller frees its deliveries. */
size_t page_read(void);
/* At d7.example, as what cannot be read is: the store thread has nothing to do
 * meanwhile. */
void set_aside(const struct message_id *id, uint64_t due_ms);

#endif
