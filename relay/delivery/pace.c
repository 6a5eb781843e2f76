#include "relay/delivery/pace.h"

#include <limits.h>

#include "base/clock.h"

#define BACKOFF_MIN_MS (1 * MINUTE)
#define BACKOFF_MAX_MS (1 * HOUR)

void
pace_init(struct pace *pace)
{
	*pace = (struct pace){.window = PACE_FIRST, .ceiling = UINT_MAX};
}

void
pace_answered(struct pace *pace)
{
	if (pace->backoff_ms > 0)
		pace_init(pace);
	pace->has_worked = true;
}

void
pace_delivered(struct pace *pace, unsigned open, unsigned max)
{
	pace_answered(pace);
	/* What was not needed has not been tried. */
	if (open < pace->window || pace->window >= max)
		return;
	if (pace->window < pace->ceiling) {
		pace->window++;
		return;
	}
	pace->successes++;
	if (pace->successes < PACE_PATIENCE * pace->window)
		return;
	pace->successes = 0;
	pace->window++;
	pace->ceiling++;
}

uint64_t
pace_back_off(uint64_t *backoff_ms, uint64_t max_ms)
{
	*backoff_ms = *backoff_ms == 0 ? BACKOFF_MIN_MS : *backoff_ms * 2;
	if (*backoff_ms > BACKOFF_MAX_MS)
		*backoff_ms = BACKOFF_MAX_MS;
	return *backoff_ms < max_ms ? *backoff_ms : max_ms;
}

uint64_t
pace_failed(struct pace *pace, unsigned others, uint64_t pause_max_ms)
{
	pace->successes = 0;
	if (others == 0) {
		pace->window = 1;
		pace->ceiling = UINT_MAX;
		pace->has_worked = false;
		return pace_back_off(&pace->backoff_ms, pause_max_ms);
	}
	if (others < pace->window)
		pace->window = others;
	if (pace->window < pace->ceiling)
		pace->ceiling = pace->window;
	return 0;
}
