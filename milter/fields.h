/*
 * fields - the fields of one header, taken by name from the bottom up, as h=
 * selects them (RFC 6376 5.4.2).
 *
 * A name in h= takes the last field of that name that was not taken yet; one
 * more than there are takes nothing, and says that there are no more.
 *
 * Cost        n log n once, log n for each take: nothing that a stranger puts
 *             into a header or an h= makes it more.
 * Ownership   The fields' bytes are the caller's and must outlive this.
 */
#ifndef MILTER_FIELDS_H
#define MILTER_FIELDS_H

#include "milter/canon.h"
#include "milter/digest.h"

struct field {
	struct slice name, whole;
	size_t position; /* from the top */
	size_t taken;    /* in the first of a name: how many of them */
};

struct fields {
	struct field *items;
	size_t count, size;
	bool is_sorted;
	const char *withheld; /* fields_withhold() */
};

void fields_done(struct fields *fields);
/* From the top down; not after the first take. */
void fields_add(struct fields *fields, struct slice name, struct slice whole);
/* False: no more of that name. Case does not matter. */
bool fields_take(struct fields *fields, struct slice name,
		 struct slice *whole_out);
/* From now on the field with these very bytes is never taken: a signature that
 * is being verified is none of those that its h= names (RFC 6376 3.5). Empty:
 * none is withheld. */
void fields_withhold(struct fields *fields, struct slice whole);
/* Puts those of that name, as they are spelled, to their positions. */
void fields_place(struct fields *fields, struct slice name,
		  struct slice *by_position);
/* Nothing is taken any more. */
void fields_rewind(struct fields *fields);

/* A digest of the canonical form of what the names take, in their order, each
 * with its CRLF: RFC 6376 3.7 up to the DKIM-Signature field itself. Rewinds
 * first. The caller frees. */
struct digest *fields_digest(struct fields *fields, const struct slice *names,
			     size_t count, enum canonicalization canon);

#endif
