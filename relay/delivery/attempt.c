#include <stdlib.h>

#include "relay/delivery/attempt.h"

struct attempt *
attempt_new(struct delivery *delivery)
{
	struct attempt *attempt = memory_new(sizeof(*attempt));
	size_t count = delivery->recipients_count;

	ASSERT(count > 0);
	list_init(&attempt->link);
	attempt->delivery = delivery;
	attempt->results = arena_array(&attempt->arena, count,
				       sizeof(*attempt->results));
	attempt->accepted = arena_array(&attempt->arena, count,
					sizeof(*attempt->accepted));
	return attempt;
}

void
attempt_free(struct attempt *attempt)
{
	arena_done(&attempt->arena);
	free(attempt);
}

bool
attempt_is_complete(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (attempt->results[i].outcome == OUTCOME_NONE)
			return false;
	return true;
}

bool
attempt_has_begun(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (attempt->results[i].outcome != OUTCOME_NONE)
			return true;
	return false;
}

bool
attempt_has_deferred(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (attempt->results[i].outcome == OUTCOME_DEFERRED)
			return true;
	return false;
}

static bool
is_final(const struct recipient_result *result)
{
	return result->outcome == OUTCOME_DELIVERED ||
	       result->outcome == OUTCOME_FAILED;
}

bool
attempt_has_final(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (is_final(&attempt->results[i]))
			return true;
	return false;
}

struct recipient_result *
attempt_final_results(const struct attempt *attempt)
{
	size_t count = attempt->delivery->recipients_count;
	struct recipient_result *results = memory_array(count,
							sizeof(*results));

	for (size_t i = 0; i < count; i++)
		if (is_final(&attempt->results[i]))
			results[i] = attempt->results[i];
	return results;
}

void
attempt_drop_final(struct attempt *attempt)
{
	size_t left = 0;

	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		if (!is_final(&attempt->results[i]))
			attempt->results[left++] = attempt->results[i];
	ASSERT(left > 0);
}

void
attempt_set(struct attempt *attempt, size_t i,
	    const struct recipient_result *like)
{
	struct recipient_result *result = &attempt->results[i];

	ASSERT(i < attempt->delivery->recipients_count);
	ASSERT(like->outcome != OUTCOME_NONE);
	result->outcome = like->outcome;
	result->reply = arena_copy(&attempt->arena, like->reply);
	result->status = arena_copy(&attempt->arena, like->status);
	result->mx = arena_copy(&attempt->arena, like->mx);
	result->address = arena_copy(&attempt->arena, like->address);
	result->tls = arena_copy(&attempt->arena, like->tls);
	result->certificate = arena_copy(&attempt->arena, like->certificate);
	result->left_out = arena_copy(&attempt->arena, like->left_out);
	result->is_resumed = like->is_resumed;
	result->dsn_passed_on = like->dsn_passed_on;
	result->is_damage = like->is_damage;
	result->changes = like->changes != NULL
				  ? changes_copy(&attempt->arena, like->changes)
				  : NULL;
}

void
attempt_fill(struct attempt *attempt, const struct recipient_result *like)
{
	const struct recipient_result *first = NULL;

	for (size_t i = 0; i < attempt->delivery->recipients_count; i++) {
		if (attempt->results[i].outcome != OUTCOME_NONE)
			continue;
		if (first == NULL) {
			attempt_set(attempt, i, like);
			first = &attempt->results[i];
		} else {
			attempt->results[i] = *first;
		}
	}
}
