#include "milter/senders.h"
#include "relay/import/glob.h"
#include "relay/import/sections.h"

/* What a "*" is tried as: nothing that a table would name. */
#define FILLER "q7"
#define SIGNATURES_MAX 64

struct signature {
	struct slice domain, selector;
};

struct signatures {
	struct signature items[SIGNATURES_MAX];
	size_t count;
};

struct trial {
	const struct sections *sections;
	const struct section *section;
	bool is_multiple;
	uint64_t steps_left;
	struct report *report;
	struct text local, domain, other;
	struct text reported; /* "\nFILE:LINE\n" of each: once is enough */
};

static void
signature_add(struct signatures *signatures, struct slice domain,
	      struct slice selector)
{
	for (size_t i = 0; i < signatures->count; i++)
		if (slice_eq_nocase(signatures->items[i].domain, domain) &&
		    slice_eq(signatures->items[i].selector, selector))
			return;
	if (signatures->count < SIGNATURES_MAX)
		signatures->items[signatures->count++] =
			(struct signature){domain, selector};
}

static bool
signatures_are_equal(const struct signatures *a, const struct signatures *b)
{
	struct signatures both = *a;

	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < b->count; i++)
		signature_add(&both, b->items[i].domain,
			      b->items[i].selector);
	return both.count == a->count;
}

/* Of a list in its order: false where no further match counts. */
static bool
rule_match(const struct signing_rule *rule, bool is_multiple,
	   struct slice local, struct slice domain,
	   struct signatures *signatures)
{
	if (!glob_covers(rule->local, local) ||
	    !glob_covers(rule->domain, domain))
		return true;
	signature_add(signatures,
		      slice_eq(rule->signs_as, SLICE("%")) ? domain
							   : rule->signs_as,
		      rule->selector);
	return is_multiple;
}

/* As OpenDKIM goes down its list. Returns the first that matches. */
static const struct signing_rule *
signatures_there(const struct trial *trial, struct slice local,
		 struct slice domain, struct signatures *signatures)
{
	const struct signing_rule *first = NULL;
	bool goes_on = true;

	for (size_t i = 0; i < trial->section->rules_count && goes_on; i++) {
		goes_on = rule_match(trial->section->rules[i],
				     trial->is_multiple, local, domain,
				     signatures);
		if (first == NULL && signatures->count > 0)
			first = trial->section->rules[i];
	}
	return first;
}

static bool
is_for(const struct section_selector *selector, struct slice local,
       struct slice domain)
{
	for (size_t i = 0; i < selector->from_count; i++)
		if (senders_pattern_matches(selector->from[i], local, domain))
			return true;
	return false;
}

/* As policy_decide() does for a section. */
static void
signatures_of(const struct section *section, struct slice local,
	      struct slice domain, struct signatures *signatures)
{
	bool is_picked = false;

	for (size_t i = 0; i < section->selectors_count; i++)
		is_picked |= is_for(&section->selectors[i], local, domain);
	for (size_t i = 0; i < section->selectors_count; i++) {
		const struct section_selector *selector =
			&section->selectors[i];

		if (is_picked ? is_for(selector, local, domain)
			      : selector->from_count == 0)
			signature_add(signatures,
				      slice_eq(section->name, SLICE("*"))
					      ? domain
					      : section->name,
				      selector->name);
	}
}

static void
signatures_here(const struct section *section, struct slice local,
		struct slice domain, struct signatures *signatures)
{
	signatures_of(section, local, domain, signatures);
	for (size_t i = 0; i < section->also_sign_count; i++)
		signatures_of(section->also_sign[i], local, domain, signatures);
}

/* As policy_decide() does by sender sections. */
static void
signatures_by_senders(const struct sections *sections, struct slice local,
		      struct slice domain, struct signatures *signatures)
{
	for (size_t i = 0; i < sections->senders_count; i++) {
		const struct section_sender *sender = &sections->senders[i];

		if (!senders_pattern_matches(sender->pattern, local, domain))
			continue;
		for (size_t k = 0; k < sender->sign_count; k++) {
			struct sender_sign sign = sender->sign[k];

			signature_add(signatures,
				      slice_eq(sign.domain, SLICE("*"))
					      ? domain
					      : sign.domain,
				      sign.selector);
		}
		if (!sections->is_multiple)
			return;
	}
}

