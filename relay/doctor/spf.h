/*
 * spf - what a receiver makes of a domain's SPF record for mail from one
 * address (RFC 7208 4: check_host). Pure: is given the answers of the DNS.
 */
#ifndef RELAY_DOCTOR_SPF_H
#define RELAY_DOCTOR_SPF_H

#include "relay/net/dns.h"

enum spf_result {
	SPF_NONE,
	SPF_NEUTRAL,
	SPF_PASS,
	SPF_FAIL,
	SPF_SOFTFAIL,
	SPF_TEMPERROR,
	SPF_PERMERROR,
};

/* RFC 7208 4.6.4 */
#define SPF_LOOKUPS_MAX 10
#define SPF_VOIDS_MAX 2

/* Whoever can ask the DNS, and wait for the answer, which lives as long as the
 * arena in `owner` does. */
typedef void spf_ask_fn(void *owner, struct slice name, enum dns_type type,
			struct dns_answer *answer_out);

struct spf_question {
	const struct address *client; /* an IPv4 or IPv6 address */
	struct slice domain;	      /* of the reverse-path */
	struct slice local;	      /* its local part */
	struct slice helo;
	spf_ask_fn *ask;
	void *owner;
	struct arena *arena;
};

struct spf_answer {
	enum spf_result result;
	struct slice record; /* the domain's own; "" where there is none */
	unsigned lookups;    /* that count, so far */
	struct slice reason; /* the term that decided, or what is wrong */
};

void spf_check(const struct spf_question *question,
	       struct spf_answer *answer_out);
/* "pass", "softfail" */
const char *spf_result_name(enum spf_result result);

#endif
