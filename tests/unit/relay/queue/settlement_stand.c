#include "tests/unit/relay/queue/settlement_stand.h"

#include <stdlib.h>

#include "relay/queue/settlement_private.h"

void
begin_reports(struct recipient_result (*wanted)(const struct delivery *delivery,
						size_t recipient),
	      unsigned failures)
{
	attempts_count = gone_count = 0;
	has_stopped = false;
	decide = wanted;
	signatures_wanted = 1;
	signing_failures = failures;
	run_loops();
}

bool
is_told(void)
{
	return fake_log_count("delivered ", "to=from@example.org") > 0;
}

atomic_uint failing_stores;
atomic_bool all_fail;

/* Of the settlement that found no room last. */
static struct alarm *_Atomic hasty_alarm;
uint64_t waits_ms[WAITS_MAX];
atomic_uint waits_count;

void __real_alarm_set(struct alarm *alarm, uint64_t delay_ms);
void __wrap_alarm_set(struct alarm *alarm, uint64_t delay_ms);

void
__wrap_alarm_set(struct alarm *alarm, uint64_t delay_ms)
{
	if (alarm == atomic_load(&hasty_alarm) && waits_count < WAITS_MAX) {
		waits_ms[waits_count] = delay_ms;
		atomic_fetch_add(&waits_count, 1);
		delay_ms = 1;
	}
	__real_alarm_set(alarm, delay_ms);
}

struct no_room {
	struct post post;
	struct store_settle *settle;
};

static void
no_room_tell(struct post *post)
{
	struct no_room *no_room = CONTAINER(post, struct no_room, post);
	struct store_settle *settle = no_room->settle;
	struct fault fault = {FAULT_LIMIT, 0, "no room"};

	free(no_room);
	settle->done(settle, &fault);
}

void __real_store_settle(struct store *to, struct store_settle *settle);
void __wrap_store_settle(struct store *to, struct store_settle *settle);

void
__wrap_store_settle(struct store *to, struct store_settle *settle)
{
	struct no_room *no_room;

	if (failing_stores == 0 || (settle->reports_count == 0 && !all_fail)) {
		__real_store_settle(to, settle);
		return;
	}
	atomic_fetch_sub(&failing_stores, 1);
	no_room = memory_new(sizeof(*no_room));
	no_room->settle = settle;
	atomic_store(&hasty_alarm,
		     &((struct settlement *)settle->private)->alarm);
	loop_post(settle->loop, &no_room->post, no_room_tell);
}