bool
sections_agree(const struct sections *sections,
	       const struct signing_rules *rules, struct slice local,
	       struct slice domain)
{
	struct signatures there = {.count = 0}, here = {.count = 0};
	const struct section *section = sections_find(sections, domain);
	bool goes_on = true;

	for (size_t i = 0; i < rules->count && goes_on; i++)
		goes_on = rule_match(&rules->rules[i], rules->is_multiple,
				     local, domain, &there);
	if (sections->senders_count > 0)
		signatures_by_senders(sections, local, domain, &here);
	else if (section != NULL)
		signatures_here(section, local, domain, &here);
	return signatures_are_equal(&there, &here);
}

static void
signatures_write(const struct signatures *signatures, struct text *out)
{
	for (size_t i = 0; i < signatures->count; i++)
		text_addf(out, "%s%.*s of %.*s", i > 0 ? " and " : "",
			  SLICE_ARG(signatures->items[i].selector),
			  SLICE_ARG(signatures->items[i].domain));
	if (signatures->count == 0)
		text_add_string(out, "nobody");
}

/* False: no more is tried, which was said. */
static bool
steps_take(struct trial *trial, uint64_t steps)
{
	static const struct conf_place nowhere;

	if (trial->steps_left == 0)
		return false;
	if (steps < trial->steps_left) {
		trial->steps_left -= steps;
		return true;
	}
	trial->steps_left = 0;
	report_decisive(trial->report, nowhere,
			"too many patterns to try each with each other: "
			"whether the same mail is signed is not known");
	return false;
}

/* What it takes to look up an address: here, there, and in what was said. */
static uint64_t
steps_of(const struct trial *trial)
{
	const struct section *section = trial->section;
	uint64_t steps = 1 + section->rules_count + section->also_sign_count +
			 trial->reported.len / 64;

	for (size_t i = 0; i < section->selectors_count; i++)
		steps += section->selectors[i].from_count;
	return steps;
}

/* Says so from now on. */
static bool
was_reported(struct trial *trial, struct conf_place place)
{
	CLEAN(text_done) struct text mark = {0};

	text_addf(&mark, "\n%s:%u\n", place.file != NULL ? place.file : "",
		  place.line);
	if (strstr(text_string(&trial->reported), text_string(&mark)) != NULL)
		return true;
	text_add(&trial->reported, text_slice(&mark));
	return false;
}

static void
address_try(struct trial *trial, struct slice local, struct slice domain)
{
	struct signatures there = {.count = 0}, here = {.count = 0};
	const struct signing_rule *rule;
	struct conf_place place = {0};
	CLEAN(text_done) struct text said = {0};

	if (local.len == 0 || domain.len == 0 ||
	    sections_find(trial->sections, domain) != trial->section ||
	    !steps_take(trial, steps_of(trial)))
		return;
	rule = signatures_there(trial, local, domain, &there);
	signatures_here(trial->section, local, domain, &here);
	if (signatures_are_equal(&there, &here))
		return;
	if (rule != NULL)
		place = rule->place;
	else if (trial->section->rules_count > 0)
		place = trial->section->rules[0]->place;
	if (was_reported(trial, place))
		return;
	text_addf(&said, "mail from %.*s@%.*s is signed by ",
		  SLICE_ARG(local), SLICE_ARG(domain));
	signatures_write(&there, &said);
	text_add_string(&said, " with OpenDKIM, by ");
	signatures_write(&here, &said);
	text_add_string(&said, " here: say it with the `from` patterns of "
			       "the selectors");
	report_decisive(trial->report, place, "%s", text_string(&said));
}

/* The pattern with something for each "*". */
static void
fill(struct slice pattern, const char *filler, struct text *out)
{
	text_clear(out);
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.bytes[i] == '*')
			text_add_string(out, filler);
		else
			text_add_byte(out, pattern.bytes[i]);
}

/* A domain below the section that the pattern matches, and one that hardly has
 * a section of its own. */
static void
below_try(struct trial *trial, struct slice local, struct slice pattern)
{
	const struct section *section = trial->section;
	CLEAN(text_done) struct text unusual = {0};

	if (!section->subdomains)
		return;
	text_addf(&unusual, "*" FILLER ".%.*s", SLICE_ARG(section->name));
	if (glob_meet(pattern, section->below, &trial->domain))
		address_try(trial, local, text_slice(&trial->domain));
	if (glob_meet(pattern, text_slice(&unusual), &trial->domain))
		address_try(trial, local, text_slice(&trial->domain));
}

