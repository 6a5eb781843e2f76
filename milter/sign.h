/*
 * sign - the text of a DKIM-Signature field (RFC 6376 3.5, 3.7).
 *
 * The field is written up to and with "b=": that is what goes into the header
 * hash. The signature then goes behind it, folded, and nothing before it
 * changes.
 */
#ifndef MILTER_SIGN_H
#define MILTER_SIGN_H

#include "keys/key.h"
#include "milter/canon.h"
#include "milter/digest.h"

/* Lines of the field, without CRLF; RFC 5322 2.1.1. A domain or selector that
 * is longer stands alone on its line. The tags stand in OpenDKIM's order, and
 * what comes before b= is folded as OpenDKIM does. */
#define SIGN_LINE_MAX 78

struct sign_field {
	enum key_algorithm algorithm;
	enum canonicalization header_canon, body_canon;
	struct slice domain, selector;
	struct slice identity; /* i=, "user@example.com" or "@example.com", in
				  A-labels; empty: none */
	uint64_t time_s;
	uint64_t expire_s; /* x= behind t=; 0: none */
	const struct slice *names; /* h=, in order, with repetitions */
	size_t names_count;
	uint8_t body_hash[DIGEST_SIZE];
};

/* Appends "DKIM-Signature: v=1; …; b=". */
void sign_field_write(const struct sign_field *field, struct text *out);
/* Appends the signature to a field written so, in base64, and CRLF. */
void sign_field_complete(struct slice signature, struct text *out);

/* What is to be signed: the header hash, with `fields` what fields_digest()
 * gave (it stays as it is), and `unfinished` the field with its b= empty. */
void sign_digest(const struct digest *fields, enum canonicalization canon,
		 struct slice unfinished, uint8_t out[DIGEST_SIZE]);

#endif
