/*
 * findings - what was looked at, how it is, and what is to be done about it.
 */
#ifndef RELAY_DOCTOR_FINDINGS_H
#define RELAY_DOCTOR_FINDINGS_H

#include "base/arena.h"

enum finding_result { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct finding {
	const char *check; /* "dkim", "spf", … */
	struct slice name; /* what was looked at: a domain, an address */
	enum finding_result result;
	struct slice why;     /* a sentence */
	struct slice publish; /* a record, as a line of a zone file; or "" */
};

#define FINDINGS_MAX 256

/* In an arena, which is the caller's. */
struct findings {
	struct arena *arena;
	struct finding items[FINDINGS_MAX];
	size_t count;
	bool has_failed;
	bool is_unanswered; /* the DNS did not answer somewhere */
};

/* Formats `why`. Beyond the bound nothing is noted. The finding may still be
 * given a record to publish. */
struct finding *finding_add(struct findings *findings, const char *check,
			    struct slice name, enum finding_result result,
			    const char *why, ...) PRINTF_LIKE(5, 6);

void findings_write_text(const struct findings *findings, struct text *out);
/* One document. */
void findings_write_json(const struct findings *findings, struct slice domain,
			 struct text *out);

#endif