/* With that local part, each kind of domain that a rule and the section may
 * have in common. */
static void
domains_try(struct trial *trial, struct slice local, struct slice pattern)
{
	struct slice name = trial->section->name;

	if (glob_covers(pattern, name))
		address_try(trial, local, name);
	text_clear(&trial->domain);
	text_addf(&trial->domain, FILLER ".%.*s", SLICE_ARG(name));
	if (glob_covers(pattern, text_slice(&trial->domain)))
		address_try(trial, local, text_slice(&trial->domain));
	below_try(trial, local, pattern);
	fill(pattern, FILLER, &trial->domain);
	address_try(trial, local, text_slice(&trial->domain));
	fill(pattern, "", &trial->domain);
	address_try(trial, local, text_slice(&trial->domain));
}

static void
rule_try(struct trial *trial, const struct signing_rule *rule)
{
	fill(rule->local, FILLER, &trial->local);
	domains_try(trial, text_slice(&trial->local), rule->domain);
	fill(rule->local, "", &trial->local);
	domains_try(trial, text_slice(&trial->local), rule->domain);
}

static bool
is_pattern(const struct signing_rule *rule)
{
	return !glob_is_literal(rule->local) || !glob_is_literal(rule->domain);
}

static void
pair_try(struct trial *trial, const struct signing_rule *a,
	 const struct signing_rule *b)
{
	if (!steps_take(trial, 1) ||
	    !glob_meet(a->local, b->local, &trial->local))
		return;
	if (trial->local.len == 0)
		text_add_string(&trial->local, FILLER);
	if (!glob_meet(a->domain, b->domain, &trial->other))
		return;
	address_try(trial, text_slice(&trial->local),
		    text_slice(&trial->other));
	if (glob_covers(a->domain, b->domain))
		domains_try(trial, text_slice(&trial->local), b->domain);
	else if (glob_covers(b->domain, a->domain))
		domains_try(trial, text_slice(&trial->local), a->domain);
}

static bool
may_be_author(const struct section *section, struct slice domain)
{
	return !glob_is_literal(domain) || slice_eq(domain, section->name) ||
	       slice_eq(section->name, SLICE("*")) ||
	       (section->subdomains &&
		slice_ends_nocase(domain, section->name));
}

/* The patterns of its selectors, too, which may come from the rules of other
 * sections that ask for them. */
static void
selectors_try(struct trial *trial, const struct section *holder)
{
	const struct section *section = trial->section;

	for (size_t i = 0; i < holder->selectors_count; i++)
		for (size_t k = 0; k < holder->selectors[i].from_count; k++) {
			struct slice from = holder->selectors[i].from[k];
			size_t at = (size_t)slice_find_last(from, '@');
			struct signing_rule pattern = {
				.local = slice_sub(from, 0, at),
				.domain = slice_from(from, at + 1)};

			if (!may_be_author(section, pattern.domain))
				continue;
			rule_try(trial, &pattern);
			for (size_t n = 0; n < section->rules_count; n++)
				pair_try(trial, &pattern, section->rules[n]);
		}
}

/* The section's own name, what is below it, and every rule; then every two of
 * which one is a pattern: two addresses are the same or have nothing in
 * common. */
static void
section_try(struct trial *trial)
{
	const struct section *section = trial->section;

	domains_try(trial, SLICE(FILLER), SLICE("*"));
	for (size_t i = 0; i < section->rules_count; i++)
		rule_try(trial, section->rules[i]);
	selectors_try(trial, section);
	for (size_t i = 0; i < section->also_sign_count; i++)
		selectors_try(trial, section->also_sign[i]);
	for (size_t i = 0; i < section->rules_count; i++) {
		if (!is_pattern(section->rules[i]))
			continue;
		for (size_t k = 0; k < section->rules_count; k++)
			if (k < i || !is_pattern(section->rules[k]))
				pair_try(trial, section->rules[i],
					 section->rules[k]);
	}
}

void
sections_try(const struct sections *sections, const struct signing_rules *rules,
	     uint64_t steps_max, struct report *report)
{
	struct trial trial = {.sections = sections,
			      .is_multiple = rules->is_multiple,
			      .steps_left = steps_max,
			      .report = report};

	for (size_t i = 0; i < sections->count; i++) {
		trial.section = &sections->sections[i];
		section_try(&trial);
	}
	text_done(&trial.local);
	text_done(&trial.domain);
	text_done(&trial.other);
	text_done(&trial.reported);
}
