/*
 * record - the public record of a key, as it stands in the DNS.
 *
 * RFC 6376 3.6.1 and RFC 8463 4: a tag list in a TXT record at
 * SELECTOR._domainkey.DOMAIN. Pure: takes and gives bytes, asks nobody.
 */
#ifndef KEYS_RECORD_H
#define KEYS_RECORD_H

#include "base/tags.h"
#include "keys/key.h"

/* RFC 1035 3.3: a string in a record holds at most this many bytes. */
#define RECORD_STRING_MAX 255

struct record {
	struct slice kind; /* k=, "rsa" where it is absent */
	bool is_known;     /* k= names an algorithm of ours: */
	enum key_algorithm algorithm;
	bool takes_sha256; /* h= is absent or has sha256 */
	bool for_email;    /* s= is absent or has "*" or "email" */
	bool is_testing;   /* t=y */
	bool is_strict;    /* t=s: i= must have exactly the domain of d= */
	bool is_revoked;   /* p= is empty */
	/* Says what it means in a way that some verifiers take for another: k=
	 * in capitals, lists in h= and s=, g= (RFC 4871 3.6.1). */
	bool is_unusual;
	struct slice notes; /* n=, as written (dkim-quoted-printable) */
	struct text key;   /* p=, decoded */
};

/* Reads the text of one TXT record, its strings joined. The slices of *out
 * point into `txt`. Unknown tags, hashes, services and flags are passed over,
 * as RFC 6376 asks; v= must come first and be DKIM1 where it comes. */
bool record_parse(struct slice txt, struct record *out,
		  struct fault *fault) MUST_USE;
void record_done(struct record *record);

/* Appends "v=DKIM1; k=…; p=…" for this key. */
void record_write(const struct key_public *key, struct text *out);
/* Appends "SELECTOR._domainkey.DOMAIN". */
void record_name_write(struct slice selector, struct slice domain,
		       struct text *out);
/* Appends the text of a TXT record as it stands in a zone file (RFC 1035 5.1),
 * in strings of at most RECORD_STRING_MAX bytes, each with a space before it. */
void record_write_strings(struct slice text, struct text *out);
/* Appends one record in that form: one line with the whole name. */
void record_write_zone(struct slice selector, struct slice domain,
		       const struct key_public *key, struct text *out);

/* True for names of dot-separated labels of letters, digits, hyphens and
 * underscores, as selectors and domains (A-labels) have: safe as the name of
 * a file and in a zone. */
bool record_label_check(struct slice name) MUST_USE;
/* Domain and selector are such names and together fit into the DNS. */
bool record_names_check(struct slice selector, struct slice domain,
			struct fault *fault) MUST_USE;

#endif
