/*
 * Options of files that a test has written, in a directory of its own.
 */
#ifndef TESTS_UNIT_RELAY_OPTIONS_STAND_H
#define TESTS_UNIT_RELAY_OPTIONS_STAND_H

#include "relay/options.h"

/* Where it is; the current directory between init and done. */
extern char options_directory[];

struct fixture {
	struct conf_sources sources;
	struct options *options;
	struct fault fault;
	struct text said;
};

void fixture_done(struct fixture *fixture);
/* As options_load() of a file "c" in the current directory. */
bool fixture_of(struct fixture *fixture, const char *contents);

void options_stand_init(void);
void options_stand_done(void);
void file_write(const char *name, const char *contents);

#endif
