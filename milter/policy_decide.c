#include "keys/record.h"
#include "milter/author.h"
#include "milter/policy.h"
#include "milter/senders.h"

/* ---- selectors of a section ---- */

static bool
selector_is_for(const struct keyring_selector *selector,
		const struct authors *authors, size_t i)
{
	for (size_t k = 0; k < selector->from_count; k++)
		if (senders_pattern_matches(selector->from[k],
					    authors->locals[i],
					    authors->domains[i]))
			return true;
	return false;
}

static bool
selector_is_for_all(const struct keyring_selector *selector,
		    const struct authors *authors)
{
	for (size_t i = 0; i < authors->count; i++)
		if (!selector_is_for(selector, authors, i))
			return false;
	return selector->from_count > 0;
}

/* ---- deciding ---- */

struct judge {
	const struct policy *policy;
	struct arena *arena;
	struct authors authors;
	struct policy_signer *signers; /* POLICY_SIGNERS_MAX of them */
	size_t count;
	struct text sentence;
	struct decision *decision;
};

/* A selector signs for a domain once; "*" may have it as well as the domain's
 * own section. */
static void
signer_add(struct judge *judge, const struct keyring_domain *section,
	   const struct keyring_selector *selector, const struct sender *sender)
{
	struct policy_signer signer = {
		.domain = section->is_default ? judge->authors.domains[0]
					      : section->name,
		.selector = selector,
		.rules = policy_rules_of(judge->policy, section),
	};

	for (size_t i = 0; i < judge->count; i++)
		if (slice_eq(judge->signers[i].domain, signer.domain) &&
		    slice_eq_nocase(judge->signers[i].selector->name,
				    selector->name))
			return;
	if (judge->count == POLICY_SIGNERS_MAX)
		return;
	signer.identity = signer.rules->identity;
	if (sender != NULL && sender->identity.len > 0)
		signer.identity =
			senders_identity(sender, judge->authors.domains[0],
					 signer.domain, judge->arena);
	judge->signers[judge->count++] = signer;
}

/* Adds the selectors of a section that sign for these authors. Returns how many
 * were active, whether or not they sign. */
static size_t
signers_add(struct judge *judge, const struct keyring_domain *section,
	    const struct sender *sender)
{
	const struct keyring_selector *picked = NULL;
	size_t active = 0;

	for (size_t i = 0; i < section->selectors_count && picked == NULL; i++)
		if (section->selectors[i].state == SELECTOR_ACTIVE &&
		    selector_is_for_all(&section->selectors[i],
					&judge->authors))
			picked = &section->selectors[i];
	for (size_t i = 0; i < section->selectors_count; i++) {
		const struct keyring_selector *selector =
			&section->selectors[i];
		bool is_chosen =
			picked != NULL
				? selector_is_for_all(selector, &judge->authors)
				: selector->from_count == 0;

		if (selector->state != SELECTOR_ACTIVE)
			continue;
		active++;
		if (is_chosen)
			signer_add(judge, section, selector, sender);
	}
	return active;
}

/* The section of each address, which has to be one and the same. Sets
 * decision->domain or, where nobody signs, decision->reason. */
static void
section_find(struct judge *judge)
{
	const struct keyring_domain *section = NULL;
	const struct authors *authors = &judge->authors;
	struct decision *decision = judge->decision;

	for (size_t i = 0; i < authors->count; i++) {
		const struct keyring_domain *found = keyring_find(
			policy_keyring(judge->policy), authors->domains[i]);

		if (found == NULL) {
			decision->reason = arena_printf(
				judge->arena,
				"no domain section matches the From domain "
				"%.*s",
				SLICE_ARG(authors->domains[i]));
			return;
		}
		if (i > 0 &&
		    (found != section ||
		     (found->is_default &&
		      !slice_eq(authors->domains[0], authors->domains[i])))) {
			decision->reason = arena_printf(
				judge->arena,
				"From names addresses of several domain "
				"sections, %.*s and %.*s",
				SLICE_ARG(section->is_default
						  ? authors->domains[0]
						  : section->name),
				SLICE_ARG(found->is_default
						  ? authors->domains[i]
						  : found->name));
			return;
		}
		section = found;
	}
	decision->domain = section;
}

/* "2 selectors: a, b" */
static void
selectors_write(struct judge *judge, size_t from, size_t to)
{
	bool is_picked = false;

	for (size_t i = from; i < to; i++)
		is_picked |= judge->signers[i].selector->from_count > 0;
	text_addf(&judge->sentence, "with %zu selector%s%s: ", to - from,
		  to - from == 1 ? "" : "s",
		  is_picked ? " for this sender" : "");
	for (size_t i = from; i < to; i++) {
		struct slice name = judge->signers[i].selector->name;

		text_addf(&judge->sentence, "%s%.*s", i > from ? ", " : "",
			  SLICE_ARG(name));
	}
}

