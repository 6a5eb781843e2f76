/*
 * opendkim_options - every option of opendkim.conf(5), one row each: what
 * becomes of it here.
 *
 * The names are those of OpenDKIM 2.11 (opendkim-config.h), experimental ones
 * and those that Debian leaves out among them.
 */
#ifndef RELAY_IMPORT_OPENDKIM_OPTIONS_H
#define RELAY_IMPORT_OPENDKIM_OPTIONS_H

#include "base/slice.h"

enum opendkim_type {
	OPENDKIM_TEXT,
	OPENDKIM_BOOL,   /* its first letter counts */
	OPENDKIM_NUMBER, /* as strtol(3) reads it: 022 is octal */
	OPENDKIM_INCLUDE,
};

enum opendkim_fate {
	OPENDKIM_CARRIED,  /* has a counterpart; somebody asks for it */
	OPENDKIM_NEEDLESS, /* has no meaning here: a note */
	OPENDKIM_LOST,     /* is missed, but the same mail is signed alike */
	OPENDKIM_DECISIVE, /* is missed, and decides what is signed how */
};

struct opendkim_option {
	const char *name;
	enum opendkim_type type;
	enum opendkim_fate fate;
	/* With this value nothing is missed; of a bool "no" or "yes". */
	const char *harmless;
	/* Why it means nothing, or what to do instead; of what is carried over,
	 * where to. */
	const char *text;
};

extern const struct opendkim_option opendkim_options[];
extern const size_t opendkim_options_count;

#endif
