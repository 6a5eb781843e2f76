#include "relay/queue/quota.h"

#include "base/check.h"

static bool
fits(uint64_t used, uint64_t more, uint64_t max)
{
	return max == 0 || (used <= max && more <= max - used);
}

bool
quota_may_reserve(const struct quota *quota, uint64_t bytes)
{
	return fits(atomic_load(&quota->incoming), bytes > 0 ? bytes : 1,
		    atomic_load(&quota->incoming_max));
}

static bool
is_fair(uint64_t has, uint64_t own, uint64_t used, uint64_t more, uint64_t max)
{
	/* Where there is no room at all, that is what is lacking. */
	if (max == 0 || has <= own || !fits(used, more, max))
		return true;
	return (has + more) / QUOTA_FAIR <= max - used - more;
}

bool
quota_is_fair(const struct quota *quota, const struct quota_part *part,
	      uint64_t own, uint64_t bytes)
{
	return is_fair(atomic_load(&part->incoming), own,
		       atomic_load(&quota->incoming), bytes,
		       atomic_load(&quota->incoming_max));
}

static bool
take(atomic_uint_fast64_t *counter, uint64_t bytes, uint64_t max)
{
	uint_fast64_t used = atomic_load(counter);

	do {
		if (!fits(used, bytes, max))
			return false;
	} while (!atomic_compare_exchange_weak(counter, &used, used + bytes));
	return true;
}

bool
quota_reserve(struct quota *quota, uint64_t bytes)
{
	return take(&quota->incoming, bytes,
		    atomic_load(&quota->incoming_max));
}

void
quota_release(struct quota *quota, uint64_t bytes)
{
	ASSERT(atomic_fetch_sub(&quota->incoming, bytes) >= bytes);
}

bool
quota_is_pressed(const struct quota *quota)
{
	uint64_t max = atomic_load(&quota->incoming_max);

	return max > 0 && atomic_load(&quota->incoming) > max / 2;
}

bool
quota_may_hold(const struct quota *quota, uint64_t bytes)
{
	return fits(atomic_load(&quota->held), bytes,
		    atomic_load(&quota->held_max));
}

bool
quota_is_fair_to_hold(const struct quota *quota, const struct quota_part *part,
		      uint64_t own, uint64_t bytes)
{
	return is_fair(atomic_load(&part->held), own,
		       atomic_load(&quota->held), bytes,
		       atomic_load(&quota->held_max));
}

bool
quota_hold(struct quota *quota, uint64_t bytes)
{
	return take(&quota->held, bytes, atomic_load(&quota->held_max));
}

void
quota_let_go(struct quota *quota, uint64_t bytes)
{
	ASSERT(atomic_fetch_sub(&quota->held, bytes) >= bytes);
}

bool
quota_has_place(const struct quota *quota, uint64_t stored_messages,
		uint64_t stored_bytes, uint64_t bytes)
{
	return fits(stored_messages + atomic_load(&quota->messages), 1,
		    atomic_load(&quota->messages_max)) &&
	       fits(stored_bytes + atomic_load(&quota->bytes), bytes,
		    atomic_load(&quota->bytes_max));
}

void
quota_enter(struct quota *quota, uint64_t bytes)
{
	atomic_fetch_add(&quota->messages, 1);
	atomic_fetch_add(&quota->bytes, bytes);
}

void
quota_leave(struct quota *quota, uint64_t bytes)
{
	ASSERT(atomic_fetch_sub(&quota->messages, 1) >= 1);
	ASSERT(atomic_fetch_sub(&quota->bytes, bytes) >= bytes);
}
