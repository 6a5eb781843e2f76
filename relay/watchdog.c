#include "relay/watchdog.h"

#include "base/clock.h"
#include "base/log.h"
#include "relay/handover.h"
#include "relay/limits.h"
#include "relay/notify.h"

/* Signs in the time that is allowed. */
#define SIGNS 4

void
watchdog_begin(struct watchdog *watchdog)
{
	uint64_t managed_ms = notify_watchdog_ms();
	uint64_t allowed_ms = managed_ms > 0 ? managed_ms : WORKER_HANGS_MS;

	*watchdog = (struct watchdog){.is_managed = managed_ms > 0,
				      .every_ms = allowed_ms / SIGNS,
				      .due_ms = clock_now_ms()};
}

bool
watchdog_is_due(struct watchdog *watchdog)
{
	uint64_t now_ms = clock_now_ms();

	if (now_ms < watchdog->due_ms)
		return false;
	watchdog->due_ms = now_ms + watchdog->every_ms;
	return true;
}

void
watchdog_forget(struct watchdog *watchdog)
{
	watchdog->answered = watchdog->asked;
	watchdog->late = 0;
}

/* The answer is owed. */
static bool
may_be_late(struct watchdog *watchdog)
{
	bool is_over;

	watchdog->late++;
	is_over = !watchdog->is_managed && watchdog->late >= SIGNS;
	log_note(LOG_LEVEL_ERROR, "watchdog",
		 is_over ? "a thread of the service hangs: it has not answered "
			   "for %llu s, and its process is replaced"
			 : "a thread of the service hangs, or is slow: it has "
			   "not answered for %llu s",
		 (unsigned long long)(watchdog->late * watchdog->every_ms /
				      SECOND));
	return !is_over;
}

bool
watchdog_turn(struct watchdog *watchdog, int worker)
{
	struct fault fault = {0};

	if (worker < 0)
		watchdog_forget(watchdog);
	if (watchdog->answered != watchdog->asked)
		return may_be_late(watchdog);
	/* What cannot be asked is not answered either; it is asked again. */
	if (worker >= 0 && !handover_send(worker, HANDOVER_ASK,
					  watchdog->asked + 1, SLICE_NONE,
					  &fault)) {
		log_note(LOG_LEVEL_ERROR, "watchdog", "%s", fault.text);
		return may_be_late(watchdog);
	}
	watchdog->asked += worker >= 0;
	watchdog->late = 0;
	if (watchdog->is_managed)
		notify_send("WATCHDOG=1");
	return true;
}

void
watchdog_pass(struct watchdog *watchdog)
{
	if (watchdog->is_managed && watchdog_is_due(watchdog))
		notify_send("WATCHDOG=1");
}

void
watchdog_answered(struct watchdog *watchdog, uint64_t serial)
{
	/* A worker before this one may have said the last word. */
	if (serial != watchdog->asked)
		return;
	watchdog->answered = serial;
	/* The next sign may be due after the manager's patience ends. */
	if (watchdog->is_managed && watchdog->late > 0)
		watchdog->due_ms = 0;
}
