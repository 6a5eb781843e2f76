/*
 * rules - from the signing options of one section to what its signatures are
 * made by.
 */
#ifndef MILTER_RULES_H
#define MILTER_RULES_H

#include "milter/policy.h"

/* Fills *rules_out; copies into the arena. domain NULL: the options alone. */
void rules_make(const struct signing_options *options,
		const struct domain_signing_options *domain,
		struct arena *arena, struct policy_rules *rules_out);

#endif
