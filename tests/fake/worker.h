/*
 * A worker without threads: what was submitted is run when told to turn.
 */
#ifndef TESTS_FAKE_WORKER_H
#define TESTS_FAKE_WORKER_H

#include <stdbool.h>

/* worker_submit() says that there is no room. */
void fake_worker_is_full(bool is_full);
/* Runs one job, and tells its owner. False: there is none. */
bool fake_worker_turn(void);
void fake_worker_forget(void);

#endif
