#include "relay/watchdog.h"

#include "base/clock.h"
#include "base/log.h"
#include "relay/handover.h"
#include "relay/notify.h"

/* Signs in the time that the manager allows. */
#define SIGNS 4

void
watchdog_begin(struct watchdog *watchdog)
{
	uint64_t allowed_ms = notify_watchdog_ms();

	*watchdog = (struct watchdog){.every_ms = allowed_ms / SIGNS,
				      .due_ms = clock_now_ms()};
}

bool
watchdog_is_due(struct watchdog *watchdog)
{
	uint64_t now_ms = clock_now_ms();

	if (watchdog->every_ms == 0 || now_ms < watchdog->due_ms)
		return false;
	watchdog->due_ms = now_ms + watchdog->every_ms;
	return true;
}

void
watchdog_forget(struct watchdog *watchdog)
{
	watchdog->answered = watchdog->asked;
}

void
watchdog_turn(struct watchdog *watchdog, int worker)
{
	struct fault fault = {0};

	if (worker < 0)
		watchdog_forget(watchdog);
	watchdog->is_late = watchdog->answered != watchdog->asked;
	if (watchdog->is_late) {
		log_note(LOG_LEVEL_ERROR, "watchdog",
			 "a thread of the service hangs, or is slow: it has "
			 "not answered since the last sign of life");
		return;
	}
	notify_send("WATCHDOG=1");
	/* A message that cannot be sent is an answer that will be missed. */
	if (worker >= 0 && !handover_send(worker, HANDOVER_ASK,
					  ++watchdog->asked, SLICE_NONE,
					  &fault))
		log_note(LOG_LEVEL_ERROR, "watchdog", "%s", fault.text);
}

void
watchdog_answered(struct watchdog *watchdog, uint64_t serial)
{
	/* A worker before this one may have said the last word. */
	if (serial != watchdog->asked)
		return;
	watchdog->answered = serial;
	/* The next sign may be due after the manager's patience ends. */
	if (watchdog->is_late)
		watchdog->due_ms = 0;
}
