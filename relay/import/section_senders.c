#include "relay/import/section_senders.h"

#include <stdlib.h>

#include "milter/senders.h"
#include "relay/import/glob.h"

struct maker {
	const struct signing_rules *rules;
	struct sections *sections;
	struct arena *arena;
	struct report *report;
	struct section_sender *senders;
	size_t count;
};

static void
sections_empty(struct sections *sections)
{
	for (size_t i = 0; i < sections->count; i++) {
		struct section *section = &sections->sections[i];

		section->subdomains = false;
		section->identity = SLICE_NONE;
		section->selectors_count = 0;
		section->also_sign_count = 0;
	}
}

/* ---- i= ---- */

/* OpenDKIM writes the author's domain for each "%". Here "*" stands for it, as
 * all of what is behind the "@". */
static struct slice
identity_resolve(struct maker *maker, const struct signing_rule *rule)
{
	struct slice identity = rule->identity, local;
	ptrdiff_t at = slice_find_last(identity, '@');

	if (slice_find(identity, '%') < 0 || at < 0)
		return identity;
	if (glob_is_literal(rule->domain))
		return sections_percent(identity, rule->domain, maker->arena);
	local = slice_sub(identity, 0, (size_t)at);
	if (slice_eq(slice_from(identity, (size_t)at + 1), SLICE("%")) &&
	    slice_find(local, '%') < 0)
		return arena_printf(maker->arena, "%.*s@*", SLICE_ARG(local));
	report_decisive(maker->report, rule->place,
			"i=%.*s is another one for each author; left out",
			SLICE_ARG(identity));
	return SLICE_NONE;
}

/* OpenDKIM leaves out an i= that is not within d=; and "@d" is what no i= says
 * as well. */
static struct slice
identity_of(struct maker *maker, const struct signing_rule *rule,
	    const struct section *holder)
{
	struct slice identity = identity_resolve(maker, rule), domain;
	ptrdiff_t at = slice_find_last(identity, '@');
	bool is_any = slice_eq(holder->name, SLICE("*"));

	if (at < 0)
		return SLICE_NONE;
	domain = slice_from(identity, (size_t)at + 1);
	if (at == 0 && slice_eq_nocase(domain, holder->name))
		return SLICE_NONE;
	return is_any || slice_eq(domain, SLICE("*")) ||
			       senders_is_within(domain, holder->name)
		       ? identity
		       : SLICE_NONE;
}

/* ---- one for each rule ---- */

static void
sender_add(struct maker *maker, const struct signing_rule *rule)
{
	struct slice name = rule->signs_as;
	struct section_sender sender = {.place = rule->place};
	struct section_selector *selector;
	struct section *holder;

	if (rule->local.len == 0)
		return; /* matches nobody who has an address */
	if (slice_eq(name, SLICE("%")))
		name = glob_is_literal(rule->domain) ? rule->domain
						     : SLICE("*");
	holder = sections_named(maker->sections, name);
	ASSERT(holder != NULL);
	sender.pattern =
		arena_printf(maker->arena, "%.*s@%.*s", SLICE_ARG(rule->local),
			     SLICE_ARG(rule->domain));
	selector = sections_selector(holder, rule, maker->arena, maker->report);
	if (selector != NULL) {
		sender.sign = arena_array(maker->arena, POLICY_SIGNERS_MAX,
					  sizeof(*sender.sign));
		sender.sign[sender.sign_count++] =
			(struct sender_sign){selector->name, holder->name};
		sender.identity = identity_of(maker, rule, holder);
	}
	maker->senders[maker->count++] = sender;
}

/* ---- patterns that occur several times ---- */

static int
pattern_compare(const void *a, const void *b)
{
	const struct section_sender *const *left = a, *const *right = b;
	int order = slice_compare((*left)->pattern, (*right)->pattern);

	if (order != 0)
		return order;
	return *left < *right ? -1 : 1; /* of one array */
}

/* With MultipleSignatures both sign; else the second is never asked. */
static void
sender_merge(struct maker *maker, struct section_sender *first,
	     struct section_sender *second)
{
	second->is_merged = true;
	if (!maker->rules->is_multiple)
		return;
	if (!slice_eq(first->identity, second->identity))
		report_decisive(maker->report, second->place,
				"'%.*s' has '%.*s' as i= already, not '%.*s'",
				SLICE_ARG(first->pattern),
				SLICE_ARG(first->identity),
				SLICE_ARG(second->identity));
	for (size_t i = 0; i < second->sign_count; i++) {
		if (first->sign_count == 0)
			first->sign = second->sign;
		if (first->sign_count == POLICY_SIGNERS_MAX) {
			report_decisive(maker->report, second->place,
					"at most %d keys sign for '%.*s'",
					POLICY_SIGNERS_MAX,
					SLICE_ARG(first->pattern));
			return;
		}
		first->sign[first->sign_count++] = second->sign[i];
	}
}

static void
senders_merge(struct maker *maker)
{
	struct section_sender **sorted =
		arena_array(maker->arena, maker->count, sizeof(*sorted));
	struct section_sender *first = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < maker->count; i++)
		sorted[i] = &maker->senders[i];
	if (maker->count > 1)
		qsort(sorted, maker->count, sizeof(*sorted), pattern_compare);
	for (size_t i = 0; i < maker->count; i++)
		if (first != NULL &&
		    slice_eq(first->pattern, sorted[i]->pattern))
			sender_merge(maker, first, sorted[i]);
		else
			first = sorted[i];
	for (size_t i = 0; i < maker->count; i++)
		if (!maker->senders[i].is_merged)
			maker->senders[kept++] = maker->senders[i];
	maker->count = kept;
}

/* What matches no line is signed by nobody, though its domain may have keys. */
static void
rest_add(struct maker *maker)
{
	for (size_t i = 0; i < maker->count; i++)
		if (slice_eq(maker->senders[i].pattern, SLICE("*@*")))
			return;
	maker->senders[maker->count++] =
		(struct section_sender){.pattern = SLICE("*@*")};
}

void
section_senders_make(const struct signing_rules *rules,
		     struct sections *sections, struct arena *arena,
		     struct report *report)
{
	struct maker maker = {.rules = rules,
			      .sections = sections,
			      .arena = arena,
			      .report = report};

	maker.senders =
		arena_array(arena, rules->count + 1, sizeof(*maker.senders));
	sections_empty(sections);
	for (size_t i = 0; i < rules->count; i++)
		sender_add(&maker, &rules->rules[i]);
	senders_merge(&maker);
	rest_add(&maker);
	sections->senders = maker.senders;
	sections->senders_count = maker.count;
	sections->is_multiple = rules->is_multiple;
}
