/*
 * claim - what a DKIM-Signature field says, and whether it may be looked at any
 * further (RFC 6376 3.5, 6.1.1; RFC 8301; RFC 8463 3).
 *
 * Ownership   Slices point into the field or the arena.
 */
#ifndef MILTER_CLAIM_H
#define MILTER_CLAIM_H

#include "base/arena.h"
#include "base/fault.h"
#include "keys/key.h"
#include "milter/canon.h"
#include "milter/digest.h"

#define CLAIM_NAMES_MAX 1000

struct claim {
	/* As written, for reports; empty where they are missing. */
	struct slice domain_text, selector_text, algorithm_text, b_text;
	/* A-labels, lower case. identity: of i=, or of d=. */
	struct slice domain, selector, identity_domain;
	enum key_algorithm algorithm;
	enum canonicalization header_canon, body_canon;
	struct slice *names; /* h= */
	size_t names_count;
	uint64_t body_limit; /* l=, or BODYHASH_WHOLE */
	uint8_t body_hash[DIGEST_SIZE];
	struct slice signature;  /* b=, decoded */
	struct slice unfinished; /* the field without the value of b= */
};

/* field: from its name to before its last CRLF; value: the part behind its
 * colon. time_s is now. On a fault, whose text is the reason of a permerror,
 * *claim_out still has the texts for reports. Its kind is FAULT_INPUT where the
 * field cannot be understood, FAULT_LIMIT where we or RFC 8301 do not take what
 * it asks for, and FAULT_UNTRUSTED where it vouches for nothing now. */
bool claim_parse(struct slice field, struct slice value, uint64_t time_s,
		 struct arena *arena, struct claim *claim_out,
		 struct fault *fault) MUST_USE;

#endif
