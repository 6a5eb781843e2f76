/*
 * signer_worker - the threads that sign, and the clients that they serve.
 *
 * Every thread waits for every client. Whoever is woken takes a few requests
 * of one client, lets the next thread have that client, and signs.
 */
#ifndef KEYS_SIGNER_WORKER_H
#define KEYS_SIGNER_WORKER_H

#include "base/fault.h"

#define SIGNER_CLIENTS_MAX 1024

/* One thread per core that we may run on; returns once all have run. */
bool workers_start(struct fault *fault) MUST_USE;
size_t workers_count(void);
/* For how many calls of this in a row one of them, the worst, has been at the
 * same request; one thread's to call. */
unsigned workers_stuck(void);
/* How many are served. */
size_t workers_clients(void);
/* Takes the descriptor where it succeeds. */
bool workers_attach(int descriptor, struct fault *fault) MUST_USE;

#endif
