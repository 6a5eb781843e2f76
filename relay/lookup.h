/*
 * lookup - TXT records for commands that wait: a resolver on a loop of its
 * own, for the length of one question.
 */
#ifndef RELAY_LOOKUP_H
#define RELAY_LOOKUP_H

#include "milter/commands.h"

/* A lookup_txt_fn; owner is a const struct options *, for its resolvers. */
enum lookup_status lookup_txt(void *owner, struct slice name,
			      struct text *records, size_t max,
			      size_t *count_out);

#endif
