#include "relay/import/sections.h"

#include <stdlib.h>

#include "milter/policy.h"
#include "relay/import/glob.h"
#include "relay/import/rows.h"
#include "relay/import/section_senders.h"

struct maker {
	const struct signing_rules *rules;
	struct arena *arena;
	struct sections *sections;
	struct report *report;
};

/* ---- which sections there are ---- */

static int
section_compare(const void *a, const void *b)
{
	const struct section *left = a, *right = b;

	return slice_compare(left->name, right->name);
}

struct section *
sections_named(const struct sections *sections, struct slice name)
{
	const struct section wanted = {.name = name};

	return sections->count == 0
		       ? NULL
		       : bsearch(&wanted, sections->sections, sections->count,
				 sizeof(wanted), section_compare);
}

const struct section *
sections_find(const struct sections *sections, struct slice domain)
{
	struct slice parent = domain, label;
	const struct section *found = sections_named(sections, domain);

	while (found == NULL && slice_split(&parent, '.', &label)) {
		found = sections_named(sections, parent);
		if (found != NULL && !found->subdomains)
			found = NULL;
	}
	return found != NULL ? found : sections_named(sections, SLICE("*"));
}

static void
section_add(struct maker *maker, struct slice name, bool subdomains)
{
	struct sections *sections = maker->sections;

	sections->sections = rows_grow(maker->arena, sections->sections,
				       sections->count, sizeof(struct section));
	sections->sections[sections->count++] =
		(struct section){.name = name, .subdomains = subdomains};
}

/* The domain whose subdomains "*.example.com" means; empty: it means others. */
static struct slice
parent_of(struct slice pattern)
{
	struct slice parent = slice_from(pattern, 2);

	return slice_starts(pattern, SLICE("*.")) && parent.len > 0 &&
			       glob_is_literal(parent)
		       ? parent
		       : SLICE_NONE;
}

static void
sections_collect(struct maker *maker)
{
	struct sections *sections = maker->sections;
	size_t kept = 0;

	for (size_t i = 0; i < maker->rules->count; i++) {
		const struct signing_rule *rule = &maker->rules->rules[i];
		bool is_own = slice_eq(rule->signs_as, SLICE("%"));
		struct slice parent = parent_of(rule->domain);

		if (glob_is_literal(rule->domain))
			section_add(maker, rule->domain, false);
		else if (parent.len > 0 && !is_own)
			section_add(maker, parent, true);
		else
			section_add(maker, SLICE("*"), false);
		if (!is_own)
			section_add(maker, rule->signs_as, false);
	}
	if (sections->count > 1)
		qsort(sections->sections, sections->count,
		      sizeof(struct section), section_compare);
	for (size_t i = 0; i < sections->count; i++) {
		struct section *section = &sections->sections[i];

		if (kept > 0 && slice_eq(sections->sections[kept - 1].name,
					 section->name))
			sections->sections[kept - 1].subdomains |=
				section->subdomains;
		else
			sections->sections[kept++] = *section;
	}
	sections->count = kept;
	for (size_t i = 0; i < kept; i++) {
		struct section *section = &sections->sections[i];

		section->below = arena_printf(maker->arena, "*.%.*s",
					      SLICE_ARG(section->name));
	}
}

/* ---- which rules concern a section's authors ---- */

static bool
is_all(const struct section *section)
{
	return slice_eq(section->name, SLICE("*"));
}

static void
rule_concerns(struct maker *maker, struct section *section,
	      const struct signing_rule *rule)
{
	ASSERT(section != NULL);
	section->rules = rows_grow(maker->arena, section->rules,
				   section->rules_count,
				   sizeof(*section->rules));
	section->rules[section->rules_count++] = rule;
}

/* Whether a closer section than "*" has all that the pattern matches. */
static bool
has_section_below(const struct sections *sections, struct slice pattern)
{
	struct slice parent = parent_of(pattern);
	const struct section *section =
		parent.len > 0 ? sections_named(sections, parent) : NULL;

	return section != NULL && section->subdomains;
}

/* Rules of one domain go to its section and those above that have subdomains;
 * the few with a "*" in their domain are held against every section. */
