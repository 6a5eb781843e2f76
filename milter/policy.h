/*
 * policy - who signs a message, with what, and why; as one immutable snapshot
 * of keyring and signing options.
 */
#ifndef MILTER_POLICY_H
#define MILTER_POLICY_H

#include "base/arena.h"
#include "keys/keyring.h"
#include "milter/canon.h"

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
	/* Of the first address; A-labels, lower case. Empty: none found. */
	struct slice author_domain;
	const struct keyring_domain *domain; /* the section; NULL: none */
	struct slice reason; /* one sentence for log, explain and reply */
};

/* What the header says about its author, as far as deciding needs it. */
struct header_facts {
	size_t from_count;     /* From fields */
	struct slice from;     /* the value of the first */
	const char *malformed; /* what is wrong with a line; NULL: nothing */
};

/* Who signs. Only a well-formed header with exactly one From field is signed,
 * whose addresses all have the same section:
 *
 *	a line that is no field, a NUL, a bare CR or LF    nobody
 *	more fields than h= should name (pipeline.h)       nobody
 *	no From field, or more than one                    nobody
 *	a From that cannot be read (milter/author.h)       nobody
 *	a From without an address ("undisclosed:;")        nobody
 *	addresses of different sections                    nobody
 *	no section, or none of its selectors is active     nobody
 *
 * Where nobody signs, the verdict follows unsigned. What decision_out points to
 * lives in the arena or in the policy. */
void policy_decide(const struct policy *policy,
		   const struct header_facts *facts, struct arena *arena,
		   struct decision *decision_out);
const struct signing_options *policy_options(const struct policy *policy);

/* A field that is signed wherever it occurs, each time it occurs. An oversigned
 * one is named once more than it occurs, so that none can be added (RFC 6376
 * 5.4). */
struct policy_field {
	struct slice name;
	bool is_oversigned;
};

/* In the order of h=. */
const struct policy_field *policy_fields(size_t *count_out);

#endif
