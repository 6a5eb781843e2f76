/*
 * watchdog - whether the worker goes on, and signs of life to the service
 * manager (WatchdogSec=, sd_notify(3)) for as long as it does.
 *
 * The worker is asked a few times in the time that the manager allows, and
 * answers when each of its threads that serves goes on (pulse.h; the milter's:
 * milter/sessions.h). Nothing is said while an answer is owed; the manager then
 * ends the service, and starts it again. Where no manager waits for signs, a
 * worker that has owed the answer for WORKER_HANGS_MS is replaced; what counts is
 * how often it was asked, so that a machine that stood still has missed one.
 */
#ifndef RELAY_WATCHDOG_H
#define RELAY_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct watchdog {
	bool is_managed;   /* the manager waits for signs */
	uint64_t every_ms;
	uint64_t due_ms; /* the next sign */
	uint64_t asked, answered;
	unsigned late; /* signs that were due before the answer, in a row */
};

/* As the manager has told in the environment. */
void watchdog_begin(struct watchdog *watchdog);
/* True once each time that a sign is due. */
bool watchdog_is_due(struct watchdog *watchdog);
/* Then: asks the worker, and gives a sign unless the last answer is owed. -1:
 * there is none, or none that is ready, and that is known. False: it hangs, and
 * nobody else will replace it. */
bool watchdog_turn(struct watchdog *watchdog, int worker) MUST_USE;
/* In between, where something takes long and nobody is heard meanwhile: gives a
 * sign when it is due, whatever is owed. */
void watchdog_pass(struct watchdog *watchdog);
/* There is another worker: it owes nothing. */
void watchdog_forget(struct watchdog *watchdog);
/* The worker's HANDOVER_ALIVE. */
void watchdog_answered(struct watchdog *watchdog, uint64_t serial);

#endif
