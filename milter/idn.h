/*
 * idn - a domain as DNS and d= want it: A-labels, lower case (RFC 5890,
 * RFC 6376 3.5). The only file that knows libidn2.
 */
#ifndef MILTER_IDN_H
#define MILTER_IDN_H

#include "base/arena.h"
#include "base/fault.h"

#define IDN_DOMAIN_MAX 253
#define IDN_LABEL_MAX 63

/* ASCII is lowered and checked (letters, digits, hyphen and underscore in
 * labels of 1 to 63, 253 in all, no dot at the end); anything else has to be
 * UTF-8 and is mapped by UTS 46, nontransitional. The result lives in the
 * arena. */
bool idn_to_ascii(struct slice domain, struct arena *arena,
		  struct slice *ascii_out, struct fault *fault) MUST_USE;

#endif
