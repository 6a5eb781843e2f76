/*
 * options_senders - the options of sender sections: what their values mean, and
 * how they refer to domain sections.
 */
#ifndef RELAY_OPTIONS_SENDERS_H
#define RELAY_OPTIONS_SENDERS_H

#include "relay/options.h"

/* Each a conf_parse_fn; the element is named behind it. */
conf_parse_fn sender_sign_value;     /* struct sender_sign */
conf_parse_fn sender_identity_value; /* struct slice; may be empty */

/* Titles, as patterns in A-labels. */
void senders_settle(struct options *options, struct conf_errors *errors);
/* Whether what they name is there; the domains' names are settled. */
void senders_check(const struct options *options, struct conf_errors *errors);
/* What they name and what will not sign: as after a rotation that forgot them. */
void senders_warn(const struct options *options,
		  void (*warn)(const char *text));

#endif
