#include "milter/senders.h"

#include <stdlib.h>

/* ---- patterns ---- */

/* As a glob whose only sign is "*". Goes back to the last one only: at most
 * pattern times text steps. */
static bool
glob_matches(struct slice pattern, struct slice text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, since = 0;

	while (t < text.len) {
		if (p < pattern.len && pattern.bytes[p] == '*') {
			star = p++;
			since = t;
		} else if (p < pattern.len &&
			   ascii_lower(pattern.bytes[p]) ==
				   ascii_lower(text.bytes[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++since;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.bytes[p] == '*')
		p++;
	return p == pattern.len;
}

static struct slice
local_of(struct slice address)
{
	return slice_sub(address, 0, (size_t)slice_find_last(address, '@'));
}

static struct slice
domain_of(struct slice address)
{
	return slice_from(address, (size_t)slice_find_last(address, '@') + 1);
}

bool
senders_pattern_matches(struct slice pattern, struct slice local,
			struct slice domain)
{
	return slice_find(pattern, '@') >= 0 &&
	       glob_matches(local_of(pattern), local) &&
	       glob_matches(domain_of(pattern), domain);
}

bool
senders_any_matches(const struct slice *patterns, size_t count,
		    struct slice local, struct slice domain)
{
	for (size_t i = 0; i < count; i++)
		if (senders_pattern_matches(patterns[i], local, domain))
			return true;
	return false;
}

bool
senders_is_within(struct slice name, struct slice domain)
{
	return slice_eq_nocase(name, domain) ||
	       (name.len > domain.len + 1 &&
		name.bytes[name.len - domain.len - 1] == '.' &&
		slice_ends_nocase(name, domain));
}

/* ---- making them ---- */

static const struct keyring_selector *
selector_find(const struct keyring_domain *section, struct slice name)
{
	for (size_t i = 0; i < section->selectors_count; i++)
		if (slice_eq_nocase(section->selectors[i].name, name))
			return &section->selectors[i];
	return NULL;
}

/* The configuration's check sees to it that there are such. */
static void
targets_make(const struct sender_options *options,
	     const struct keyring *keyring, struct arena *arena,
	     struct sender *sender)
{
	struct sender_target *targets =
		arena_array(arena, options->sign_count, sizeof(*targets));
	size_t count = 0;

	for (size_t i = 0; i < options->sign_count; i++) {
		const struct sender_sign *sign = &options->sign[i];
		const struct keyring_domain *section =
			keyring_named(keyring, sign->domain);
		const struct keyring_selector *selector = NULL;

		if (section != NULL && sign->selector.len > 0)
			selector = selector_find(section, sign->selector);
		if (section != NULL &&
		    (selector != NULL || sign->selector.len == 0))
			targets[count++] =
				(struct sender_target){section, selector};
	}
	sender->targets = targets;
	sender->targets_count = count;
}

static int
domains_compare(struct slice a, struct slice b)
{
	size_t common = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < common; i++) {
		int x = (unsigned char)ascii_lower(a.bytes[i]);
		int y = (unsigned char)ascii_lower(b.bytes[i]);

		if (x != y)
			return x - y;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

static int
sender_compare(const void *a, const void *b)
{
	const struct sender *const *left = a, *const *right = b;
	int order = domains_compare(domain_of((*left)->pattern),
				    domain_of((*right)->pattern));

	if (order != 0)
		return order;
	return (*left)->number < (*right)->number ? -1 : 1;
}

void
senders_make(const struct signing_options *options,
	     const struct keyring *keyring, struct arena *arena,
	     struct senders *senders_out)
{
	size_t count = options->senders_count;
	struct sender *senders = arena_array(arena, count, sizeof(*senders));
	struct senders made = {.senders = senders, .count = count};

	made.exact = arena_array(arena, count, sizeof(*made.exact));
	made.open = arena_array(arena, count, sizeof(*made.open));
	for (size_t i = 0; i < count; i++) {
		const struct sender_options *from = &options->senders[i];
		struct sender *sender = &senders[i];

		sender->pattern = arena_copy(arena, from->pattern);
		sender->identity = arena_copy(arena, from->identity);
		sender->number = i;
		sender->line = from->line;
		if (from->file != NULL)
			sender->file =
				arena_copy(arena, SLICE(from->file)).bytes;
		targets_make(from, keyring, arena, sender);
		if (slice_find(domain_of(sender->pattern), '*') >= 0)
			made.open[made.open_count++] = sender;
		else
			made.exact[made.exact_count++] = sender;
	}
	if (made.exact_count > 1)
		qsort(made.exact, made.exact_count, sizeof(*made.exact),
		      sender_compare);
	*senders_out = made;
}

/* ---- looking up ---- */

/* The first of that domain that is not before `number`. */
static size_t
exact_find(const struct senders *senders, struct slice domain, size_t number)
{
	size_t low = 0, high = senders->exact_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct sender *sender = senders->exact[middle];
		int order = domains_compare(domain_of(sender->pattern), domain);

		if (order < 0 || (order == 0 && sender->number < number))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct sender *
exact_next(const struct senders *senders, struct slice local,
	   struct slice domain, size_t number)
{
	for (size_t i = exact_find(senders, domain, number);
	     i < senders->exact_count; i++) {
		const struct sender *sender = senders->exact[i];

		if (!slice_eq_nocase(domain_of(sender->pattern), domain))
			return NULL;
		if (glob_matches(local_of(sender->pattern), local))
			return sender;
	}
	return NULL;
}

const struct sender *
senders_next(const struct senders *senders, struct slice local,
	     struct slice domain, const struct sender *last)
{
	size_t number = last == NULL ? 0 : last->number + 1;
	const struct sender *exact = exact_next(senders, local, domain, number);

	for (size_t i = 0; i < senders->open_count; i++) {
		const struct sender *open = senders->open[i];

		if (exact != NULL && exact->number < open->number)
			break;
		if (open->number >= number &&
		    senders_pattern_matches(open->pattern, local, domain))
			return open;
	}
	return exact;
}

struct slice
senders_identity(const struct sender *sender, struct slice author_domain,
		 struct slice domain, struct arena *arena)
{
	struct slice identity = sender->identity, name;

	if (identity.len == 0)
		return SLICE_NONE;
	name = domain_of(identity);
	if (slice_eq(name, SLICE("*"))) {
		name = author_domain;
		identity = arena_printf(arena, "%.*s@%.*s",
					SLICE_ARG(local_of(identity)),
					SLICE_ARG(author_domain));
	}
	return senders_is_within(name, domain) ? identity : SLICE_NONE;
}
