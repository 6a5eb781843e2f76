#include "tests/unit/milter/stage.h"

#include "base/base64.h"
#include "milter/bodyhash.h"
#include "milter/claim.h"
#include "milter/fields.h"
#include "milter/header.h"
#include "milter/sign.h"
#include "milter/verify.h"

#define NOW 1763760000

static struct verifier *
verifier_fed(const char *header, const char *body, size_t step)
{
	struct verifier *verifier = verifier_new(NOW);
	struct header_reader reader;
	struct slice input = SLICE(header), rest = SLICE(body), field;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	while (header_read(&reader, &input, &field) == HEADER_FIELD)
		verifier_header(verifier, field);
	while (header_read_last(&reader, &field) == HEADER_FIELD)
		verifier_header(verifier, field);
	header_reader_done(&reader);
	verifier_end_of_header(verifier);
	for (; rest.len > 0; rest = slice_from(rest, step))
		verifier_body(verifier, slice_sub(rest, 0, step));
	return verifier;
}

/* ---- the messages that the RFCs print ---- */

static const struct {
	const char *name, *signature, *fields, *body, *query, *record;
} vectors[] = {
	{"RFC 6376 A.2", RFC6376_SIGNATURE, RFC6376_FIELDS, RFC6376_BODY,
	 "brisbane._domainkey.example.com", RFC6376_RECORD},
	{"RFC 8463 A.3, Ed25519", RFC8463_SIGNATURE_ED25519, RFC8463_FIELDS,
	 RFC8463_BODY, "brisbane._domainkey.football.example.com",
	 RFC8463_RECORD_ED25519},
	{"RFC 8463 A.3, RSA", RFC8463_SIGNATURE_RSA, RFC8463_FIELDS,
	 RFC8463_BODY, "test._domainkey.football.example.com",
	 RFC8463_RECORD_RSA},
	{"RFC 8463 A.3, both", RFC8463_SIGNATURE_RSA,
	 RFC8463_SIGNATURE_ED25519 "\r\n" RFC8463_FIELDS, RFC8463_BODY,
	 "test._domainkey.football.example.com", RFC8463_RECORD_RSA},
};

static enum verify_status
vector_verify(size_t i, const char *fields, const char *body, size_t step)
{
	CLEAN(text_done) struct text header = {0};
	CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
	const struct verification *results;
	struct slice record = SLICE(vectors[i].record);
	size_t count;

	text_addf(&header, "%s\r\n%s", vectors[i].signature, fields);
	verifier = verifier_fed(text_string(&header), body, step);
	results = verifier_end(verifier, &count);
	cr_assert_geq(count, 1);
	if (results[0].status == VERIFY_PENDING) {
		cr_expect(slice_eq(results[0].query, SLICE(vectors[i].query)),
			  "%s: '%.*s'", vectors[i].name,
			  SLICE_ARG(results[0].query));
		verifier_answer(verifier, 0, LOOKUP_FOUND, &record, 1);
	}
	return results[0].status;
}

Test(verify, messages_of_the_rfcs)
{
	for (size_t i = 0; i < COUNT(vectors); i++)
		for (size_t step = 1; step < 80; step++)
			cr_expect_eq(vector_verify(i, vectors[i].fields,
						   vectors[i].body, step),
				     VERIFY_PASS, "%s", vectors[i].name);
}

Test(verify, changed_messages_fail)
{
	for (size_t i = 0; i < COUNT(vectors); i++) {
		CLEAN(text_done) struct text fields = {0}, body = {0};
		char *at;

		text_add_string(&fields, vectors[i].fields);
		text_add_string(&body, vectors[i].body);
		at = strstr(body.bytes, "game");
		*at = 'n';
		cr_expect_eq(vector_verify(i, vectors[i].fields, body.bytes,
					   9),
			     VERIFY_FAIL, "%s: body", vectors[i].name);
		at = strstr(fields.bytes, "dinner");
		*at = 'w';
		cr_expect_eq(vector_verify(i, fields.bytes, vectors[i].body,
					   9),
			     VERIFY_FAIL, "%s: header", vectors[i].name);
	}
}

/* ---- one rule after the other ---- */

#define TAGS                                                                   \
	"v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=sel; "     \
	"h=From:Subject; bh=%s; "
