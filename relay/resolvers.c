#include "relay/resolvers.h"

#include "base/clock.h"
#include "relay/machine.h"

static void
resolvers_add(struct resolvers *resolvers, struct slice host)
{
	if (resolvers->count < COUNT(resolvers->items))
		resolvers->count += address_parse_host(
			host, 53, &resolvers->items[resolvers->count]);
}

void
resolvers_of(struct slice resolv_conf, struct resolvers *out)
{
	struct slice host;

	*out = (struct resolvers){.count = 0};
	while (machine_next_resolver(&resolv_conf, &host))
		resolvers_add(out, host);
}

void
resolvers_parse(struct slice text, struct resolvers *out)
{
	struct slice host;

	*out = (struct resolvers){.count = 0};
	while (slice_split(&text, ' ', &host))
		resolvers_add(out, host);
}

void
resolvers_write(const struct resolvers *resolvers, struct text *out)
{
	char host[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < resolvers->count; i++) {
		address_write_host(&resolvers->items[i], host);
		text_addf(out, "%s%s", i > 0 ? " " : "", host);
	}
}

static bool
resolvers_eq(const struct resolvers *a, const struct resolvers *b)
{
	for (size_t i = 0; i < a->count && i < b->count; i++)
		if (!address_eq(&a->items[i], &b->items[i]))
			return false;
	return a->count == b->count;
}

void
resolvers_watch_begin(struct resolvers_watch *watch,
		      const struct options *options)
{
	struct resolvers *asked = &watch->asked;

	watch->follows = options->dns.are_machines;
	watch->due_ms = 0;
	asked->count = 0;
	while (asked->count < COUNT(asked->items) &&
	       asked->count < options->dns.resolvers_count) {
		asked->items[asked->count] =
			options->dns.resolvers[asked->count];
		asked->count++;
	}
}

bool
resolvers_watch_finds(struct resolvers_watch *watch,
		      struct resolvers *others_out)
{
	CLEAN(text_done) struct text file = {0};
	uint64_t now_ms = clock_now_ms();
	struct resolvers found;

	if (!watch->follows || now_ms < watch->due_ms)
		return false;
	watch->due_ms = now_ms + RESOLVERS_LOOK_MS;
	machine_resolv_conf(&file);
	resolvers_of(text_slice(&file), &found);
	if (found.count == 0 || resolvers_eq(&found, &watch->asked))
		return false;
	*others_out = found;
	return true;
}
