/*
 * path - mailboxes and parameters of MAIL and RCPT (RFC 5321 4.1.2, 4.1.3), with
 * UTF-8 by RFC 6531 3.3. Pure.
 *
 * What is found goes out again to somebody else's parser: by the grammar, once
 * needs_quotes is seen to. What is read may be written as old programs do,
 * where it can mean one thing only: without brackets, with spaces or a display
 * name inside of them, with a dot behind the domain. Source routes are taken
 * and forgotten (RFC 5321 appendix C). A local part may have more than 64 octets
 * (4.5.3.1 would have no limits at all): the senders of mailing lists often do.
 */
#ifndef RELAY_SERVER_PATH_H
#define RELAY_SERVER_PATH_H

#include "base/slice.h"

enum path_status {
	PATH_OK,
	PATH_MALFORMED, /* brackets not closed, or what stands there is no
			   mailbox */
	PATH_NO_DOMAIN, /* a local part alone; local is set */
	PATH_TOO_LONG,  /* RFC 5321 4.5.3.1.2, .3 */
};

struct path {
	struct slice address; /* without <> and source route; "": null path */
	struct slice local, domain;
	bool needs_quotes;    /* the local part, for its dots; mobile carriers
				 have given out such */
	bool is_literal;      /* the domain is an address in [] */
	bool is_utf8;         /* not ASCII: only with SMTPUTF8 (RFC 6531). The
				 domain may then be one that IDNA refuses. */
};

/* Reads "<…>", or what ends at a space, from the front; *rest_out is what
 * follows. */
enum path_status path_parse(struct slice text, struct path *path_out,
			    struct slice *rest_out);
/* The same whatever stands there, if that is something and has no control
 * character: for who takes another address instead. */
bool path_skip(struct slice text, struct slice *inside_out,
	       struct slice *rest_out);
/* A domain of LDH labels (RFC 1035 2.3.1, RFC 1123 2.1), with underscores. */
bool path_domain_check(struct slice domain);
/* An address literal: "[192.0.2.1]", "[IPv6:2001:db8::1]". */
bool path_literal_check(struct slice literal);

enum param_status { PARAM_NONE, PARAM_ONE, PARAM_MALFORMED };

/* The next "KEYWORD[=VALUE]" (RFC 5321 4.1.2, esmtp-param). A value may have
 * UTF-8 in it. */
enum param_status param_next(struct slice *rest, struct slice *keyword_out,
			     struct slice *value_out);

#endif
