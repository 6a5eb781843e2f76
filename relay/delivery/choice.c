#include "relay/delivery/choice.h"

static_assert(MX_ADDRESSES_MAX <= 64, "a bit for each");

static uint64_t
bit_of(const struct choice *choice, const struct host *host)
{
	return 1ull << (host - choice->hosts->items);
}

static bool
host_is_v6(const struct host *host)
{
	return host->address.any.sa_family == AF_INET6;
}

static bool
is_tried(const struct choice *choice, const struct host *host)
{
	return (choice->tried & bit_of(choice, host)) != 0;
}

/* Not tried, and likely to answer: each of many messages would wait for it. */
static bool
is_promising(const struct choice *choice, const struct host *host)
{
	return !is_tried(choice, host) &&
	       !host_is_before(&host->failed_until_ms);
}

static bool
has_v4_beside(const struct choice *choice, const struct host *host)
{
	const struct hosts *hosts = choice->hosts;

	for (size_t i = 0; i < hosts->count; i++)
		if (!host_is_v6(&hosts->items[i]) &&
		    hosts->items[i].preference == host->preference &&
		    is_promising(choice, &hosts->items[i]))
			return true;
	return false;
}

/* Whether to wait for it less: something else may well be quicker. */
static bool
has_quicker(const struct choice *choice, const struct host *host,
	    bool puts_v6_off)
{
	const struct hosts *hosts = choice->hosts;

	for (size_t i = 0; i < hosts->count; i++) {
		const struct host *other = &hosts->items[i];

		if (puts_v6_off && host_is_v6(other))
			continue;
		if (is_promising(choice, other) &&
		    (other->preference == host->preference ||
		     (host_is_v6(host) && !host_is_v6(other))))
			return true;
	}
	return false;
}

/* NULL: none that is, or is not, promising. */
static struct host *
next_untried(const struct choice *choice, bool is_promising_one,
	     bool puts_v6_off)
{
	struct hosts *hosts = choice->hosts;

	for (size_t i = 0; i < hosts->count; i++) {
		struct host *host = &hosts->items[hosts_in_turn(
			hosts, choice->turn, i)];

		if (is_tried(choice, host) ||
		    (is_promising_one && !is_promising(choice, host)))
			continue;
		if (puts_v6_off && host_is_v6(host) &&
		    has_v4_beside(choice, host))
			continue;
		return host;
	}
	return NULL;
}

static struct host *
next_again(struct choice *choice)
{
	for (size_t i = 0; i < choice->hosts->count; i++) {
		struct host *host = &choice->hosts->items[hosts_in_turn(
			choice->hosts, choice->turn, i)];

		if ((choice->again & bit_of(choice, host)) == 0)
			continue;
		choice->again &= ~bit_of(choice, host);
		return host;
	}
	return NULL;
}

struct host *
choice_next(struct choice *choice, bool puts_v6_off, bool *is_hurried_out)
{
	struct host *host = next_untried(choice, true, puts_v6_off);

	*is_hurried_out = false;
	if (host == NULL)
		host = next_untried(choice, false, puts_v6_off);
	if (host == NULL)
		return next_again(choice);
	choice_take(choice, host);
	*is_hurried_out = has_quicker(choice, host, puts_v6_off);
	return host;
}

void
choice_again(struct choice *choice, const struct host *host)
{
	choice->again |= bit_of(choice, host);
}

void
choice_lacks(struct choice *choice, const struct host *host)
{
	choice->lacking |= bit_of(choice, host);
	choice_again(choice, host);
}

void
choice_next_message(struct choice *choice)
{
	choice->lacking = 0;
}

bool
choice_has_better(const struct choice *choice, const struct host *host)
{
	const struct host *items = choice->hosts->items;
	unsigned best = host->preference;

	for (size_t i = 0; i < choice->hosts->count; i++)
		if ((choice->lacking & bit_of(choice, &items[i])) != 0 &&
		    items[i].preference < best)
			best = items[i].preference;
	return items[0].preference < best;
}

void
choice_take(struct choice *choice, const struct host *host)
{
	choice->tried |= bit_of(choice, host);
}

bool
choice_has_other(const struct choice *choice)
{
	for (size_t i = 0; i < choice->hosts->count; i++)
		if (is_promising(choice, &choice->hosts->items[i]))
			return true;
	return false;
}
