/*
 * settlement_stand - what the tests of settlements with reports share, on top of
 * the schedule's: reports that nobody signs, a store that has no room.
 * alarm_set() and store_settle() are its own here (-Wl,--wrap).
 */
#ifndef TESTS_UNIT_RELAY_QUEUE_SETTLEMENT_STAND_H
#define TESTS_UNIT_RELAY_QUEUE_SETTLEMENT_STAND_H

#include "tests/unit/relay/queue/schedule_stand.h"

/* Where reports wait of which the first recipient has this number. */
#define REPORTS(number) "x.example/report-0000000" #number

/* What the store makes of settlements: `failing_stores` of those that have
 * reports, or of all, find no room. */
extern atomic_uint failing_stores;
extern atomic_bool all_fail;

#define WAITS_MAX 10

/* Of the settlement that found none last: how long it was to wait each time.
 * It waits for nothing. */
extern uint64_t waits_ms[WAITS_MAX];
extern atomic_uint waits_count;

/* The relay runs, and its mail meets with this; so many times nobody signs. */
void begin_reports(struct recipient_result (*wanted)(
			   const struct delivery *delivery, size_t recipient),
		   unsigned failures);

/* The sender has a report. */
bool is_told(void);

#endif
