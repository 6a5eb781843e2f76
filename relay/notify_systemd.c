#include <systemd/sd-daemon.h>

#include "relay/notify.h"

void
notify_send(const char *state)
{
	sd_notify(0, state);
}

uint64_t
notify_watchdog_ms(void)
{
	uint64_t allowed_us = 0;

	return sd_watchdog_enabled(0, &allowed_us) > 0 ? allowed_us / 1000 : 0;
}