static void
section_write(struct judge *judge)
{
	const struct decision *decision = judge->decision;
	struct slice author = decision->author_domain;
	struct slice name = decision->domain->name;
	struct text *sentence = &judge->sentence;

	text_addf(sentence, "the From domain %.*s is signed ",
		  SLICE_ARG(author));
	if (decision->domain->is_default)
		text_add_string(sentence, "by the section \"*\" ");
	else if (!slice_eq_nocase(name, author))
		text_addf(sentence, "as a subdomain of %.*s ", SLICE_ARG(name));
}

/* Own selectors, then those of also_sign. */
static void
signers_find(struct judge *judge)
{
	struct decision *decision = judge->decision;
	const struct keyring_domain *const *also;
	size_t own, active, also_count;

	also = policy_also(judge->policy, decision->domain, &also_count);
	active = signers_add(judge, decision->domain, NULL);
	own = judge->count;
	section_write(judge);
	if (own > 0)
		selectors_write(judge, 0, own);
	for (size_t i = 0; i < also_count; i++) {
		size_t before = judge->count;
		struct slice name = also[i]->name;

		signers_add(judge, also[i], NULL);
		if (judge->count == before)
			continue;
		text_addf(&judge->sentence, "%sby %.*s ",
			  before > 0 ? "; also " : "", SLICE_ARG(name));
		selectors_write(judge, before, judge->count);
	}
	if (judge->count > 0)
		decision->reason =
			arena_copy(judge->arena, text_slice(&judge->sentence));
	else
		decision->reason = arena_printf(
			judge->arena,
			active > 0 ? "no active selector of %.*s is for this "
				     "sender"
				   : "no selector of %.*s is active",
			SLICE_ARG(decision->domain->name));
}

/* ---- sender sections ---- */

static bool
is_first_only(const struct judge *judge)
{
	return policy_options(judge->policy)->sender_match ==
	       SENDER_MATCH_FIRST;
}

/* Whether the same sections match the i-th address as the first one. */
static bool
senders_are_alike(const struct judge *judge, size_t i)
{
	const struct senders *senders = policy_senders(judge->policy);
	const struct authors *authors = &judge->authors;
	const struct sender *first = NULL, *other = NULL;

	do {
		first = senders_next(senders, authors->locals[0],
				     authors->domains[0], first);
		other = senders_next(senders, authors->locals[i],
				     authors->domains[i], other);
		if (first != other)
			return false;
	} while (first != NULL && !is_first_only(judge));
	return true;
}

static bool
signs_as_author(const struct sender *sender)
{
	for (size_t i = 0; i < sender->targets_count; i++)
		if (sender->targets[i].section->is_default)
			return true;
	return false;
}

static bool
is_of_one_domain(const struct authors *authors)
{
	for (size_t i = 1; i < authors->count; i++)
		if (!slice_eq(authors->domains[0], authors->domains[i]))
			return false;
	return true;
}

static bool
senders_refuse(struct judge *judge, const char *reason)
{
	judge->decision->senders_differ = true;
	judge->decision->reason = SLICE(reason);
	return false;
}

/* The sections that decide, as those of the first address; false where other
 * addresses have others, or would be signed as another domain. */
static bool
senders_find(struct judge *judge)
{
	const struct senders *senders = policy_senders(judge->policy);
	const struct authors *authors = &judge->authors;
	struct decision *decision = judge->decision;
	const struct sender *sender = NULL, **found;
	size_t count = 0;

	if (senders->count == 0)
		return true;
	for (size_t i = 1; i < authors->count; i++)
		if (!senders_are_alike(judge, i))
			return senders_refuse(judge,
					      "From names addresses of "
					      "different sender sections");
	found = arena_array(judge->arena, SENDERS_USED_MAX, sizeof(*found));
	do {
		sender = senders_next(senders, authors->locals[0],
				      authors->domains[0], sender);
		if (sender == NULL)
			break;
		if (signs_as_author(sender) && !is_of_one_domain(authors))
			return senders_refuse(judge,
					      "From names addresses of "
					      "different domains, each of which "
					      "would be signed by itself");
		found[count++] = sender;
	} while (count < SENDERS_USED_MAX && !is_first_only(judge));
	decision->senders = found;
	decision->senders_count = count;
	return true;
}

/* Returns how many selectors are named, whether or not they sign. */
static size_t
sender_signers_add(struct judge *judge, const struct sender *sender)
{
	size_t named = 0;

	for (size_t i = 0; i < sender->targets_count; i++) {
		const struct sender_target *target = &sender->targets[i];

		named++;
		if (target->selector == NULL)
			signers_add(judge, target->section, sender);
		else if (target->selector->state == SELECTOR_ACTIVE)
			signer_add(judge, target->section, target->selector,
				   sender);
	}
	return named;
}

/* "the sender sections "a@b" and "*@b"" */
static void
senders_write(struct judge *judge)
{
	const struct decision *decision = judge->decision;

	text_addf(&judge->sentence, "the sender section%s ",
		  decision->senders_count == 1 ? "" : "s");
	for (size_t i = 0; i < decision->senders_count; i++)
		text_addf(&judge->sentence, "%s\"%.*s\"", i > 0 ? " and " : "",
			  SLICE_ARG(decision->senders[i]->pattern));
}

