#include "milter/policy.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "milter/author.h"

struct policy {
	atomic_uint references;
	struct keyring *keyring;
	struct signing_options options;
};

/* RFC 6376 5.4.1, and behind it what design says beyond: List-Unsubscribe-Post
 * has to be signed by RFC 8058 4, the MIME fields say how the body reads. */
static const struct policy_field fields[] = {
	{SLICE_LITERAL("From"), true},
	{SLICE_LITERAL("Reply-To"), true},
	{SLICE_LITERAL("Subject"), true},
	{SLICE_LITERAL("Date"), true},
	{SLICE_LITERAL("To"), true},
	{SLICE_LITERAL("Cc"), true},
	{SLICE_LITERAL("Resent-Date"), false},
	{SLICE_LITERAL("Resent-From"), false},
	{SLICE_LITERAL("Resent-To"), false},
	{SLICE_LITERAL("Resent-Cc"), false},
	{SLICE_LITERAL("In-Reply-To"), false},
	{SLICE_LITERAL("References"), false},
	{SLICE_LITERAL("List-Id"), false},
	{SLICE_LITERAL("List-Help"), false},
	{SLICE_LITERAL("List-Unsubscribe"), false},
	{SLICE_LITERAL("List-Subscribe"), false},
	{SLICE_LITERAL("List-Post"), false},
	{SLICE_LITERAL("List-Owner"), false},
	{SLICE_LITERAL("List-Archive"), false},
	{SLICE_LITERAL("Message-ID"), false},
	{SLICE_LITERAL("MIME-Version"), false},
	{SLICE_LITERAL("Content-Type"), false},
	{SLICE_LITERAL("Content-Transfer-Encoding"), false},
	{SLICE_LITERAL("List-Unsubscribe-Post"), false},
};

const struct policy_field *
policy_fields(size_t *count_out)
{
	*count_out = COUNT(fields);
	return fields;
}

struct policy *
policy_new(struct keyring *keyring, const struct signing_options *options)
{
	struct policy *policy = memory_new(sizeof(*policy));

	ASSERT(keyring != NULL);
	atomic_init(&policy->references, 1);
	policy->keyring = keyring_ref(keyring);
	policy->options = *options;
	return policy;
}

struct policy *
policy_ref(struct policy *policy)
{
	unsigned before = atomic_fetch_add(&policy->references, 1);

	ASSERT(before > 0);
	return policy;
}

void
policy_unref(struct policy *policy)
{
	unsigned before;

	if (policy == NULL)
		return;
	before = atomic_fetch_sub(&policy->references, 1);
	ASSERT(before > 0);
	if (before > 1)
		return;
	keyring_unref(policy->keyring);
	free(policy);
}

const struct signing_options *
policy_options(const struct policy *policy)
{
	return &policy->options;
}

static size_t
active_count(const struct keyring_domain *domain)
{
	size_t count = 0;

	for (size_t i = 0; i < domain->selectors_count; i++)
		if (domain->selectors[i].state == SELECTOR_ACTIVE)
			count++;
	return count;
}

/* The section of each address, which has to be one and the same. Sets
 * decision->domain or, where nobody signs, decision->reason. */
static void
section_find(const struct policy *policy, const struct authors *authors,
	     struct arena *arena, struct decision *decision)
{
	const struct keyring_domain *section = NULL;

	for (size_t i = 0; i < authors->count; i++) {
		const struct keyring_domain *found =
			keyring_find(policy->keyring, authors->domains[i]);

		if (found == NULL) {
			decision->reason = arena_printf(
				arena,
				"no domain section matches the From domain "
				"%.*s",
				SLICE_ARG(authors->domains[i]));
			return;
		}
		if (i > 0 && found != section) {
			decision->reason = arena_printf(
				arena,
				"From names addresses of several domain "
				"sections, %.*s and %.*s",
				SLICE_ARG(section->name),
				SLICE_ARG(found->name));
			return;
		}
		section = found;
	}
	decision->domain = section;
}

static struct slice
sign_reason(const struct decision *decision, size_t selectors,
	    struct arena *arena)
{
	const struct keyring_domain *domain = decision->domain;
	const char *plural = selectors == 1 ? "" : "s";

	if (slice_eq_nocase(domain->name, decision->author_domain))
		return arena_printf(arena,
				    "the From domain %.*s is signed with %zu "
				    "selector%s",
				    SLICE_ARG(domain->name), selectors, plural);
	return arena_printf(arena,
			    "the From domain %.*s is signed as a subdomain of "
			    "%.*s with %zu selector%s",
			    SLICE_ARG(decision->author_domain),
			    SLICE_ARG(domain->name), selectors, plural);
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
	struct authors authors = {0};
	struct decision decision = {
		.verdict = policy->options.unsigned_action == UNSIGNED_REJECT
				   ? VERDICT_REJECT
				   : VERDICT_RELAY,
	};

	if (authors_find(facts, arena, &authors, &decision)) {
		decision.author_domain = authors.domains[0];
		section_find(policy, &authors, arena, &decision);
	}
	if (decision.domain != NULL) {
		size_t selectors = active_count(decision.domain);

		if (selectors > 0) {
			decision.verdict = VERDICT_SIGN;
			decision.reason =
				sign_reason(&decision, selectors, arena);
		} else {
			decision.reason = arena_printf(
				arena, "no selector of %.*s is active",
				SLICE_ARG(decision.domain->name));
		}
	}
	ASSERT(decision.reason.len > 0);
	*decision_out = decision;
}
