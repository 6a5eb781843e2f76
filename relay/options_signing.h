/*
 * options_signing - the options of signing and domain sections: what their
 * values mean, and how sections refer to each other.
 */
#ifndef RELAY_OPTIONS_SIGNING_H
#define RELAY_OPTIONS_SIGNING_H

#include "relay/options.h"

/* Each a conf_parse_fn; the element is named behind it. */
conf_parse_fn canonicalization_value;        /* struct signing_options */
conf_parse_fn domain_canonicalization_value; /* struct domain_section */
conf_parse_fn domain_expire_value;           /* struct domain_section */
conf_parse_fn field_name_value;              /* struct slice */
conf_parse_fn identity_value;       /* struct slice; may be empty */
conf_parse_fn domain_name_value;    /* struct slice: A-labels */
conf_parse_fn sender_pattern_value; /* struct slice */

/* From options->domains to what keys/ and milter/ are given. */
void signing_options_split(struct options *options);
/* What only several options together show; the domains' names are settled. */
void signing_options_check(const struct options *options,
			   struct conf_errors *errors);

#endif
