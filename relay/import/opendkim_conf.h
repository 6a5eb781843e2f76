/*
 * opendkim_conf - an opendkim.conf and what it includes, read as OpenDKIM
 * reads it: "Name value" a line, cut at the first "#", the last of several
 * lines with one name holds.
 *
 * Every option is in the table of opendkim_options.h; another one is an error.
 * What has no counterpart goes to the report while reading. What has one must
 * be asked for: opendkim_conf_finish() asserts that it was.
 *
 * Bounds      OPENDKIM_*_MAX below, CONF_FILE_MAX for a file.
 * Ownership   Everything lives in the arena given.
 */
#ifndef RELAY_IMPORT_OPENDKIM_CONF_H
#define RELAY_IMPORT_OPENDKIM_CONF_H

#include "relay/import/opendkim_options.h"
#include "relay/import/report.h"

#define OPENDKIM_INCLUDES_MAX 5 /* deep, as OpenDKIM has it */
#define OPENDKIM_FILES_MAX 100

struct opendkim_setting {
	struct slice value;
	long number; /* of a number; of a bool 1 or 0 */
	struct conf_place place;
	bool is_set, is_taken;
};

struct opendkim_conf {
	/* In the order of opendkim_options. */
	struct opendkim_setting *settings;
	const char *path;
};

/* What is malformed, unknown or not readable goes to the errors. */
void opendkim_conf_read(const char *path, struct arena *arena,
			struct opendkim_conf *conf, struct report *report,
			struct conf_errors *errors);
/* The same from bytes; an Include is an error. */
void opendkim_conf_parse(struct slice bytes, const char *path,
			 struct arena *arena, struct opendkim_conf *conf,
			 struct report *report, struct conf_errors *errors);

/* The setting of that name, which has to be in the table as OPENDKIM_CARRIED;
 * NULL where the file does not set it. */
const struct opendkim_setting *opendkim_setting(struct opendkim_conf *conf,
						const char *name);
/* Its place, or the file alone where it is not set. */
struct conf_place opendkim_place(const struct opendkim_conf *conf,
				 const struct opendkim_setting *setting);
bool opendkim_is_true(struct opendkim_conf *conf, const char *name);
void opendkim_conf_finish(const struct opendkim_conf *conf);

#endif
