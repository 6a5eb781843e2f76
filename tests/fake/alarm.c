#include "tests/fake/alarm.h"

#include "base/clock.h"

static struct alarm *current;
static uint64_t due_ms; /* 0: it is not set */

void
alarm_init(struct alarm *alarm, struct loop *loop,
	   void (*fired)(struct alarm *alarm))
{
	(void)loop;
	ASSERT(current == NULL);
	alarm->fired = fired;
	current = alarm;
	due_ms = 0;
}

void
alarm_set(struct alarm *alarm, uint64_t delay_ms)
{
	ASSERT(alarm == current);
	due_ms = clock_now_ms() + delay_ms;
}

void
alarm_close(struct alarm *alarm, void (*closed)(struct alarm *alarm))
{
	ASSERT(alarm == current);
	current = NULL;
	closed(alarm);
}

void
fake_alarm_turn(void)
{
	if (current == NULL || due_ms == 0 || clock_now_ms() < due_ms)
		return;
	due_ms = 0;
	current->fired(current);
}
