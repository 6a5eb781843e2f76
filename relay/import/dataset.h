/*
 * dataset - a data set of OpenDKIM's (opendkim(8), DATA SETS): a list in the
 * configuration itself, or a file of keys and values or of patterns and values.
 * Other kinds (databases, LDAP, scripts) are refused.
 */
#ifndef RELAY_IMPORT_DATASET_H
#define RELAY_IMPORT_DATASET_H

#include "base/conf.h"

#define DATASET_ROWS_MAX 50000
/* OpenDKIM cuts lines of files at this length. */
#define DATASET_LINE_MAX 1022

struct dataset_row {
	struct slice key, value; /* a value may be empty */
	struct conf_place place;
};

struct dataset {
	struct dataset_row *rows;
	size_t count;
	bool is_patterns; /* refile: */
};

/* name: the option's value, such as "refile:/etc/opendkim/signing.table".
 * directory: where relative paths start; empty: in "/". False: the errors say
 * why. */
bool dataset_read(struct slice name, struct slice directory,
		  struct conf_place place, struct arena *arena,
		  struct dataset *dataset_out,
		  struct conf_errors *errors) MUST_USE;
/* The rows of a file's bytes. */
bool dataset_parse(struct slice bytes, const char *path, struct arena *arena,
		   struct dataset *dataset,
		   struct conf_errors *errors) MUST_USE;
/* A path as it stands in a configuration, below directory where relative. */
struct slice dataset_path(struct slice path, struct slice directory,
			  struct arena *arena);

#endif