#define RECORD(more)                                                           \
	"v=DKIM1; k=ed25519; " more                                            \
	"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

/* The signature is made over the tags as they stand, with bh= filled in, so
 * that only what the row is about is wrong. */
static const struct {
	const char *name, *tags, *record;
	enum verify_status status;
	const char *reason; /* a part of it */
} rows[] = {
	{"good", TAGS "b=", RECORD(""), VERIFY_PASS, "verified"},
	{"b= in the middle", "b=; " TAGS "t=1", RECORD(""), VERIFY_PASS, ""},
	{"b= with space behind it", TAGS "b= ; t=1", RECORD(""), VERIFY_PASS,
	 ""},
	{"folded everywhere",
	 "v = 1 ;\r\n a = ed25519-sha256; c = relaxed/relaxed ; d = "
	 "example.com;\r\n\ts=sel; h = From\r\n : Subject ; bh = %s ; b =",
	 RECORD(""), VERIFY_PASS, ""},
	{"simple by default",
	 "v=1; a=ed25519-sha256; d=example.com; s=sel; h=From; bh=%s; b=",
	 RECORD(""), VERIFY_PASS, ""},
	{"body simple by default", "v=1; a=ed25519-sha256; c=relaxed; "
	 "d=example.com; s=sel; h=From; bh=%s; b=", RECORD(""), VERIFY_PASS,
	 ""},
	{"unknown tag", TAGS "zz=top; b=", RECORD(""), VERIFY_PASS, ""},
	{"last semicolon", TAGS "t=1; b=;", RECORD(""), VERIFY_PASS, ""},
	{"absent field in h=", "v=1; a=ed25519-sha256; c=relaxed/relaxed; "
	 "d=example.com; s=sel; h=From:X-No:From; bh=%s; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"signatures in h=, of which there is no other", "v=1; "
	 "a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=sel; "
	 "h=From:DKIM-Signature:DKIM-Signature; bh=%s; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"upper case domain", "v=1; a=ed25519-sha256; c=relaxed/relaxed; "
	 "d=EXAMPLE.com; s=SEL; h=From; bh=%s; b=", RECORD(""), VERIFY_PASS,
	 ""},
	{"not expired", TAGS "t=1; x=1763760000; b=", RECORD(""), VERIFY_PASS,
	 ""},
	{"expired", TAGS "x=1763759999; b=", RECORD(""), VERIFY_PERMERROR,
	 "expired"},
	{"x= before t=", TAGS "t=9999999999; x=9999999999; b=", RECORD(""),
	 VERIFY_PERMERROR, "x= is not behind t="},
	{"bad t=", TAGS "t=soon; b=", RECORD(""), VERIFY_PERMERROR, "t="},
	/* RFC 6376 3.5: may be taken for infinite. */
	{"t= of 13 digits", TAGS "t=1234567890123; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"x= of 13 digits", TAGS "t=1; x=1234567890123; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"t= and x= of 13 digits", TAGS "t=1234567890123; x=1234567891123; b=",
	 RECORD(""), VERIFY_PASS, ""},
	{"x= of 30 digits", TAGS "x=123456789012345678901234567890; b=",
	 RECORD(""), VERIFY_PASS, ""},
	{"x= of 12 digits before t= of 13",
	 TAGS "t=1234567890123; x=999999999999; b=", RECORD(""),
	 VERIFY_PERMERROR, "x= is not behind t="},
	{"x= of 13, not all of them digits", TAGS "x=123456789012z; b=",
	 RECORD(""), VERIFY_PERMERROR, "x="},
	{"identity", TAGS "i=joe@example.com; b=", RECORD(""), VERIFY_PASS,
	 ""},
	{"identity without local part", TAGS "i=@news.Example.com; b=",
	 RECORD(""), VERIFY_PASS, ""},
	{"identity elsewhere", TAGS "i=@example.net; b=", RECORD(""),
	 VERIFY_PERMERROR, "not within d="},
	{"identity that only ends alike", TAGS "i=@badexample.com; b=",
	 RECORD(""), VERIFY_PERMERROR, "not within d="},
	{"identity above", TAGS "i=@com; b=", RECORD(""), VERIFY_PERMERROR,
	 "not within d="},
	{"identity without @", TAGS "i=example.com; b=", RECORD(""),
	 VERIFY_PERMERROR, "i= is malformed"},
	{"query method", TAGS "q=dns/txt; b=", RECORD(""), VERIFY_PASS, ""},
	{"one of the query methods", TAGS "q=x/y : dns/txt; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"unknown query method", TAGS "q=x/y; b=", RECORD(""),
	 VERIFY_PERMERROR, "query method"},
	{"wrong version", "v=2; a=ed25519-sha256; d=example.com; s=sel; "
	 "h=From; bh=%s; b=", RECORD(""), VERIFY_PERMERROR, "v= is not 1"},
	{"no version", "a=ed25519-sha256; d=example.com; s=sel; h=From; "
	 "bh=%s; b=", RECORD(""), VERIFY_PERMERROR, "v= is missing"},
	{"no h=", "v=1; a=ed25519-sha256; d=example.com; s=sel; bh=%s; b=",
	 RECORD(""), VERIFY_PERMERROR, "h= is missing"},
	{"From not signed", "v=1; a=ed25519-sha256; d=example.com; s=sel; "
	 "h=Subject; bh=%s; b=", RECORD(""), VERIFY_PERMERROR,
	 "From is not signed"},
	{"empty name in h=", "v=1; a=ed25519-sha256; d=example.com; s=sel; "
	 "h=From::To; bh=%s; b=", RECORD(""), VERIFY_PERMERROR,
	 "h= is malformed"},
	{"rsa-sha1", "v=1; a=rsa-sha1; d=example.com; s=sel; h=From; bh=%s; "
	 "b=", RECORD(""), VERIFY_PERMERROR, "rsa-sha1"},
	{"unknown algorithm", "v=1; a=dsa-sha256; d=example.com; s=sel; "
	 "h=From; bh=%s; b=", RECORD(""), VERIFY_PERMERROR, "algorithm"},
	{"unknown canonicalization", "v=1; a=ed25519-sha256; c=nowsp; "
	 "d=example.com; s=sel; h=From; bh=%s; b=", RECORD(""),
	 VERIFY_PERMERROR, "canonicalization"},
	{"two of one tag", TAGS "d=example.com; b=", RECORD(""),
	 VERIFY_PERMERROR, ""},
	{"no tag list", "hello", RECORD(""), VERIFY_PERMERROR, ""},
	{"domain that is none", "v=1; a=ed25519-sha256; d=exa mple.com; "
	 "s=sel; h=From; bh=%s; b=", RECORD(""), VERIFY_PERMERROR,
	 "d= is not a domain"},
	{"selector that is none", "v=1; a=ed25519-sha256; d=example.com; "
	 "s=a/b; h=From; bh=%s; b=", RECORD(""), VERIFY_PERMERROR,
	 "s= is not a selector"},
	{"bh= of another length", "v=1; a=ed25519-sha256; d=example.com; "
	 "s=sel; h=From; bh=AAAA; b=", RECORD(""), VERIFY_PERMERROR, "bh="},
	{"bh= of another body", "v=1; a=ed25519-sha256; d=example.com; "
	 "s=sel; h=From; bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=",
	 RECORD(""), VERIFY_FAIL, "body"},
	{"l= of all", TAGS "l=7; b=", RECORD(""), VERIFY_PASS, " bits"},
	{"l= of a part", TAGS "l=3; b=", RECORD(""), VERIFY_PASS,
	 "l= leaves the last 4 bytes of the body unsigned"},
	{"l= of nothing", TAGS "l=0; b=", RECORD(""), VERIFY_PASS,
	 "the last 7 bytes of the body unsigned"},
	{"l= beyond the body", TAGS "l=8; b=", RECORD(""), VERIFY_PERMERROR,
	 "shorter than l="},
	{"l= of no length", TAGS "l=18446744073709551615; b=", RECORD(""),
	 VERIFY_PERMERROR, "l="},
	{"l= beyond all numbers", TAGS "l=99999999999999999999999; b=",
	 RECORD(""), VERIFY_PERMERROR, "l="},
	{"l= negative", TAGS "l=-1; b=", RECORD(""), VERIFY_PERMERROR, "l="},
	{"no version in the record", TAGS "b=", "k=ed25519; "
	 "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", VERIFY_PASS, ""},
	{"another version in the record", TAGS "b=", "v=DKIM2; k=ed25519; "
	 "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", VERIFY_PERMERROR,
	 "key record"},
	{"a record of something else", TAGS "b=", "v=spf1 -all",
	 VERIFY_PERMERROR, "key record"},
	{"no p=", TAGS "b=", "v=DKIM1; k=ed25519", VERIFY_PERMERROR,
	 "key record"},
	{"revoked", TAGS "b=", "v=DKIM1; k=ed25519; p=", VERIFY_PERMERROR,
	 "revoked"},
	{"key of another kind", TAGS "b=", RFC8463_RECORD_RSA,
	 VERIFY_PERMERROR, "kind"},
	{"key of an unknown kind", TAGS "b=", "v=DKIM1; k=dsa; p=AAAA",
	 VERIFY_PERMERROR, "kind"},
	{"key that is none", TAGS "b=", "v=DKIM1; k=ed25519; p=AAAA",
	 VERIFY_PERMERROR, "the key"},
	{"another key", TAGS "b=", "v=DKIM1; k=ed25519; "
	 "p=PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=", VERIFY_FAIL,
	 "another key"},
	{"key of 512 bits", "v=1; a=rsa-sha256; c=relaxed/relaxed; "
	 "d=example.com; s=sel; h=From; bh=%s; b=",
	 "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMWs4/fj7jeYJBPUU3Q5XHkzo"
	 "y0spcNDa1IUwOTQee6B+026Tf5MtSz9HxM561npwN0TEYJyKj6OsNT0ltIDUS8CAwEAA"
	 "Q==", VERIFY_PERMERROR, "at least 1024"},
	{"sha256 allowed", TAGS "b=", RECORD("h=sha1:sha256; "), VERIFY_PASS,
	 ""},
	{"sha256 not allowed", TAGS "b=", RECORD("h=sha1; "),
	 VERIFY_PERMERROR, "sha256"},
	{"service email", TAGS "b=", RECORD("s=tlsrpt:email; "), VERIFY_PASS,
	 ""},
	{"any service", TAGS "b=", RECORD("s=*; "), VERIFY_PASS, ""},
	{"another service", TAGS "b=", RECORD("s=tlsrpt; "), VERIFY_PERMERROR,
	 "not for mail"},
	{"test mode", TAGS "b=", RECORD("t=y; "), VERIFY_PASS, "test mode"},
	{"strict, exact", TAGS "i=@example.com; b=", RECORD("t=s; "),
	 VERIFY_PASS, ""},
	{"strict, below", TAGS "i=@news.example.com; b=", RECORD("t=y:s; "),
	 VERIFY_PERMERROR, "no subdomain"},
	{"notes", TAGS "b=", RECORD("n=hello=20there; "), VERIFY_PASS, ""},
	{"unknown tags in the record", TAGS "b=",
	 RECORD("g=*; zz=top; u=; "), VERIFY_PASS, ""},
	{"two of one tag in the record", TAGS "b=", RECORD("n=a; n=b; "),
	 VERIFY_PERMERROR, "key record"},
	{"version not first in the record", TAGS "b=", "k=ed25519; v=DKIM1; "
	 "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", VERIFY_PERMERROR,
	 "v= is not the first tag"},
	{"version in lower case in the record", TAGS "b=", "v=dkim1; "
	 "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	 VERIFY_PERMERROR, "v= is not DKIM1"},
	{"p= with white space", TAGS "b=", "v=DKIM1; k=ed25519; p = "
	 "11qYAYKxCrfV S/7TyWQHOg7h\tcvPapiMlrwIaaPcHURo= ;", VERIFY_PASS, ""},
	{"p= that is no base64", TAGS "b=", "v=DKIM1; k=ed25519; p=11qY!!!",
	 VERIFY_PERMERROR, "p= is not base64"},
	{"unknown hash beside sha256", TAGS "b=", RECORD("h=sha512:sha256; "),
	 VERIFY_PASS, ""},
	{"unknown flags", TAGS "b=", RECORD("t=z:y:w; "), VERIFY_PASS,
	 "test mode"},
	{"strict, no i=", TAGS "b=", RECORD("t=s; "), VERIFY_PASS, ""},
	{"kind in capitals", TAGS "b=", "v=DKIM1; k=ED25519; "
	 "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", VERIFY_PASS, ""},
	{"no semicolon at the end, spaces around", TAGS "b=",
	 "  v = DKIM1 ;\tk = ed25519 ; "
	 "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=  ", VERIFY_PASS, ""},
	{"an empty record", TAGS "b=", "", VERIFY_PERMERROR, ""},
	{"made in the future", TAGS "t=1999999999; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"expires now", TAGS "x=1763760000; b=", RECORD(""), VERIFY_PASS, ""},
	{"q= with white space and case", TAGS "q= DNS/TXT ; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"q= with options", TAGS "q=dns/txt/x; b=", RECORD(""),
	 VERIFY_PERMERROR, "query method"},
	{"z= is passed over", TAGS "z=From:foo=40bar|To:x; b=", RECORD(""),
	 VERIFY_PASS, ""},
	{"a= in capitals", "v=1; a=ED25519-SHA256; c=relaxed/relaxed; "
	 "d=example.com; s=sel; h=From; bh=%s; b=", RECORD(""),
	 VERIFY_PERMERROR, "algorithm of a= is not known"}, /* RFC 6376 3.2 */
	{"key of 768 bits", "v=1; a=rsa-sha256; c=relaxed/relaxed; "
	 "d=example.com; s=sel; h=From; bh=%s; b=",
	 "v=DKIM1; p=MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAL04SzjZbFjHZHccqF3LaWPmf"
	 "cLRlTPN4yOSZYcYj/T6Ku6ZXcScLjBFRNGak110IOkcLPpxN2CnRRKmD40Ven84ombMmT"
	 "pkHaY4W/B8ayFfTC/+gNcrYK81QVvGnMvnMQIDAQAB", VERIFY_PERMERROR, "at least 1024"},
};

static const char fields_example[] = "Subject: one\r\n"
				     "From: Joe <joe@example.com>\r\n"
				     "subject:two \r\n"
				     "\tlines\r\n";
static const char body_example[] = "hello\r\n\r\n";

static void
claim_body_hash(const char *tags, struct text *out)
{
	enum canonicalization canon = strstr(tags, "relaxed/relaxed") != NULL
					      ? CANON_RELAXED
					      : CANON_SIMPLE;
	const char *limit = strstr(tags, " l=");
	CLEAN(bodyhash_free_clean) struct bodyhash *hash = bodyhash_new(canon);
	uint64_t len = limit == NULL ? BODYHASH_WHOLE
				     : strtoull(limit + 3, NULL, 10);

	bodyhash_limit(hash, len);
	bodyhash_feed(hash, SLICE(body_example));
	bodyhash_finish(hash);
	base64_write(out, slice_of(bodyhash_result(hash, len), DIGEST_SIZE));
}

/* What the verifier hashes of a header with this one signature. */
static void
header_hash(const char *field, uint8_t out[DIGEST_SIZE])
{
	static const struct slice all[] = {SLICE_LITERAL("From"),
					   SLICE_LITERAL("Subject")};
	CLEAN(fields_done) struct fields fields = {0};
	bool is_relaxed = strstr(field, "relaxed") != NULL;
	enum canonicalization canon = is_relaxed ? CANON_RELAXED
						 : CANON_SIMPLE;
	size_t names = strstr(field, "Subject") != NULL ? 2 : 1;
	CLEAN(digest_free_clean) struct digest *digest = NULL;

	fields_add(&fields, SLICE("Subject"), SLICE("Subject: one"));
	fields_add(&fields, SLICE("From"),
		   SLICE("From: Joe <joe@example.com>"));
	fields_add(&fields, SLICE("subject"),
		   SLICE("subject:two \r\n\tlines"));
	digest = fields_digest(&fields, all, names, canon);
	sign_digest(digest, canon, SLICE(field), out);
}

/* "b=" is where the signature goes; RFC 6376 3.7 has all white space around
 * it go too. */
static void
field_sign(const char *tags, struct text *out)
{
	CLEAN(text_done) struct text value = {0}, bare = {0}, hash = {0};
	CLEAN(key_free_clean) struct key *key = stage_key(KEY_ED25519_SHA256);
	uint8_t digest[DIGEST_SIZE], signature[KEY_SIGNATURE_MAX];
	const char *b, *end;
	size_t len;

	claim_body_hash(tags, &hash);
	end = strstr(tags, "%s");
	text_add_string(&value, "DKIM-Signature: ");
	text_add(&value, slice_of(tags, end == NULL ? strlen(tags)
						    : (size_t)(end - tags)));
	if (end != NULL) {
		text_add(&value, text_slice(&hash));
		text_add_string(&value, end + 2);
	}
	b = strstr(value.bytes, " b=");
	if (b == NULL)
		b = strstr(value.bytes, " b =");
	if (b == NULL) {
		text_add(out, text_slice(&value));
		return;
	}
	b = strchr(b, '=') + 1;
	end = *b == '\0' ? b : strchr(b, ';');
	text_add(&bare, slice_of(value.bytes, (size_t)(b - value.bytes)));
	text_add_string(&bare, end);
	header_hash(text_string(&bare), digest);
	cr_assert(key_sign(key, digest, signature, &len, NULL));
	text_add(out, slice_of(value.bytes, (size_t)(b - value.bytes)));
	base64_write(out, slice_of(signature, len));
	text_add_string(out, b);
}

Test(verify, rules)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text header = {0};
		CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
		const struct verification *result;
		struct slice record = SLICE(rows[i].record);
		size_t count;

		field_sign(rows[i].tags, &header);
		text_addf(&header, "\r\n%s", fields_example);
		verifier = verifier_fed(text_string(&header), body_example,
					3);
		result = verifier_end(verifier, &count);
		cr_assert_eq(count, 1);
		if (result->status == VERIFY_PENDING) {
			cr_expect(slice_eq(result->query,
					   SLICE("sel._domainkey.example."
						 "com")),
				  "%s", rows[i].name);
			verifier_answer(verifier, 0, LOOKUP_FOUND,
					&record, 1);
		}
		cr_expect_eq(result->status, rows[i].status, "%s: %s: %.*s",
			     rows[i].name, verify_status_name(result->status),
			     SLICE_ARG(result->reason));
		cr_expect_not_null(memmem(result->reason.bytes,
					  result->reason.len, rows[i].reason,
					  strlen(rows[i].reason)),
				   "%s: '%.*s'", rows[i].name,
				   SLICE_ARG(result->reason));
	}
}

