/*
 * policy - who signs a message, with what, and why; as one immutable snapshot
 * of keyring and signing options.
 */
#ifndef MILTER_POLICY_H
#define MILTER_POLICY_H

#include "keys/keyring.h"

enum canonicalization { CANON_SIMPLE, CANON_RELAXED };
enum unsigned_action { UNSIGNED_RELAY, UNSIGNED_REJECT };

/* As configured (section signing). */
struct signing_options {
	enum canonicalization header_canon, body_canon;
	enum unsigned_action unsigned_action;
};

struct policy;

/* Takes a reference of the keyring, copies the options. Immutable; the
 * reference count is atomic. */
struct policy *policy_new(struct keyring *keyring,
			  const struct signing_options *options);
struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy);
CLEAN_POINTER(struct policy, policy_unref)

enum verdict {
	VERDICT_SIGN,   /* a section matches and has active selectors */
	VERDICT_RELAY,  /* nobody signs it; goes on as it is */
	VERDICT_REJECT, /* nobody signs it, and unsigned = reject */
};

struct decision {
	enum verdict verdict;
	struct slice author_domain; /* A-labels, lower case; empty: none found */
	const struct keyring_domain *domain; /* the section; NULL: none */
	struct slice reason;        /* one sentence for log, explain and reply */
};

#endif
