/*
 * notify - tells the service manager how things stand (sd_notify(3)); built
 * without libsystemd it does nothing.
 */
#ifndef RELAY_NOTIFY_H
#define RELAY_NOTIFY_H

#include <stdint.h>

/* "READY=1", "RELOADING=1", "STOPPING=1", … */
void notify_send(const char *state);
/* Within which time it wants each "WATCHDOG=1"; 0: it does not. */
uint64_t notify_watchdog_ms(void);

#endif