static void
rules_deal(struct maker *maker)
{
	struct sections *sections = maker->sections;
	CLEAN(text_done) struct text met = {0};

	for (size_t i = 0; i < maker->rules->count; i++) {
		const struct signing_rule *rule = &maker->rules->rules[i];

		if (glob_is_literal(rule->domain)) {
			rule_concerns(maker,
				      sections_named(sections, rule->domain),
				      rule);
			continue;
		}
		for (size_t k = 0; k < sections->count; k++) {
			struct section *section = &sections->sections[k];

			if (is_all(section)
				    ? !has_section_below(sections, rule->domain)
				    : glob_covers(rule->domain,
						  section->name) ||
					      (section->subdomains &&
					       glob_meet(rule->domain,
							 section->below,
							 &met)))
				rule_concerns(maker, section, rule);
		}
	}
}

/* Whether it matches every author of a domain, or of those below one. */
static bool
catches_all(const struct signing_rule *rule, struct slice domain)
{
	return slice_eq(rule->local, SLICE("*")) &&
	       glob_covers(rule->domain, domain);
}

/* Where one match is enough, a rule behind those that match all the same is
 * never reached. */
static void
rules_cut(struct maker *maker, struct section *section)
{
	bool has_name = false, has_below = !section->subdomains;
	size_t i;

	if (maker->rules->is_multiple)
		return;
	for (i = 0; i < section->rules_count && !(has_name && has_below);
	     i++) {
		const struct signing_rule *rule = section->rules[i];

		has_name |= catches_all(rule, section->name);
		has_below |= section->subdomains &&
			     catches_all(rule, section->below);
	}
	section->rules_count = i;
}

/* ---- who signs for them ---- */

/* d= of a rule in a section; NULL where it would be another one for each
 * author. */
static struct section *
holder_of(const struct maker *maker, struct section *section,
	  const struct signing_rule *rule)
{
	if (!slice_eq(rule->signs_as, SLICE("%")))
		return sections_named(maker->sections, rule->signs_as);
	return is_all(section) || glob_is_literal(rule->domain) ||
			       !section->subdomains
		       ? section
		       : NULL;
}

struct slice
sections_percent(struct slice text, struct slice by, struct arena *arena)
{
	CLEAN(text_done) struct text out = {0};

	for (size_t i = 0; i < text.len; i++)
		if (text.bytes[i] == '%')
			text_add(&out, by);
		else
			text_add_byte(&out, text.bytes[i]);
	return arena_copy(arena, text_slice(&out));
}

struct section_selector *
sections_selector(struct section *holder, const struct signing_rule *rule,
		  struct arena *arena, struct report *report)
{
	struct slice path = is_all(holder)
				    ? rule->key_path
				    : sections_percent(rule->key_path,
						      holder->name,
						      arena);

	for (size_t i = 0; i < holder->selectors_count; i++) {
		struct section_selector *selector = &holder->selectors[i];

		if (!slice_eq(selector->name, rule->selector))
			continue;
		if (slice_eq(selector->key_path, path))
			return selector;
		report_decisive(report, rule->place,
				"the selector '%.*s' of %.*s has two keys, "
				"'%.*s' and '%.*s': only one of them can be "
				"in DNS",
				SLICE_ARG(rule->selector),
				SLICE_ARG(holder->name),
				SLICE_ARG(selector->key_path),
				SLICE_ARG(path));
		return NULL;
	}
	if (slice_find(path, '%') >= 0) {
		report_decisive(report, rule->place,
				"'%.*s' is another key for each domain: write "
				"a line for each domain",
				SLICE_ARG(path));
		return NULL;
	}
	holder->selectors = rows_grow(arena, holder->selectors,
				      holder->selectors_count,
				      sizeof(*holder->selectors));
	holder->selectors[holder->selectors_count] = (struct section_selector){
		.name = rule->selector, .key_path = path};
	return &holder->selectors[holder->selectors_count++];
}

static void
from_add(struct maker *maker, struct section_selector *selector,
	 struct slice local, struct slice domain)
{
	struct slice pattern =
		arena_printf(maker->arena, "%.*s@%.*s",
			     SLICE_ARG(local.len > 0 ? local : SLICE("*")),
			     SLICE_ARG(domain));

	for (size_t i = 0; i < selector->from_count; i++)
		if (slice_eq(selector->from[i], pattern))
			return;
	selector->from = rows_grow(maker->arena, selector->from,
				   selector->from_count,
				   sizeof(*selector->from));
	selector->from[selector->from_count++] = pattern;
}

/* Whether a rule before it has taken all those authors. */
static bool
is_taken(const struct maker *maker, const struct section *section, size_t i,
	 struct slice domain)
{
	for (size_t k = 0; k < i && !maker->rules->is_multiple; k++)
		if (catches_all(section->rules[k], domain))
			return true;
	return false;
}

/* The pattern of the i-th rule, narrowed to the section's authors that it is
 * for. */
