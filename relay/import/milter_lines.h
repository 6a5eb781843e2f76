/*
 * milter_lines - the options of OpenDKIM that say where it listens, whose mail
 * it signs and what it does in trouble, as a milter section and what belongs
 * to it.
 */
#ifndef RELAY_IMPORT_MILTER_LINES_H
#define RELAY_IMPORT_MILTER_LINES_H

#include "relay/import/opendkim_conf.h"

/* Appends everything that stands before the signing section. */
void milter_lines_write(struct opendkim_conf *conf, struct slice directory,
			struct arena *arena, struct text *out,
			struct report *report, struct conf_errors *errors);

#endif
