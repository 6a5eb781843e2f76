/*
 * section_senders - OpenDKIM's ordered list of patterns as what it is: one
 * sender section for each, in its order. For lists that cannot be said by
 * domains.
 */
#ifndef RELAY_IMPORT_SECTION_SENDERS_H
#define RELAY_IMPORT_SECTION_SENDERS_H

#include "relay/import/sections.h"

/* The sections stay as places of keys and decide nothing any more. */
void section_senders_make(const struct signing_rules *rules,
			  struct sections *sections, struct arena *arena,
			  struct report *report);

#endif
