/*
 * sections - from OpenDKIM's ordered list of patterns to domain sections.
 *
 * The author's domain decides the section; a selector's `from` patterns decide
 * within it; a signature of another domain is that domain's section, asked by
 * `also_sign`. Not every list of patterns can be said so. Therefore the result
 * is tried: sections_make() thinks up addresses for each pattern and for each
 * two that overlap, and looks up who would sign them there and here. Where that
 * differs, all patterns become sender sections (section_senders.h).
 */
#ifndef RELAY_IMPORT_SECTIONS_H
#define RELAY_IMPORT_SECTIONS_H

#include "milter/policy.h"
#include "relay/import/signing_rules.h"

struct section_selector {
	struct slice name, key_path;
	struct slice *from; /* patterns; none: every sender */
	size_t from_count;
};

struct section {
	struct slice name; /* "*": all others */
	bool subdomains;
	struct slice identity;
	struct section_selector *selectors;
	size_t selectors_count;
	struct section **also_sign;
	size_t also_sign_count;
	/* While they are made: the rules that may concern its authors, and the
	 * pattern of the domains below it. */
	struct slice below;
	const struct signing_rule **rules;
	size_t rules_count;
	struct conf_place identity_place;
	bool has_identity;
};

struct section_sender {
	struct slice pattern;
	struct sender_sign *sign; /* none: nobody */
	size_t sign_count;
	struct slice identity;
	struct conf_place place;
	bool is_merged; /* while they are made: into an earlier one */
};

struct sections {
	struct section *sections; /* sorted by name */
	size_t count;
	struct section_sender *senders; /* in their order; none: not needed */
	size_t senders_count;
	bool is_multiple; /* each sender section that matches signs */
};

void sections_make(const struct signing_rules *rules, struct arena *arena,
		   struct sections *sections_out, struct report *report);

/* The section of that very name; or NULL. */
struct section *sections_named(const struct sections *sections,
			       struct slice name);
/* The selector that signs by this rule, which is added where it is new. NULL:
 * it cannot be, which is reported. */
struct section_selector *sections_selector(struct section *holder,
					   const struct signing_rule *rule,
					   struct arena *arena,
					   struct report *report);
/* The text with something in the place of each "%". */
struct slice sections_percent(struct slice text, struct slice by,
			      struct arena *arena);
/* The section of an author's domain, as the keyring finds it; or NULL. */
const struct section *sections_find(const struct sections *sections,
				    struct slice domain);

/* ---- trying (sections_try.c) ---- */

/* How often a rule or a pattern is held against an address; then it is reported
 * that the rest was not tried. Less than a minute. */
#define SECTIONS_STEPS_MAX ((uint64_t)1 << 31)

void sections_try(const struct sections *sections,
		  const struct signing_rules *rules, uint64_t steps_max,
		  struct report *report);
/* Whether mail from this address is signed alike, there and here. */
bool sections_agree(const struct sections *sections,
		    const struct signing_rules *rules, struct slice local,
		    struct slice domain);

#endif