Test(verify, notes_are_handed_on)
{
	static const char *const records[] = {
		RECORD("n=hello=20there; "),
		"v=DKIM1; k=ed25519; p=; n=hello=20there"};

	for (size_t i = 0; i < COUNT(records); i++) {
		CLEAN(text_done) struct text header = {0};
		CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
		const struct verification *result;
		struct slice record = SLICE(records[i]);
		size_t count;

		field_sign(TAGS "b=", &header);
		text_addf(&header, "\r\n%s", fields_example);
		verifier = verifier_fed(text_string(&header), body_example, 3);
		result = verifier_end(verifier, &count);
		cr_assert_eq(result->status, VERIFY_PENDING);
		verifier_answer(verifier, 0, LOOKUP_FOUND, &record, 1);
		cr_expect(slice_eq(result->notes, SLICE("hello=20there")),
			  "%s", records[i]);
	}
}

static const struct {
	const char *name;
	enum lookup_status answer;
	struct slice records[3];
	size_t count;
	enum verify_status status;
} answer_rows[] = {
	{"no such record", LOOKUP_ABSENT, {{0}}, 0, VERIFY_PERMERROR},
	{"no answer", LOOKUP_FAILED, {{0}}, 0, VERIFY_TEMPERROR},
	{"the second one fits", LOOKUP_FOUND,
	 {SLICE_LITERAL("v=spf1 -all"), SLICE_LITERAL(RECORD(""))}, 2,
	 VERIFY_PASS},
	{"none fits", LOOKUP_FOUND,
	 {SLICE_LITERAL("v=spf1 -all"), SLICE_LITERAL("v=DKIM1; p=")}, 2,
	 VERIFY_PERMERROR},
	{"another key and the right one", LOOKUP_FOUND,
	 {SLICE_LITERAL("k=ed25519; "
			"p=PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="),
	  SLICE_LITERAL("v=DKIM1; p="), SLICE_LITERAL(RECORD(""))}, 3,
	 VERIFY_PASS},
	{"nonsense and another key", LOOKUP_FOUND,
	 {SLICE_LITERAL("x"),
	  SLICE_LITERAL("k=ed25519; "
			"p=PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=")},
	 2, VERIFY_FAIL},
};

