#include "milter/policy.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "milter/rules.h"
#include "milter/senders.h"

struct policy {
	atomic_uint references;
	struct keyring *keyring;
	struct signing_options options; /* its lists are not used any more */
	struct arena arena;
	struct policy_rules common; /* of sections without options of their own */
	const struct policy_rules **rules; /* of each domain of the keyring */
	/* The sections of also_sign of each. */
	const struct keyring_domain ***also;
	size_t *also_count;
	struct senders senders;
	struct slice *names; /* of all fields that are signed; sorted */
	size_t names_count;
	atomic_uchar *proven; /* of each selector, by its number */
	atomic_uint_fast64_t since_proof; /* messages signed */
};

/* ---- making one ---- */

/* Any order will do: lengths tell most names apart at once. */
static int
name_compare(const void *a, const void *b)
{
	const struct slice *left = a, *right = b;

	if (left->len != right->len)
		return left->len < right->len ? -1 : 1;
	for (size_t i = 0; i < left->len; i++) {
		int x = (unsigned char)ascii_lower(left->bytes[i]);
		int y = (unsigned char)ascii_lower(right->bytes[i]);

		if (x != y)
			return x - y;
	}
	return 0;
}

static void
names_collect(struct policy *policy)
{
	size_t domains = keyring_domains_count(policy->keyring);
	size_t max = policy->common.fields_count, kept = 0;
	struct slice *names;

	for (size_t i = 0; i < domains; i++)
		if (policy->rules[i] != &policy->common)
			max += policy->rules[i]->fields_count;
	names = arena_array(&policy->arena, max, sizeof(*names));
	for (size_t k = 0; k < policy->common.fields_count; k++)
		names[kept++] = policy->common.fields[k].name;
	for (size_t i = 0; i < domains; i++)
		for (size_t k = 0; policy->rules[i] != &policy->common &&
				   k < policy->rules[i]->fields_count;
		     k++)
			names[kept++] = policy->rules[i]->fields[k].name;
	ASSERT(kept == max);
	qsort(names, max, sizeof(*names), name_compare);
	policy->names = names;
	policy->names_count = 1;
	for (size_t i = 1; i < max; i++)
		if (name_compare(&names[i], &names[policy->names_count - 1]) !=
		    0)
			names[policy->names_count++] = names[i];
}

static void
also_make(struct policy *policy, const struct domain_signing_options *domain,
	  size_t i)
{
	const struct keyring_domain **also = arena_array(
		&policy->arena, domain->also_sign_count, sizeof(*also));
	size_t count = 0;

	for (size_t k = 0; k < domain->also_sign_count; k++) {
		const struct keyring_domain *other =
			keyring_find(policy->keyring, domain->also_sign[k]);

		/* The configuration's check sees to it that there is one. */
		if (other != NULL &&
		    slice_eq_nocase(other->name, domain->also_sign[k]))
			also[count++] = other;
	}
	policy->also[i] = also;
	policy->also_count[i] = count;
}

static void
domain_make(struct policy *policy, size_t i)
{
	const struct domain_signing_options *domain;
	struct policy_rules *rules;

	policy->rules[i] = &policy->common;
	if (policy->options.domains == NULL)
		return;
	domain = &policy->options.domains[i];
	also_make(policy, domain, i);
	if (!domain->has_canonicalization && domain->headers_count == 0 &&
	    domain->oversign_count == 0 && !domain->has_expire &&
	    domain->identity.len == 0)
		return;
	rules = arena_new(&policy->arena, sizeof(*rules));
	rules_make(&policy->options, domain, &policy->arena, rules);
	policy->rules[i] = rules;
}

struct policy *
policy_new(struct keyring *keyring, const struct signing_options *options)
{
	struct policy *policy = memory_new(sizeof(*policy));
	struct arena *arena = &policy->arena;
	size_t domains = keyring_domains_count(keyring), selectors = 0;

	ASSERT(keyring != NULL);
	atomic_init(&policy->references, 1);
	policy->keyring = keyring_ref(keyring);
	policy->options = *options;
	rules_make(options, NULL, arena, &policy->common);
	policy->rules = arena_array(arena, domains, sizeof(*policy->rules));
	policy->also = arena_array(arena, domains, sizeof(*policy->also));
	policy->also_count =
		arena_array(arena, domains, sizeof(*policy->also_count));
	for (size_t i = 0; i < domains; i++) {
		domain_make(policy, i);
		selectors += keyring_domain_at(keyring, i)->selectors_count;
	}
	names_collect(policy);
	senders_make(options, keyring, arena, &policy->senders);
	policy->options.senders = NULL;
	policy->options.headers = policy->options.oversign = NULL;
	policy->options.domains = NULL;
	policy->proven = arena_array(arena, selectors, sizeof(*policy->proven));
	for (size_t i = 0; i < selectors; i++)
		atomic_init(&policy->proven[i], 0);
	atomic_init(&policy->since_proof, 0);
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
	arena_done(&policy->arena);
	free(policy);
}

const struct signing_options *
policy_options(const struct policy *policy)
{
	return &policy->options;
}

const struct keyring *
policy_keyring(const struct policy *policy)
{
	return policy->keyring;
}

static size_t
domain_number(const struct policy *policy, const struct keyring_domain *domain)
{
	return (size_t)(domain - keyring_domain_at(policy->keyring, 0));
}

const struct policy_rules *
policy_rules_of(const struct policy *policy,
		const struct keyring_domain *domain)
{
	return policy->rules[domain_number(policy, domain)];
}

const struct keyring_domain *const *
policy_also(const struct policy *policy, const struct keyring_domain *domain,
	    size_t *count_out)
{
	size_t number = domain_number(policy, domain);

	*count_out = policy->also_count[number];
	return policy->also[number];
}

const struct senders *
policy_senders(const struct policy *policy)
{
	return &policy->senders;
}

bool
policy_signs_field(const struct policy *policy, struct slice name)
{
	return bsearch(&name, policy->names, policy->names_count, sizeof(name),
		       name_compare) != NULL;
}

/* ---- what has been proven ---- */

bool
policy_proof_is_due(struct policy *policy, const struct decision *decision)
{
	uint64_t every = policy->options.verify_every;
	uint64_t since = atomic_fetch_add_explicit(&policy->since_proof, 1,
						   memory_order_relaxed);

	for (size_t i = 0; i < decision->signers_count; i++) {
		size_t number = decision->signers[i].selector->number;

		if (atomic_load_explicit(&policy->proven[number],
					 memory_order_relaxed) == 0)
			return true;
	}
	return every > 0 && since + 1 >= every;
}

void
policy_proven(struct policy *policy, const struct decision *decision)
{
	for (size_t i = 0; i < decision->signers_count; i++)
		atomic_store_explicit(
			&policy->proven[decision->signers[i].selector->number],
			1, memory_order_relaxed);
	atomic_store_explicit(&policy->since_proof, 0, memory_order_relaxed);
}
