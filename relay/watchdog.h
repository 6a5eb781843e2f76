/*
 * watchdog - signs of life to the service manager (WatchdogSec=, sd_notify(3)),
 * for as long as the worker gives its own.
 *
 * The worker is asked a few times in the time that the manager allows, and
 * answers when each of its threads that serves goes on (pulse.h; the milter's:
 * milter/sessions.h). Nothing is said while an answer is owed; the manager then
 * ends the service, and starts it again.
 */
#ifndef RELAY_WATCHDOG_H
#define RELAY_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

struct watchdog {
	uint64_t every_ms; /* 0: the manager waits for nothing */
	uint64_t due_ms;   /* the next sign */
	uint64_t asked, answered;
	bool is_late; /* a sign was due before the answer */
};

/* As the manager has told in the environment. */
void watchdog_begin(struct watchdog *watchdog);
/* True once each time that a sign is due. */
bool watchdog_is_due(struct watchdog *watchdog);
/* Then: asks the worker, and gives a sign unless the last answer is owed. -1:
 * there is none, or none that is ready, and that is known. */
void watchdog_turn(struct watchdog *watchdog, int worker);
/* There is another worker: it owes nothing. */
void watchdog_forget(struct watchdog *watchdog);
/* The worker's HANDOVER_ALIVE. */
void watchdog_answered(struct watchdog *watchdog, uint64_t serial);

#endif
