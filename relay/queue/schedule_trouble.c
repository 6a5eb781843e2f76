#include "base/clock.h"
#include "relay/queue/notify.h"
#include "relay/queue/retry.h"
#include "relay/queue/schedule_private.h"

void
trouble_note(struct destination_trouble *trouble,
	     const struct recipient_result *result)
{
	if (result->outcome != OUTCOME_DEFERRED) {
		trouble_end(trouble);
		return;
	}
	arena_done(&trouble->arena);
	trouble->result = (struct recipient_result){
		.outcome = OUTCOME_DEFERRED,
		.reply = arena_copy(&trouble->arena, result->reply),
		.status = arena_copy(&trouble->arena, result->status),
		.mx = arena_copy(&trouble->arena, result->mx),
		.address = arena_copy(&trouble->arena, result->address),
		.tls = arena_copy(&trouble->arena, result->tls),
	};
	trouble->is_noted = true;
}

void
trouble_end(struct destination_trouble *trouble)
{
	trouble->is_noted = false;
	trouble->probes = 0;
}

bool
trouble_count(struct destination_trouble *trouble)
{
	uint64_t now_ms = clock_now_ms();

	if (!trouble->is_noted)
		return false;
	trouble->is_noted = false;
	if (trouble->probes++ == 0)
		trouble->since_ms = now_ms;
	trouble->lasted_ms = now_ms - trouble->since_ms;
	trouble->at_ms = clock_wall_ms();
	return true;
}

bool
trouble_is_final(const struct destination_trouble *trouble,
		 const struct delivery *delivery,
		 const struct delivery_options *options)
{
	return trouble->probes > 0 &&
	       retry_is_over_unseen(delivery, options, trouble->probes,
				    trouble->lasted_ms, trouble->at_ms);
}

bool
trouble_settles(const struct destination_trouble *trouble,
		const struct delivery *delivery,
		const struct delivery_options *options)
{
	if (trouble->probes == 0 || delivery->is_held ||
	    trouble->at_ms < delivery->message->received_ms)
		return false;
	return trouble_is_final(trouble, delivery, options) ||
	       notify_delay_is_due(delivery, options,
				   retry_age_ms(delivery, options,
						retry_attempts(delivery),
						trouble->at_ms));
}
