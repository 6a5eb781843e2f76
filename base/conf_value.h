/*
 * conf_value - single values of the configuration: from words to fields and
 * back. A part of conf; conf_table.c and conf_write.c share it.
 */
#ifndef BASE_CONF_VALUE_H
#define BASE_CONF_VALUE_H

#include "base/conf.h"

/* The part of the key behind the section's path ("", "domain.selector"); empty
 * where the option is not directly in that section. */
struct slice conf_key_within(const struct conf_option *option,
			     struct slice path);
/* Whether the text stands in quotes in the file. */
bool conf_kind_is_quoted(enum conf_kind kind);
bool conf_kind_is_list(enum conf_kind kind);
/* Reads one value, or one element of a list. */
bool conf_element_read(const struct conf_option *option, struct slice text,
		       struct arena *arena, void *element,
		       struct fault *fault) MUST_USE;
/* A number as a user would write it: "50M", "5m", "100". */
void conf_number_write(enum conf_kind kind, uint64_t number, struct text *out);
/* How far apart two names are: letters wrong, missing, extra or swapped. */
size_t conf_distance(struct slice a, struct slice b);
/* Whether a typing error would explain it. */
bool conf_is_near(struct slice a, struct slice b);

#endif
