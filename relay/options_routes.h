/*
 * options_routes - whether the ways that mail may take make sense: those of
 * `delivery` and of each `route`. A part of options.
 */
#ifndef RELAY_OPTIONS_ROUTES_H
#define RELAY_OPTIONS_ROUTES_H

#include "relay/options.h"

void options_routes_check(const struct options *options,
			  struct conf_errors *errors);

#endif
