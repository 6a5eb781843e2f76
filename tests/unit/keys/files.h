/* Key files of tests/vectors/keys and of a directory for one test. */
#ifndef TESTS_FILES_H
#define TESTS_FILES_H

#include "keys/keyring.h"

/* Appends the file; fails the test where it cannot be read. */
void vector_read(const char *name, struct text *out);
/* A new directory below the system's temporary one; files_done() removes it
 * and all in it. */
struct files {
	struct text directory;
};
void files_new(struct files *files);
void files_done(struct files *files);
/* Writes DIRECTORY/name (name may hold one directory). */
void files_put(struct files *files, const char *name, struct slice bytes,
	       unsigned mode);
void files_put_vector(struct files *files, const char *name,
		      const char *vector, unsigned mode);

#endif
