/*
 * Store, spool, schedule and signer, as far as a session asks them: they
 * answer when told to turn, and can be told to fail.
 */
#ifndef TESTS_FAKE_QUEUE_H
#define TESTS_FAKE_QUEUE_H

#include "relay/queue/schedule.h"

enum fake_part { FAKE_STORE, FAKE_SPOOL, FAKE_SIGNER, FAKE_RECHECK, FAKE_PARTS };

/* NONE: all is well again. */
void fake_queue_fail(enum fake_part part, enum fault_kind kind);
void fake_queue_is_full(bool is_full);
/* Of what is being received; 0: no limit. */
void fake_queue_incoming_max(uint64_t bytes);
/* Of envelopes and headers in memory; 0: no limit. */
void fake_queue_held_max(uint64_t bytes);
/* The spool takes this many bytes at a time, then has to drain. 0: all. */
void fake_queue_slow(size_t bytes);
/* Answers one thing that was asked. False: nothing is under way. */
bool fake_queue_turn(void);
/* What was stored: how many, and the last one whole. */
size_t fake_queue_stored(void);
struct slice fake_queue_last(void);
const struct message *fake_queue_last_message(void);
void fake_queue_forget(void);

#endif
