/* A policy with the keys of the RFCs, for the tests of the stage. */
#ifndef UNIT_MILTER_STAGE_H
#define UNIT_MILTER_STAGE_H

#include <criterion/criterion.h>

#include "milter/policy.h"
#include "tests/vectors/dkim.h"

/*
 * example.com      subdomains; selectors rsa, ed (active) and old (retired)
 * example.net      ed, alone
 * sub.example.com  closer than its parent; ed
 * idle.example     no active selector
 */
static struct selector_options stage_com[] = {
	{.name = SLICE_LITERAL("rsa")},
	{.name = SLICE_LITERAL("old"), .state = SELECTOR_RETIRED},
	{.name = SLICE_LITERAL("ed")},
};
static struct selector_options stage_one[] = {
	{.name = SLICE_LITERAL("ed")},
};
static struct selector_options stage_idle[] = {
	{.name = SLICE_LITERAL("next"), .state = SELECTOR_PUBLISH},
};
static struct domain_options stage_domains[] = {
	{.name = SLICE_LITERAL("example.com"), .subdomains = true,
	 .selectors = stage_com, .selectors_count = COUNT(stage_com)},
	{.name = SLICE_LITERAL("example.net"), .selectors = stage_one,
	 .selectors_count = COUNT(stage_one)},
	{.name = SLICE_LITERAL("sub.example.com"), .selectors = stage_one,
	 .selectors_count = COUNT(stage_one)},
	{.name = SLICE_LITERAL("idle.example"), .selectors = stage_idle,
	 .selectors_count = COUNT(stage_idle)},
};

static inline struct key *
stage_key(enum key_algorithm algorithm)
{
	struct key *key = NULL;
	struct fault fault = {0};

	cr_assert(key_read(SLICE(algorithm == KEY_RSA_SHA256
					 ? RFC8463_KEY_RSA
					 : RFC8463_KEY_ED25519),
			   &key, &fault),
		  "%s", fault.text);
	return key;
}

#define STAGE_SELECTORS_MAX 20

/* kinds: of each selector, through all domains. */
static inline struct policy *
stage_policy_of(const struct keys_options *keys,
		const enum key_algorithm *kinds,
		const struct signing_options *options)
{
	struct key_public *publics[STAGE_SELECTORS_MAX];
	struct keyring *keyring;
	struct policy *policy;
	size_t count = 0;

	for (size_t i = 0; i < keys->domains_count; i++)
		for (size_t k = 0; k < keys->domains[i].selectors_count; k++) {
			struct key *key = stage_key(kinds[count]);

			cr_assert_lt(count, COUNT(publics));
			publics[count++] = key_public_of(key);
			key_free(key);
		}
	keyring = keyring_new(keys, publics, count);
	policy = policy_new(keyring, options);
	keyring_unref(keyring);
	return policy;
}

static inline struct policy *
stage_policy(const struct signing_options *options)
{
	static const enum key_algorithm kinds[] = {
		KEY_RSA_SHA256,	    KEY_RSA_SHA256,	KEY_ED25519_SHA256,
		KEY_ED25519_SHA256, KEY_ED25519_SHA256, KEY_RSA_SHA256};
	struct keys_options keys = {.domains = stage_domains,
				    .domains_count = COUNT(stage_domains)};

	return stage_policy_of(&keys, kinds, options);
}

#endif