Test(verify, answers)
{
	for (size_t i = 0; i < COUNT(answer_rows); i++) {
		CLEAN(text_done) struct text header = {0};
		CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
		const struct verification *result;
		size_t count;

		field_sign(TAGS "b=", &header);
		text_addf(&header, "\r\n%s", fields_example);
		verifier = verifier_fed(text_string(&header), body_example,
					3);
		result = verifier_end(verifier, &count);
		cr_assert_eq(result->status, VERIFY_PENDING);
		verifier_answer(verifier, 0, answer_rows[i].answer,
				answer_rows[i].records, answer_rows[i].count);
		cr_expect_eq(result->status, answer_rows[i].status, "%s: %.*s",
			     answer_rows[i].name, SLICE_ARG(result->reason));
	}
}

/* A malformed header verifies nothing: readers differ over what it is. */
Test(verify, malformed_header)
{
	CLEAN(text_done) struct text header = {0};
	CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
	const struct verification *result;
	size_t count;

	field_sign(TAGS "b=", &header);
	text_addf(&header, "\r\nno field\r\n%s", fields_example);
	verifier = verifier_fed(text_string(&header), body_example, 3);
	result = verifier_end(verifier, &count);
	cr_expect_eq(result->status, VERIFY_PERMERROR);
}

Test(verify, no_signature)
{
	CLEAN(verifier_free_clean) struct verifier *verifier =
		verifier_fed(fields_example, body_example, 3);
	size_t count = 1;

	verifier_end(verifier, &count);
	cr_expect_eq(count, 0);
}

