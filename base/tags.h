/*
 * tags - the "tag=value; …" lists of DKIM-Signature fields and key records.
 *
 * Reads the grammar of RFC 6376 3.2 as it is written: folding white space
 * (with CRLF, RFC 6376 2.8) only where it allows some, names of letters,
 * digits and "_", no empty list, no empty element. What goes beyond it:
 * white space behind the last ";" is taken, since many records are published
 * with it; so is white space that is folded more than once, as RFC 5322 4.2 has
 * it taken; and non-ASCII characters in values are taken where they are UTF-8
 * (RFC 8616 5). A name that comes twice makes the whole list invalid; unknown
 * names are kept. Names are case-sensitive.
 *
 * Ownership   The slices point into the bytes that were parsed.
 * Errors      FAULT_INPUT, or FAULT_LIMIT beyond TAGS_MAX. The text names the
 *             place and never quotes a value.
 */
#ifndef BASE_TAGS_H
#define BASE_TAGS_H

#include "base/fault.h"
#include "base/slice.h"

/* A DKIM-Signature has 14 tags of its own, a key record 7. */
#define TAGS_MAX 64

struct tag {
	struct slice name;
	/* Without white space at its ends; folds in the middle are kept. */
	struct slice value;
	/* All between "=" and ";": what RFC 6376 3.7 removes from b=. */
	struct slice raw;
};

struct tags {
	struct tag items[TAGS_MAX]; /* in the order of the list */
	size_t count;
};

/* On a fault *tags_out is as it was. */
bool tags_parse(struct slice list, struct tags *tags_out,
		struct fault *fault) MUST_USE;
/* NULL where there is none of that name. */
const struct tag *tags_find(const struct tags *tags, const char *name);

/* The next element of a value such as "sha1:sha256" (h=, s=, t=, and h= of
 * a signature), without the folding white space around it. False at the end.
 * Empty elements are given as such. Start with *rest = value. */
bool tags_next_item(struct slice *rest, struct slice *item);

#endif
