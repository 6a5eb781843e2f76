/*
 * What scripted.c (the connection's side: store, conversion, owner) and
 * scripted_host.c (the hosts, each on a thread of its own) share. For them only.
 */
#ifndef TESTS_UNIT_RELAY_DELIVERY_SCRIPTED_PRIVATE_H
#define TESTS_UNIT_RELAY_DELIVERY_SCRIPTED_PRIVATE_H

#include "tests/unit/relay/delivery/scripted.h"

/* Those of the connection that the hosts talk to now. */
extern struct owner *the_owner;
extern struct site *the_site;
extern struct run *the_run;

/* --- scripted.c --- */

/* On a host's thread: until the loop has come to a new configuration, or to a
 * stop. */
void reload_await(void);

/* --- scripted_host.c --- */

/* Its address and name go into the host. */
void host_start(struct scripted *scripted, struct host *host);
void host_stop(struct scripted *scripted);

#endif