Test(verify, signatures_are_bounded)
{
	CLEAN(text_done) struct text header = {0};
	CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
	size_t count;

	for (int i = 0; i < VERIFY_SIGNATURES_MAX + 5; i++)
		text_addf(&header,
			  "DKIM-Signature: v=1; a=rsa-sha256; c=%s; l=%d; "
			  "d=example.com; s=s; h=From; b=AAAA; bh="
			  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
			  i % 2 == 0 ? "simple/simple" : "relaxed/relaxed", i);
	text_add_string(&header, fields_example);
	verifier = verifier_fed(text_string(&header), body_example, 1);
	verifier_end(verifier, &count);
	cr_expect_eq(count, VERIFY_SIGNATURES_MAX);
	cr_expect_eq(verifier_ignored(verifier), 5);
}

Test(verify, names_are_bounded)
{
	for (size_t names = CLAIM_NAMES_MAX; names <= CLAIM_NAMES_MAX + 1;
	     names++) {
		CLEAN(text_done) struct text header = {0};
		CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
		const struct verification *result;
		size_t count;

		text_add_string(&header,
				"DKIM-Signature: v=1; a=rsa-sha256; "
				"d=example.com; s=s; b=AAAA; bh="
				"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; "
				"h=From");
		for (size_t i = 1; i < names; i++)
			text_add_string(&header, ":To");
		text_addf(&header, "\r\n%s", fields_example);
		verifier = verifier_fed(text_string(&header), body_example,
					1);
		result = verifier_end(verifier, &count);
		cr_expect_eq(result->status, names <= CLAIM_NAMES_MAX
						     ? VERIFY_PENDING
						     : VERIFY_PERMERROR);
	}
}

