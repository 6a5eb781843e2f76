/*
 * load - whether a thread has been at work for most of the time, of late.
 *
 * Its own processor time counts: a thread that waits for a processor would get
 * nothing done faster if there were two of it.
 *
 * Thread      Written by that thread; load_is_high() is for any.
 */
#ifndef RELAY_NET_LOAD_H
#define RELAY_NET_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What one look at it covers, at least; what it found counts for twice that,
 * because the next look may be late. */
#define LOAD_SPAN_MS 100

/* Zeroed: idle. */
struct load {
	uint64_t looked_ms, worked_ms; /* as of the last look */
	atomic_uint_least64_t high_until_ms;
};

/* Whether the next look is due; by clock_now_ms(). */
bool load_is_due(const struct load *load, uint64_t now_ms);
/* worked_ms: clock_thread_ms() of the thread. */
void load_look(struct load *load, uint64_t now_ms, uint64_t worked_ms);
bool load_is_high(const struct load *load, uint64_t now_ms);

#endif
