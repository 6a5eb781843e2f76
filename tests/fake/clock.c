#include "tests/fake/clock.h"

#include <stdatomic.h>

/* The real one's way of writing dates, under its own names. */
#define clock_now_ms real_clock_now_ms
#define clock_wall_ms real_clock_wall_ms
#include "base/clock.c"
#undef clock_now_ms
#undef clock_wall_ms

uint64_t clock_now_ms(void);
uint64_t clock_wall_ms(void);

static atomic_uint_least64_t passed_ms; /* some tests have threads */

uint64_t
clock_now_ms(void)
{
	return 1000 + passed_ms;
}

uint64_t
clock_wall_ms(void)
{
	return 1795291200000u + passed_ms;
}

void
fake_clock_pass(uint64_t ms)
{
	passed_ms += ms;
}
