#include "relay/delivery/exchangers.h"

#include <stdlib.h>
#include <sys/random.h>

#define LOTS_AT_ONCE 32 /* getrandom(2) gives 256 octets without fail */
static_assert(DNS_RECORDS_MAX % LOTS_AT_ONCE == 0, "whole draws");

/* A record that has drawn its place among those of equal preference. */
struct drawn {
	const struct dns_record *record;
	uint64_t lot;
};

static int
drawn_compare(const void *a, const void *b)
{
	const struct drawn *left = a, *right = b;
	uint16_t x = left->record->preference, y = right->record->preference;

	if (x != y)
		return x < y ? -1 : 1;
	return (left->lot > right->lot) - (left->lot < right->lot);
}

static bool
name_is_localhost(struct slice name)
{
	return slice_eq_nocase(name, SLICE("localhost")) ||
	       slice_ends_nocase(name, SLICE(".localhost")); /* RFC 6761 6.3 */
}

static bool
exchangers_have(const struct exchangers *exchangers, struct slice name)
{
	for (size_t i = 0; i < exchangers->count; i++)
		if (slice_eq_nocase(exchangers->items[i].name, name))
			return true;
	return false;
}

static void
exchangers_add(struct exchangers *exchangers, const struct dns_record *record)
{
	if (record->name.len == 0)
		return; /* a null MX among others means nothing */
	if (name_is_localhost(record->name)) {
		exchangers->no_host = record->name;
		return;
	}
	if (exchangers_have(exchangers, record->name))
		return;
	if (exchangers->count == MX_HOSTS_MAX) {
		exchangers->left_over++;
		return;
	}
	exchangers->items[exchangers->count++] =
		(struct exchanger){record->name, record->preference};
}

void
exchangers_take(struct exchangers *exchangers, const struct dns_record *records,
		size_t count)
{
	struct drawn drawn[DNS_RECORDS_MAX];
	uint64_t lots[DNS_RECORDS_MAX];

	ASSERT(count <= DNS_RECORDS_MAX);
	*exchangers = (struct exchangers){.is_null = count > 0};
	for (size_t i = 0; i < count; i += LOTS_AT_ONCE)
		ASSERT(getrandom(&lots[i], LOTS_AT_ONCE * sizeof(*lots), 0) ==
		       LOTS_AT_ONCE * sizeof(*lots));
	for (size_t i = 0; i < count; i++) {
		drawn[i] = (struct drawn){&records[i], lots[i]};
		exchangers->is_null &= records[i].name.len == 0;
	}
	if (count > 0)
		qsort(drawn, count, sizeof(*drawn), drawn_compare);
	for (size_t i = 0; i < count; i++)
		exchangers_add(exchangers, drawn[i].record);
}
