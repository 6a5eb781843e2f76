/*
 * notify - tells the service manager how things stand (sd_notify(3)); built
 * without libsystemd it does nothing.
 */
#ifndef RELAY_NOTIFY_H
#define RELAY_NOTIFY_H

/* "READY=1", "RELOADING=1", "STOPPING=1", … */
void notify_send(const char *state);

#endif