/* Those of one domain together. */
static void
sender_signers_write(struct judge *judge)
{
	for (size_t i = 0, end; i < judge->count; i = end) {
		struct slice domain = judge->signers[i].domain;

		for (end = i + 1; end < judge->count; end++)
			if (!slice_eq(judge->signers[end].domain, domain))
				break;
		text_addf(&judge->sentence, "%sby %.*s ",
			  i > 0 ? "; also " : "", SLICE_ARG(domain));
		selectors_write(judge, i, end);
	}
}

static void
sender_signers_find(struct judge *judge)
{
	struct decision *decision = judge->decision;
	bool is_one = decision->senders_count == 1;
	size_t named = 0;

	for (size_t i = 0; i < decision->senders_count; i++)
		named += sender_signers_add(judge, decision->senders[i]);
	senders_write(judge);
	if (judge->count > 0) {
		text_addf(&judge->sentence, " %s it signed ",
			  is_one ? "has" : "have");
		sender_signers_write(judge);
	} else if (named > 0) {
		text_addf(&judge->sentence,
			  " %s no active selector for this sender",
			  is_one ? "names" : "name");
	} else {
		text_addf(&judge->sentence, " %s it unsigned",
			  is_one ? "leaves" : "leave");
	}
	decision->reason =
		arena_copy(judge->arena, text_slice(&judge->sentence));
}

/* ---- the verdict ---- */

/* An author's domain under "*" comes from the message. */
static bool
names_fit(struct judge *judge)
{
	struct fault fault = {0};

	for (size_t i = 0; i < judge->count; i++) {
		if (record_names_check(judge->signers[i].selector->name,
				       judge->signers[i].domain, &fault))
			continue;
		judge->decision->reason = arena_printf(
			judge->arena, "the From domain cannot be signed: %s",
			fault.text);
		return false;
	}
	return true;
}

/* Whether the message carries a signature of a domain that is to sign it. */
static bool
is_signed_already(const struct judge *judge, const struct header_facts *facts,
		  struct slice *domain_out)
{
	for (size_t i = 0; i < facts->signed_count; i++)
		for (size_t k = 0; k < judge->count; k++)
			if (slice_eq_nocase(facts->signed_domains[i],
					    judge->signers[k].domain)) {
				*domain_out = judge->signers[k].domain;
				return true;
			}
	return false;
}

static void
signers_judge(struct judge *judge, const struct header_facts *facts)
{
	struct decision *decision = judge->decision;

	if (judge->count == 0 || !names_fit(judge))
		return;
	if (is_signed_already(judge, facts, &decision->signed_by)) {
		switch (policy_options(judge->policy)->existing_action) {
		case EXISTING_KEEP:
			break;
		case EXISTING_STRIP:
			decision->strips = true;
			break;
		case EXISTING_SKIP:
			decision->verdict = VERDICT_RELAY;
			decision->reason = arena_printf(
				judge->arena,
				"it carries a signature of %.*s already",
				SLICE_ARG(decision->signed_by));
			return;
		}
	}
	decision->verdict = VERDICT_SIGN;
	decision->signers = judge->signers;
	decision->signers_count = judge->count;
}

/* True where the header leaves a list of authors to look up; else sets the
 * reason. */
static bool
authors_find(const struct header_facts *facts, struct arena *arena,
	     struct authors *authors_out, struct decision *decision)
{
	struct fault fault = {0};

	if (facts->malformed != NULL)
		decision->reason = SLICE(facts->malformed);
	else if (facts->from_count == 0)
		decision->reason = SLICE("there is no From field");
	else if (facts->from_count > 1)
		decision->reason = arena_printf(
			arena, "there are %zu From fields", facts->from_count);
	else if (!authors_parse(facts->from, arena, authors_out, &fault))
		decision->reason = arena_printf(
			arena, "the From field cannot be read: %s", fault.text);
	else if (authors_out->count == 0)
		decision->reason = SLICE("the From field names no address");
	else
		return true;
	return false;
}

void
policy_decide(const struct policy *policy, const struct header_facts *facts,
	      struct arena *arena, struct decision *decision_out)
{
	struct decision decision = {
		.verdict = policy_options(policy)->unsigned_action ==
					   UNSIGNED_REJECT
				   ? VERDICT_REJECT
				   : VERDICT_RELAY,
	};
	struct judge judge = {
		.policy = policy, .arena = arena, .decision = &decision};

	if (authors_find(facts, arena, &judge.authors, &decision)) {
		decision.author_domain = judge.authors.domains[0];
		judge.signers = arena_array(arena, POLICY_SIGNERS_MAX,
					    sizeof(*judge.signers));
		if (senders_find(&judge) && decision.senders_count == 0)
			section_find(&judge);
	}
	if (decision.senders_count > 0)
		sender_signers_find(&judge);
	else if (decision.domain != NULL)
		signers_find(&judge);
	signers_judge(&judge, facts);
	text_done(&judge.sentence);
	ASSERT(decision.reason.len > 0);
	ASSERT((decision.signers_count > 0) ==
	       (decision.verdict == VERDICT_SIGN));
	*decision_out = decision;
}
