/*
 * examination - what a receiver of a domain's mail would see, looked at from
 * here: `signet doctor`.
 */
#ifndef RELAY_DOCTOR_EXAMINATION_H
#define RELAY_DOCTOR_EXAMINATION_H

#include "keys/check.h"
#include "relay/doctor/findings.h"
#include "relay/options.h"
#include "relay/resolver_ask.h"

struct examination {
	const struct options *options;
	struct resolver *resolver;
	struct arena *arena;
	struct findings *findings;
	struct slice domain; /* lower case, A-labels */
	/* Where mail comes from, as the world sees it; none: not known. */
	struct address *sources;
	size_t sources_count;
};

/* Asks the DNS; the answer lives as long as the examination. No answer at all
 * is noted in the findings. */
void examination_ask(struct examination *examination, struct slice name,
		     enum dns_type type, struct dns_answer *answer_out);
/* Whether one of the host's addresses is this one. */
bool examination_host_has(struct examination *examination, struct slice host,
			  const struct address *address);

/* Does a verifier find the keys that sign? `section` is the domain's, or NULL:
 * nobody signs. */
void examine_dkim(struct examination *examination,
		  const struct keyring_domain *section);
/* RFC 7489, with the search for the record up the tree, label by label. */
void examine_dmarc(struct examination *examination,
		   const struct keyring_domain *section);
/* May the sources send in the domain's name (RFC 7208)? */
void examine_spf(struct examination *examination);
/* Do the sources have names that lead back to them (RFC 8601 3, FCrDNS)? */
void examine_sources(struct examination *examination);
/* Where replies and bounces go, and whether by TLS. */
void examine_exchangers(struct examination *examination);

#endif
