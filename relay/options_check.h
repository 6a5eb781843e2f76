/*
 * options_check - what the table cannot say: how options relate to each other,
 * to the machine and to the file they stand in. A part of options.
 */
#ifndef RELAY_OPTIONS_CHECK_H
#define RELAY_OPTIONS_CHECK_H

#include "relay/options.h"

/* Sources that are no files; no include can name them, since no text of the
 * configuration holds a control character, and no "*.conf" matches them, since
 * they stand hidden in a directory. */
#define SOURCE_HOSTNAME "\1/.hostname"
#define SOURCE_RESOLV_CONF "\1/.resolv.conf"
#define SOURCE_DIRECTORY "\1/.directory"
#define SOURCE_MEMORY "\1/.memory"
#define SOURCE_FILES "\1/.files"

/* Fills in what the configuration leaves to the machine, makes paths absolute
 * and domains lower case. */
void options_settle(struct options *options,
		    const struct conf_sources *sources,
		    struct conf_errors *errors);
void options_check(const struct options *options, struct conf_errors *errors);
/* True without errors; else the fault says how many, and `text` (which may be
 * NULL) gets them. */
bool options_errors_report(const struct conf_errors *errors, const char *path,
			   struct text *text, struct fault *fault) MUST_USE;

/* The milter's, which options_check_files() leaves to the milter. */
void options_check_milter_group(const struct options *options,
				struct conf_errors *errors);

/* The n-th section of that name; an empty one for the default listener. */
const struct conf_item *options_section_at(const struct conf_item *section,
					   const char *name, size_t n);
/* The fault as an error of that place, unless all is good. */
void options_fault_report(struct conf_errors *errors, struct conf_place place,
			  bool is_good, const struct fault *fault);

#endif
