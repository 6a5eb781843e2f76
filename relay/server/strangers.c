#include "relay/server/strangers.h"

#include "relay/limits.h"

bool
strangers_enter(struct strangers *strangers, uint64_t max_sessions)
{
	size_t count = atomic_load(&strangers->count);

	do {
		if (count >= SESSIONS_OF_STRANGERS(max_sessions))
			return false;
	} while (!atomic_compare_exchange_weak(&strangers->count, &count,
					       count + 1));
	return true;
}

void
strangers_join(struct strangers *strangers)
{
	atomic_fetch_add(&strangers->count, 1);
}

void
strangers_leave(struct strangers *strangers)
{
	ASSERT(atomic_fetch_sub(&strangers->count, 1) > 0);
}

bool
strangers_have_place(const struct strangers *strangers, uint64_t max_sessions)
{
	return atomic_load(&strangers->count) <
	       SESSIONS_OF_STRANGERS(max_sessions);
}

bool
strangers_are_many(const struct strangers *strangers, uint64_t everybody,
		   uint64_t max_sessions)
{
	uint64_t count = atomic_load(&strangers->count);
	/* Neither is read together with the other, nor with the option. */
	uint64_t others = everybody > count ? everybody - count : 0;
	uint64_t places = max_sessions > others ? max_sessions - others : 0;

	if (places > SESSIONS_OF_STRANGERS(max_sessions))
		places = SESSIONS_OF_STRANGERS(max_sessions);
	return count > places / 2;
}
