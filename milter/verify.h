/*
 * verify - checks DKIM signatures: RFC 6376 6, RFC 8463, RFC 8301.
 *
 *	verifier_new → verifier_header for each field, in order
 *	             → verifier_end_of_header: which are VERIFY_PENDING, and
 *	               the `query` of each, is known
 *	             → verifier_body with the body's bytes, cut anywhere
 *	             → verifier_end: a struct verification per DKIM-Signature,
 *	               top one first
 *	   for each that is VERIFY_PENDING the caller looks up the TXT records
 *	   of `query` and gives them to verifier_answer()
 *
 * Pure: asks no DNS, no clock. Fields and bytes as in pipeline.h.
 *
 * Results     pass        it verifies
 *             fail        body or header were changed, or it is forged
 *             permerror   it cannot be verified, now or ever: syntax, a bound,
 *                         an algorithm that RFC 8301 bars, no or a bad key,
 *                         expired
 *             temperror   the key could not be asked for now
 * Bounds      VERIFY_SIGNATURES_MAX signatures are looked at, CLAIM_NAMES_MAX
 *             names in an h=, VERIFY_RECORDS_MAX records of one key. The caller
 *             bounds the header's size.
 * Ownership   Copies what it keeps. What it hands out lives until
 *             verifier_free().
 * Thread      One at a time.
 */
#ifndef MILTER_VERIFY_H
#define MILTER_VERIFY_H

#include "base/arena.h"
#include "keys/key.h"
#include "milter/bodyhash.h"

#define VERIFY_SIGNATURES_MAX 32
#define VERIFY_RECORDS_MAX 8

enum verify_status {
	VERIFY_PENDING, /* needs the records of `query` */
	VERIFY_PASS,
	VERIFY_FAIL,
	VERIFY_TEMPERROR,
	VERIFY_PERMERROR,
};

/* Of a permerror: what RFC 8601 2.7.1 tells apart. */
enum verify_cause {
	VERIFY_CAUSE_OTHER,
	VERIFY_CAUSE_SYNTAX, /* the field cannot be understood */
	VERIFY_CAUSE_POLICY, /* RFC 8301, or a bound of ours */
};

struct verification {
	enum verify_status status;
	enum verify_cause cause;
	bool is_testing; /* the key is in test mode: t=y */
	/* As written, empty where the field does not say: may hold any byte. */
	struct slice domain, selector, algorithm, b;
	/* A-labels, lower case; empty while it is not sure that they are any. */
	struct slice domain_name, selector_name;
	struct slice query;  /* "s._domainkey.d" */
	struct slice reason; /* one sentence; empty while pending */
	/* n= of the key's record, as it stands there (RFC 6376 3.6.1): may hold
	 * any byte. */
	struct slice notes;
};

/* What the DNS said. */
enum lookup_status {
	LOOKUP_FOUND,
	LOOKUP_ABSENT, /* NXDOMAIN or no such record */
	LOOKUP_FAILED, /* no answer now: temperror */
};

struct verifier;

/* time_s: now, for x=; seconds since 1970. */
struct verifier *verifier_new(uint64_t time_s);
void verifier_free(struct verifier *verifier);
CLEAN_POINTER(struct verifier, verifier_free)

void verifier_header(struct verifier *verifier, struct slice field);
void verifier_end_of_header(struct verifier *verifier);
/* Between the two, and after verifier_end(): what is known so far. */
const struct verification *verifier_results(const struct verifier *verifier,
					    size_t *count_out);
void verifier_body(struct verifier *verifier, struct slice bytes);
/* Instead: a body that was seen before its header, not finished; of each
 * canonicalization, NULL where no signature has it. Takes them over. What a
 * signature with l= would need is not there: permerror. */
void verifier_take_body(struct verifier *verifier,
			struct bodyhash *bodies[CANON_RELAXED + 1]);
const struct verification *verifier_end(struct verifier *verifier,
					size_t *count_out);
/* Signatures beyond the bound, of which nothing is said. */
size_t verifier_ignored(const struct verifier *verifier);

/* Decides the i-th, which is pending. A record is one TXT record, its strings
 * joined. Of several the first that verifies counts, else the first reason. */
void verifier_answer(struct verifier *verifier, size_t i,
		     enum lookup_status answer, const struct slice *records,
		     size_t count);

/* "pass", "fail", "temperror", "permerror"; "pending". */
const char *verify_status_name(enum verify_status status);

#endif
