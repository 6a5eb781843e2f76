/*
 * fold - header fields in lines that hosts on the way take (RFC 5322 2.1.1,
 * 2.2.3).
 */
#ifndef MILTER_FOLD_H
#define MILTER_FOLD_H

#include "base/slice.h"

/* Octets of a line, without its CRLF (RFC 5322 2.1.1). */
#define LINE_OCTETS_MAX 998

/* Whether a line of it is over LINE_OCTETS_MAX. */
bool fold_is_due(struct slice field);
/* Appends a field, with its CRLF, in lines of at most LINE_OCTETS_MAX where
 * white space allows, which is added behind the commas of addresses (RFC 5322
 * 3.4), or semicolons, that have none: no line is of white space alone. False:
 * it does not; some are still longer. */
bool fold_field(struct slice field, struct text *out) MUST_USE;

#endif
