/*
 * options_values - what single values of the configuration mean: addresses,
 * networks, names. Pure.
 */
#ifndef RELAY_OPTIONS_VALUES_H
#define RELAY_OPTIONS_VALUES_H

#include "base/conf.h"

/* A domain name in ASCII, without the last dot: with "_" as well, which the DNS
 * takes, signatures name, and hosts in networks of containers have. */
bool domain_check(struct slice text, struct fault *fault) MUST_USE;
/* Of ours and of certificates: as RFC 1123 2.1 has the names of hosts. */
bool host_name_check(struct slice text, struct fault *fault) MUST_USE;
/* A selector: labels, as a domain name (RFC 6376 3.1). */
bool selector_check(struct slice text, struct fault *fault) MUST_USE;
/* "example.net", "*.example.net", "*" or "[192.0.2.1]". */
bool pattern_check(struct slice text, struct fault *fault) MUST_USE;

/* Each a conf_parse_fn; the element is named behind it. */
conf_parse_fn listener_address_value; /* struct listener_options, whole */
conf_parse_fn network_value;          /* struct network */
conf_parse_fn client_network_value; /* struct network, or "!" and one */
conf_parse_fn resolver_value;         /* struct address */
conf_parse_fn next_hop_value;         /* struct slice; may be empty */
conf_parse_fn certificate_name_value; /* struct slice */
conf_parse_fn route_sender_value;     /* struct slice */
conf_parse_fn source_value;           /* struct address, without a port */
conf_parse_fn helo_value;             /* struct slice; may be empty */
conf_parse_fn mailbox_value;          /* struct slice; may be empty */
conf_parse_fn rewrite_value;          /* the same, or "*@" and a domain */
conf_parse_fn milter_socket_value;    /* struct milter_section, whole */
conf_parse_fn socket_mode_value;      /* uint32_t */
conf_parse_fn daemon_name_value;      /* struct slice */
conf_parse_fn authserv_id_value;      /* struct slice; may be empty */

#endif
