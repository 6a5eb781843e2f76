/*
 * explain_relay - the part of the explanation that is about the relay: what it
 * would change in the message, what it would leave and why, what it refuses.
 */
#ifndef MILTER_EXPLAIN_RELAY_H
#define MILTER_EXPLAIN_RELAY_H

#include "milter/explain.h"

/* Of a message that is taken. */
void explain_changes_write(const struct explain *explain, struct text *out);
/* Who would give it another identity, and who signs it then. */
void explain_rewriting_write(const struct explain *explain, struct text *out);
/* Appends why it is refused. False: it is not. */
bool explain_refusal_write(const struct explain *explain, struct text *out);

#endif
