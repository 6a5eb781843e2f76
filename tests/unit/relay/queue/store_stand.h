/*
 * store_stand - a store in a fresh directory, with a loop on a thread of its own:
 * from begin() to finish(), for each test.
 */
#ifndef TESTS_UNIT_RELAY_QUEUE_STORE_STAND_H
#define TESTS_UNIT_RELAY_QUEUE_STORE_STAND_H

#include "tests/unit/relay/queue/queue.h"

extern char path[64];
extern struct loop loop;
extern struct store *store;

void begin(void);
/* Forgets what was logged, too. */
void finish(void);

/* Asserts that there is one. */
struct delivery *first(struct list *deliveries);

#endif
