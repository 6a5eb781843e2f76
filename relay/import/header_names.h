/*
 * header_names - which fields OpenDKIM signs and oversigns, as signet's lists.
 */
#ifndef RELAY_IMPORT_HEADER_NAMES_H
#define RELAY_IMPORT_HEADER_NAMES_H

#include "relay/import/opendkim_conf.h"

/* Appends `headers` and `oversign` of the signing section. What OpenDKIM does
 * without being told is written out, too: it is not what signet would do. */
void header_names_write(struct opendkim_conf *conf, struct slice directory,
			struct arena *arena, struct text *out,
			struct report *report, struct conf_errors *errors);

#endif
