/*
 * log_ring - how whole lines get to stderr: through the ring and the log
 * thread, or at once while there is none. A part of log; log_start(),
 * log_stop() and log_dropped() are here.
 */
#ifndef BASE_LOG_RING_H
#define BASE_LOG_RING_H

#include "base/slice.h"

/* A line with its LF. Never blocks once the log thread runs. */
void log_ring_add(struct slice line);
/* Appends the line that tells of lost ones; log.c knows how lines look. */
void log_write_dropped(struct text *out, uint64_t lines, uint64_t total);

#endif
