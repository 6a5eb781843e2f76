/*
 * write - lines of a configuration, within a section.
 */
#ifndef RELAY_IMPORT_WRITE_H
#define RELAY_IMPORT_WRITE_H

#include "base/slice.h"

/* "    name = "text"" and the end of the line. */
void write_text(const char *name, struct slice text, struct text *out);
/* "    name = {"a", "b"}", over several lines where it has to be. */
void write_list(const char *name, const struct slice *items, size_t count,
		struct text *out);

#endif
