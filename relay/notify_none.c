#include "relay/notify.h"

void
notify_send(const char *state)
{
	(void)state;
}

uint64_t
notify_watchdog_ms(void)
{
	return 0;
}
