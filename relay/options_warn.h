/*
 * options_warn - what a configuration may say, and hardly anybody means. A part
 * of options.
 */
#ifndef RELAY_OPTIONS_WARN_H
#define RELAY_OPTIONS_WARN_H

#include "relay/options.h"

/* One line for each, with file and line where there is one. */
void options_warn(const struct options *options,
		  void (*warn)(const char *text));

#endif
