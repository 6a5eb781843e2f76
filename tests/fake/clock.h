/* A clock that stands still until it is told otherwise. */
#ifndef TESTS_FAKE_CLOCK_H
#define TESTS_FAKE_CLOCK_H

#include <stdint.h>

void fake_clock_pass(uint64_t ms);

#endif