static void
from_add_within(struct maker *maker, struct section *section, size_t i,
		struct section_selector *selector)
{
	const struct signing_rule *rule = section->rules[i];
	struct slice others;

	if (is_all(section) || glob_is_literal(rule->domain)) {
		from_add(maker, selector, rule->local, rule->domain);
		return;
	}
	if (glob_covers(rule->domain, section->name) &&
	    !is_taken(maker, section, i, section->name))
		from_add(maker, selector, rule->local, section->name);
	if (!section->subdomains)
		return;
	others = section->below;
	if (!glob_covers(rule->domain, others))
		from_add(maker, selector, rule->local, rule->domain);
	else if (!is_taken(maker, section, i, others))
		from_add(maker, selector, rule->local, others);
}

static void
also_add(struct maker *maker, struct section *section, struct section *holder)
{
	if (holder == section)
		return;
	for (size_t i = 0; i < section->also_sign_count; i++)
		if (section->also_sign[i] == holder)
			return;
	section->also_sign = rows_grow(maker->arena, section->also_sign,
				       section->also_sign_count,
				       sizeof(*section->also_sign));
	section->also_sign[section->also_sign_count++] = holder;
}

/* ---- i= ---- */

/* OpenDKIM leaves out an i= that is not within d=; and "@d" is what no i= says
 * as well. */
static struct slice
identity_of(struct maker *maker, const struct section *section,
	    const struct section *holder, const struct signing_rule *rule)
{
	struct slice identity = rule->identity, domain;
	ptrdiff_t at;

	if (slice_find(identity, '%') >= 0) {
		if (is_all(holder) && slice_eq(identity, SLICE("@%")))
			return SLICE_NONE;
		if (!glob_is_literal(rule->domain) &&
		    (is_all(section) || section->subdomains)) {
			report_decisive(maker->report, rule->place,
					"i=%.*s is another one for each "
					"subdomain; left out",
					SLICE_ARG(identity));
			return SLICE_NONE;
		}
		identity = sections_percent(identity, section->name,
					   maker->arena);
	}
	/* Where d= is the author's domain, whatever that is. */
	if (is_all(holder) && slice_find(identity, '@') >= 0)
		report_decisive(maker->report, rule->place,
				"i=%.*s is for some of the domains only; left "
				"out",
				SLICE_ARG(identity));
	at = slice_find(identity, '@');
	domain = slice_from(identity, (size_t)(at + 1));
	if (at < 0 || is_all(holder) ||
	    (at == 0 && slice_eq_nocase(domain, holder->name)))
		return SLICE_NONE;
	if (slice_eq_nocase(domain, holder->name) ||
	    slice_ends_nocase(domain,
			      slice_from(holder->below, 1)))
		return identity;
	return SLICE_NONE;
}

static void
identity_set(struct maker *maker, const struct section *section,
	     struct section *holder, const struct signing_rule *rule)
{
	struct slice identity = identity_of(maker, section, holder, rule);

	if (!holder->has_identity)
		holder->identity = identity;
	else if (!slice_eq(holder->identity, identity))
		report_decisive(maker->report, rule->place,
				"a domain has one i=, and %.*s has '%.*s' "
				"already, not '%.*s'",
				SLICE_ARG(holder->name),
				SLICE_ARG(holder->identity),
				SLICE_ARG(identity));
	holder->has_identity = true;
}

static void
section_fill(struct maker *maker, struct section *section)
{
	for (size_t i = 0; i < section->rules_count; i++) {
		const struct signing_rule *rule = section->rules[i];
		struct section *holder = holder_of(maker, section, rule);
		struct section_selector *selector = NULL;

		if (holder != NULL)
			selector = sections_selector(holder, rule, maker->arena,
						     maker->report);
		if (selector == NULL)
			continue; /* sections_try() reports it */
		from_add_within(maker, section, i, selector);
		identity_set(maker, section, holder, rule);
		also_add(maker, section, holder);
	}
}

/* ---- patterns that need not be ---- */

/* Whether what remains of those authors' mail is that selector's. */
static bool
ends_with(struct maker *maker, struct section *section, struct slice domain,
	  const struct section *holder, const struct section_selector *selector)
{
	for (size_t i = 0; i < section->rules_count; i++) {
		const struct signing_rule *rule = section->rules[i];
		bool is_it;

		if (!catches_all(rule, domain))
			continue;
		is_it = holder_of(maker, section, rule) == holder &&
			slice_eq(rule->selector, selector->name);
		if (is_it || !maker->rules->is_multiple)
			return is_it;
	}
	return false;
}