/* ---- what a receiver tells apart (RFC 8601 2.7.1) ---- */

static const struct {
	const char *name, *tags, *record;
	enum verify_cause cause;
	bool is_testing;
} cause_rows[] = {
	{"no tag list", "hello", RECORD(""), VERIFY_CAUSE_SYNTAX, false},
	{"no selector", "v=1; a=ed25519-sha256; d=example.com; h=From; "
	 "bh=%s; b=", RECORD(""), VERIFY_CAUSE_SYNTAX, false},
	{"rsa-sha1", "v=1; a=rsa-sha1; d=example.com; s=sel; h=From; bh=%s; "
	 "b=", RECORD(""), VERIFY_CAUSE_POLICY, false},
	{"From not signed", "v=1; a=ed25519-sha256; d=example.com; s=sel; "
	 "h=Subject; bh=%s; b=", RECORD(""), VERIFY_CAUSE_OTHER, false},
	{"expired", TAGS "x=1763759999; b=", RECORD(""), VERIFY_CAUSE_OTHER,
	 false},
	{"malformed record", TAGS "b=", "v=DKIM1; p", VERIFY_CAUSE_OTHER,
	 false},
	{"key that is none", TAGS "b=", "v=DKIM1; k=ed25519; p=AAAA",
	 VERIFY_CAUSE_OTHER, false},
	{"key of 512 bits", "v=1; a=rsa-sha256; c=relaxed/relaxed; "
	 "d=example.com; s=sel; h=From; bh=%s; b=",
	 "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMWs4/fj7jeYJBPUU3Q5XHkzo"
	 "y0spcNDa1IUwOTQee6B+026Tf5MtSz9HxM561npwN0TEYJyKj6OsNT0ltIDUS8CAwEAA"
	 "Q==", VERIFY_CAUSE_POLICY, false},
	{"passes in test mode", TAGS "b=", RECORD("t=y; "),
	 VERIFY_CAUSE_OTHER, true},
	{"fails in test mode", TAGS "b=", "v=DKIM1; k=ed25519; t=y; "
	 "p=PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
	 VERIFY_CAUSE_OTHER, true},
};

