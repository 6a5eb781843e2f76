/*
 * policy - who signs a message, with what, and why; as one immutable snapshot
 * of keyring and signing options.
 */
#ifndef MILTER_POLICY_H
#define MILTER_POLICY_H

#include "base/arena.h"
#include "keys/keyring.h"
#include "milter/canon.h"

/* Names in a list of header fields. */
#define POLICY_NAMES_MAX 50
/* Signatures of one message. */
#define POLICY_SIGNERS_MAX 16
/* Domains of signatures that a message brings along; further ones are not
 * looked at. */
#define POLICY_SIGNED_MAX 100
/* Alone in a list of fields to oversign: there is none. */
#define POLICY_NO_NAME "none"
/* x= has at most 12 digits (RFC 6376 3.5). */
#define POLICY_TIME_MAX_S 999999999999

enum unsigned_action { UNSIGNED_RELAY, UNSIGNED_REJECT };
/* What becomes of a message that carries a signature of the domain that is to
 * sign it: signed beside it, in its place, or not at all. */
enum existing_action { EXISTING_KEEP, EXISTING_STRIP, EXISTING_SKIP };

/* As configured in a domain section, beside struct domain_options. What is
 * empty is as in struct signing_options. */
struct domain_signing_options {
	bool has_canonicalization;
	enum canonicalization header_canon, body_canon;
	struct slice *headers;
	size_t headers_count;
	struct slice *oversign;
	size_t oversign_count;
	bool has_expire;
	uint64_t expire_ms;
	struct slice identity; /* i=; empty: none */
	struct slice *also_sign; /* domains that have sections */
	size_t also_sign_count;
};

/* Who is to sign: a selector or, where that is empty, those that the section
 * of the domain has for the sender. */
struct sender_sign {
	struct slice selector, domain; /* domain: A-labels; or "*" */
};

/* As configured in a sender section (milter/senders.h). */
struct sender_options {
	struct slice pattern;  /* "*@news.example.com" */
	struct sender_sign *sign;
	size_t sign_count;     /* 0: nobody is to */
	struct slice identity; /* i=; its domain may be "*"; empty: none */
	unsigned line;         /* of the configuration file, for messages */
	const char *file;
};

/* Which of the sender sections that match a sender decide. */
enum sender_match { SENDER_MATCH_FIRST, SENDER_MATCH_ALL };

/* As configured (section signing). */
struct signing_options {
	enum canonicalization header_canon, body_canon;
	enum unsigned_action unsigned_action;
	enum existing_action existing_action;
	struct slice *headers; /* none: the built-in list */
	size_t headers_count;
	struct slice *oversign; /* likewise; POLICY_NO_NAME: no field */
	size_t oversign_count;
	uint64_t expire_ms;    /* x= behind t=; 0: no x= */
	uint64_t verify_every; /* milter/proof.h */
	/* In the order of the keyring's; NULL: none has any. */
	const struct domain_signing_options *domains;
	struct sender_options *senders;
	size_t senders_count;
	enum sender_match sender_match;
};

/* A field that is signed wherever it occurs, each time it occurs. An oversigned
 * one is named once more than it occurs, so that none can be added (RFC 6376
 * 5.4). */
struct policy_field {
	struct slice name;
	bool is_oversigned;
};

/* How the signatures of a domain section are made. */
struct policy_rules {
	enum canonicalization header_canon, body_canon;
	const struct policy_field *fields; /* in the order of h= */
	size_t fields_count;
	uint64_t expire_s;     /* 0: no x= */
	struct slice identity; /* i=; empty: none */
};

struct policy;

/* Takes a reference of the keyring, copies the options. Immutable but for what
 * has been proven; the reference count is atomic. */
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

/* One signature to be made. */
struct policy_signer {
	struct slice domain; /* d= */
	const struct keyring_selector *selector;
	const struct policy_rules *rules;
	struct slice identity; /* i=; empty: none */
};

struct sender;
struct senders;

struct decision {
	enum verdict verdict;
	/* Of the first address; A-labels, lower case. Empty: none found. */
	struct slice author_domain;
	/* The sender sections that decide; none: the author's domain does. */
	const struct sender *const *senders;
	size_t senders_count;
	bool senders_differ; /* or d= would, between the addresses */
	const struct keyring_domain *domain; /* the section; NULL: none */
	/* In the order of h=; none unless the verdict is VERDICT_SIGN. */
	const struct policy_signer *signers;
	size_t signers_count;
	/* It brings a signature of this one of these domains; empty: of none.
	 * strips: all such are to be removed. */
	struct slice signed_by;
	bool strips;
	struct slice reason; /* one sentence for log, explain and reply */
};

/* What the header says about its author, as far as deciding needs it. */
struct header_facts {
	size_t from_count;     /* From fields */
	struct slice from;     /* the value of the first */
	const char *malformed; /* what is wrong with a line; NULL: nothing */
	/* d= of the signatures that it carries, in A-labels. */
	const struct slice *signed_domains;
	size_t signed_count;
};

/*
 * Who signs. Only a well-formed header with exactly one From field is signed,
 * whose addresses all have the same section:
 *
 *	a line that is no field, a NUL, a bare CR or LF    nobody
 *	more fields than h= should name (pipeline.h)       nobody
 *	no From field, or more than one                    nobody
 *	a From that cannot be read (milter/author.h)       nobody
 *	a From without an address ("undisclosed:;")        nobody
 *	addresses of different sender sections             nobody
 *	sender sections whose `sign` is empty              nobody
 *	addresses of different sections                    nobody
 *	addresses of different domains under "*", by a
 *	sender section or without one                      nobody
 *	no section, or none of its selectors is active     nobody
 *	signed by the domain already, and existing = skip  nobody
 *
 * Where sender sections match the addresses, those sign that they name: of the
 * first one that matches or, where sender_match says so, of all. Else the
 * domain section of the addresses decides.
 *
 * d= is the section's domain; under "*" the author's own, in whose DNS the
 * selector has to be published. Of the active selectors those sign that have a
 * sender pattern for each of the addresses; where none has, those without
 * patterns. Then, by the same rule, those of the domains of also_sign, each
 * with its own section's options. At most POLICY_SIGNERS_MAX sign.
 *
 * Where nobody signs, the verdict follows unsigned; what is skipped is relayed.
 * What decision_out points to lives in the arena or in the policy.
 */
void policy_decide(const struct policy *policy,
		   const struct header_facts *facts, struct arena *arena,
		   struct decision *decision_out);
const struct signing_options *policy_options(const struct policy *policy);
const struct keyring *policy_keyring(const struct policy *policy);
const struct policy_rules *policy_rules_of(const struct policy *policy,
					   const struct keyring_domain *domain);

/* The sections that its also_sign names. */
const struct keyring_domain *const *
policy_also(const struct policy *policy, const struct keyring_domain *domain,
	    size_t *count_out);

const struct senders *policy_senders(const struct policy *policy);

/* True where some section signs fields of that name; From always. */
bool policy_signs_field(const struct policy *policy, struct slice name);

/* ---- what has been proven (milter/proof.h) ---- */

/* Counts a signed message. True where it is to be looked at: no message was yet
 * that a selector of it signed, or verify_every have been signed since the last
 * one. It stays so until policy_proven(). Any thread. */
bool policy_proof_is_due(struct policy *policy,
			 const struct decision *decision);
void policy_proven(struct policy *policy, const struct decision *decision);

/* The built-in list, in the order of h=. */
const struct policy_field *policy_fields(size_t *count_out);
/* NULL, or why a field of that name must not be signed (RFC 6376 5.4.1). */
const char *policy_name_problem(struct slice name);

#endif