struct asker {
	struct section *section, *holder;
};

static int
asker_compare(const void *a, const void *b)
{
	const struct asker *left = a, *right = b;

	return left->holder == right->holder ? 0
	       : left->holder < right->holder ? -1
					      : 1;
}

/* Every section that asks the holder, itself among them. */
static bool
ends_everywhere(struct maker *maker, const struct asker *askers, size_t count,
		const struct section_selector *selector)
{
	for (size_t i = 0; i < count; i++) {
		struct section *section = askers[i].section;

		if (!ends_with(maker, section, section->name,
			       askers[i].holder, selector) ||
		    (section->subdomains &&
		     !ends_with(maker, section, section->below,
				askers[i].holder, selector)))
			return false;
	}
	return true;
}

/* A selector without patterns signs what those with patterns leave over: so
 * that is how the last line of a list is said. Where several are to sign the
 * same mail, all of them are without, or none. */
static void
patterns_drop(struct maker *maker, const struct asker *askers, size_t count)
{
	struct section *holder = askers[0].holder;
	size_t droppable = 0;

	for (size_t i = 0; i < holder->selectors_count; i++)
		droppable += ends_everywhere(maker, askers, count,
					     &holder->selectors[i]);
	if (maker->rules->is_multiple && droppable < holder->selectors_count)
		return;
	for (size_t i = 0; i < holder->selectors_count; i++)
		if (ends_everywhere(maker, askers, count,
				    &holder->selectors[i]))
			holder->selectors[i].from_count = 0;
}

static void
patterns_simplify(struct maker *maker)
{
	struct sections *sections = maker->sections;
	size_t max = sections->count, count = 0, first = 0;
	struct asker *askers;

	for (size_t i = 0; i < sections->count; i++)
		max += sections->sections[i].also_sign_count;
	askers = arena_array(maker->arena, max, sizeof(*askers));
	for (size_t i = 0; i < sections->count; i++) {
		struct section *section = &sections->sections[i];

		askers[count++] = (struct asker){section, section};
		for (size_t k = 0; k < section->also_sign_count; k++)
			askers[count++] = (struct asker){
				section, section->also_sign[k]};
	}
	if (count > 1)
		qsort(askers, count, sizeof(*askers), asker_compare);
	for (size_t i = 1; i <= count; i++) {
		if (i < count && askers[i].holder == askers[first].holder)
			continue;
		patterns_drop(maker, &askers[first], i - first);
		first = i;
	}
}

/* ---- bounds ---- */

static void
bounds_check(struct maker *maker, const struct section *section)
{
	struct conf_place place = {0};
	size_t active = section->selectors_count;

	if (section->rules_count > 0)
		place = section->rules[0]->place;
	for (size_t i = 0; i < section->also_sign_count; i++)
		active += section->also_sign[i]->selectors_count;
	if (active > POLICY_SIGNERS_MAX)
		report_decisive(maker->report, place,
				"%zu keys may sign for %.*s: signet takes at "
				"most %d",
				active, SLICE_ARG(section->name),
				POLICY_SIGNERS_MAX);
	for (size_t i = 0; i < section->selectors_count; i++)
		if (section->selectors[i].from_count > CONF_LIST_MAX)
			report_decisive(maker->report, place,
					"the selector '%.*s' of %.*s is for "
					"%zu senders: signet takes at most %d",
					SLICE_ARG(section->selectors[i].name),
					SLICE_ARG(section->name),
					section->selectors[i].from_count,
					CONF_LIST_MAX);
}

static void
domains_make(struct maker *maker)
{
	struct sections *sections = maker->sections;

	sections_collect(maker);
	rules_deal(maker);
	for (size_t i = 0; i < sections->count; i++)
		rules_cut(maker, &sections->sections[i]);
	for (size_t i = 0; i < sections->count; i++)
		section_fill(maker, &sections->sections[i]);
	patterns_simplify(maker);
	for (size_t i = 0; i < sections->count; i++)
		bounds_check(maker, &sections->sections[i]);
	sections_try(sections, maker->rules, SECTIONS_STEPS_MAX,
		     maker->report);
}

void
sections_make(const struct signing_rules *rules, struct arena *arena,
	      struct sections *sections_out, struct report *report)
{
	CLEAN(report_done) struct report said = {0};
	struct maker maker = {rules, arena, sections_out, &said};

	*sections_out = (struct sections){0};
	domains_make(&maker);
	if (said.is_incomplete)
		section_senders_make(rules, sections_out, arena, report);
	else
		text_add(&report->lines, text_slice(&said.lines));
}