Test(verify, causes)
{
	for (size_t i = 0; i < COUNT(cause_rows); i++) {
		CLEAN(text_done) struct text header = {0};
		CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
		const struct verification *result;
		struct slice record = SLICE(cause_rows[i].record);
		size_t count;

		field_sign(cause_rows[i].tags, &header);
		text_addf(&header, "\r\n%s", fields_example);
		verifier = verifier_fed(text_string(&header), body_example,
					3);
		cr_assert_eq(verifier_results(verifier, &count),
			     verifier_end(verifier, &count));
		result = verifier_results(verifier, &count);
		cr_assert_eq(count, 1);
		if (result->status == VERIFY_PENDING)
			verifier_answer(verifier, 0, LOOKUP_FOUND, &record, 1);
		cr_expect_eq(result->cause, cause_rows[i].cause, "%s",
			     cause_rows[i].name);
		cr_expect_eq(result->is_testing, cause_rows[i].is_testing,
			     "%s", cause_rows[i].name);
	}
}

/* RFC 6376 6.1.2 comes before 6.1.3: without a key nobody says that a body was
 * changed; and a failure in test mode is known for one. */
Test(verify, asks_for_the_key_of_a_changed_body)
{
	static const struct {
		enum lookup_status answer;
		const char *record;
		enum verify_status status;
		bool is_testing;
	} answers_of[] = {
		{LOOKUP_FOUND, RECORD(""), VERIFY_FAIL, false},
		{LOOKUP_FOUND, RECORD("t=y; "), VERIFY_FAIL, true},
		{LOOKUP_FOUND, "v=DKIM1; p=", VERIFY_PERMERROR, false},
		{LOOKUP_ABSENT, NULL, VERIFY_PERMERROR, false},
		{LOOKUP_FAILED, NULL, VERIFY_TEMPERROR, false},
	};

	for (size_t i = 0; i < COUNT(answers_of); i++) {
		CLEAN(text_done) struct text header = {0};
		CLEAN(verifier_free_clean) struct verifier *verifier = NULL;
		const struct verification *result;
		struct slice record = SLICE(answers_of[i].record);
		size_t count;

		field_sign(TAGS "b=", &header);
		text_addf(&header, "\r\n%s", fields_example);
		verifier = verifier_fed(text_string(&header), "changed\r\n",
					3);
		result = verifier_end(verifier, &count);
		cr_assert_eq(result->status, VERIFY_PENDING, "%zu", i);
		verifier_answer(verifier, 0, answers_of[i].answer, &record,
				record.len > 0);
		cr_expect_eq(result->status, answers_of[i].status, "%zu", i);
		cr_expect_eq(result->is_testing, answers_of[i].is_testing,
			     "%zu", i);
	}
}
