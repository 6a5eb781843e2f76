/*
 * fake/log - linked in place of base/log.c: keeps the events in memory, as
 * lines "event name=value name=value", so that a test can look for them.
 */
#ifndef TESTS_FAKE_LOG_H
#define TESTS_FAKE_LOG_H

#include "base/log.h"

/* How many events hold both texts (NULL: any). */
unsigned fake_log_count(const char *text, const char *other);
void fake_log_clear(void);

#endif
