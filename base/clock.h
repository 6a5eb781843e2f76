/*
 * clock - what time it is; tests link tests/fake/clock.c instead.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* Milliseconds that only go forward; for deadlines and durations. */
uint64_t clock_now_ms(void);
/* Milliseconds for which this thread has had a processor. */
uint64_t clock_thread_ms(void);
/* Milliseconds since 1970 UTC; for Date, t=, x=, the log and what is stored. */
uint64_t clock_wall_ms(void);
/* No clock that is right shows less: the program is younger. One that no battery
 * keeps does until the network has set it. */
#define CLOCK_SET_MS UINT64_C(1767225600000) /* 2026-01-01 */
/* "2026-11-21T20:00:00.000Z"; out holds CLOCK_ISO_SIZE bytes. */
#define CLOCK_ISO_SIZE 25
void clock_write_iso(uint64_t wall_ms, char *out);
/* "Sat, 21 Nov 2026 20:00:00 +0000" (RFC 5322 3.3), in the local zone. */
#define CLOCK_DATE_SIZE 96
void clock_write_date(uint64_t wall_ms, char *out);

#endif
