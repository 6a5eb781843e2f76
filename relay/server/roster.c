#include "relay/server/roster.h"

#include <stdlib.h>

/* So few are found without a table. */
#define SMALL 8
#define SLOTS_FIRST 32
#define PROBES_MAX 32

static struct slice
local_of(const struct recipient *recipient)
{
	ptrdiff_t at = slice_find_last(recipient->address, '@');

	return slice_sub(recipient->address, 0, at < 0 ? 0 : (size_t)at);
}

static bool
is_same(const struct recipient *a, const struct recipient *b)
{
	return slice_eq(local_of(a), local_of(b)) &&
	       slice_eq(a->destination, b->destination) &&
	       a->notify == b->notify && slice_eq(a->orcpt, b->orcpt);
}

static size_t
place_of(const struct roster *roster, const struct recipient *recipient,
	 size_t probe)
{
	uint64_t hash = slice_hash(local_of(recipient)) * 31 +
			slice_hash(recipient->destination);

	return (size_t)(hash + probe) & (roster->size - 1);
}

bool
roster_has(const struct roster *roster, const struct message *message,
	   const struct recipient *recipient)
{
	for (size_t i = 0; roster->size == 0 && i < message->recipients_count;
	     i++)
		if (is_same(&message->recipients[i], recipient))
			return true;
	for (size_t i = 0; roster->size > 0 && i < PROBES_MAX; i++) {
		uint32_t slot = roster->slots[place_of(roster, recipient, i)];

		if (slot == 0)
			return false;
		if (is_same(&message->recipients[slot - 1], recipient))
			return true;
	}
	return false;
}

static void
insert(struct roster *roster, const struct message *message, size_t index)
{
	for (size_t i = 0; i < PROBES_MAX; i++) {
		uint32_t *slot = &roster->slots[place_of(
			roster, &message->recipients[index], i)];

		if (*slot == 0) {
			*slot = (uint32_t)index + 1;
			return;
		}
	}
}

void
roster_note(struct roster *roster, const struct message *message)
{
	size_t count = message->recipients_count, first = count - 1;

	ASSERT(count > 0);
	if (count <= SMALL)
		return;
	if (count * 2 > roster->size) {
		free(roster->slots);
		roster->size = roster->size == 0 ? SLOTS_FIRST
						 : roster->size * 2;
		roster->slots = memory_array(roster->size,
					     sizeof(*roster->slots));
		first = 0;
	}
	for (size_t i = first; i < count; i++)
		insert(roster, message, i);
}

void
roster_done(struct roster *roster)
{
	free(roster->slots);
	*roster = (struct roster){0};
}
