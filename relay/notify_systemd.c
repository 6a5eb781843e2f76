#include <systemd/sd-daemon.h>

#include "relay/notify.h"

void
notify_send(const char *state)
{
	sd_notify(0, state);
}
