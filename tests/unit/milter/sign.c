#include <criterion/criterion.h>

#include "base/base64.h"
#include "milter/bodyhash.h"
#include "milter/fields.h"
#include "milter/header.h"
#include "milter/sign.h"
#include "tests/vectors/dkim.h"

/* With the key, the fields and the unfinished signature that an RFC prints,
 * the signature it prints has to come out: both algorithms are
 * deterministic. */
static const struct {
	const char *name, *key, *fields, *signature, *b;
	enum canonicalization canon;
	struct slice names[8];
	size_t names_count;
} vectors[] = {
	{"RFC 6376 A.2", RFC6376_KEY, RFC6376_FIELDS, RFC6376_SIGNATURE,
	 "AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB"
	 "4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut"
	 "KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV4bmp/YzhwvcubU4=",
	 CANON_SIMPLE,
	 {SLICE_LITERAL("Received"), SLICE_LITERAL("From"), SLICE_LITERAL("To"),
	  SLICE_LITERAL("Subject"), SLICE_LITERAL("Date"),
	  SLICE_LITERAL("Message-ID")},
	 6},
	{"RFC 8463 A.3, Ed25519", RFC8463_KEY_ED25519, RFC8463_FIELDS,
	 RFC8463_SIGNATURE_ED25519, RFC8463_B_ED25519, CANON_RELAXED,
	 {SLICE_LITERAL("from"), SLICE_LITERAL("to"), SLICE_LITERAL("subject"),
	  SLICE_LITERAL("date"), SLICE_LITERAL("message-id"),
	  SLICE_LITERAL("from"), SLICE_LITERAL("subject"),
	  SLICE_LITERAL("date")},
	 8},
	{"RFC 8463 A.3, RSA", RFC8463_KEY_RSA, RFC8463_FIELDS,
	 RFC8463_SIGNATURE_RSA, RFC8463_B_RSA, CANON_RELAXED,
	 {SLICE_LITERAL("from"), SLICE_LITERAL("to"), SLICE_LITERAL("subject"),
	  SLICE_LITERAL("date"), SLICE_LITERAL("message-id"),
	  SLICE_LITERAL("from"), SLICE_LITERAL("subject"),
	  SLICE_LITERAL("date")},
	 8},
};

static void
fields_fill(struct fields *fields, struct text *header)
{
	struct header_reader reader;
	struct slice input = text_slice(header), field;
	size_t start = 0;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	for (;;) {
		enum header_status status =
			header_read(&reader, &input, &field);

		if (status == HEADER_MORE)
			status = header_read_last(&reader, &field);
		if (status != HEADER_FIELD)
			break;
		/* The reader's bytes go; the same ones stand in `header`. */
		field.bytes = header->bytes + start;
		start += field.len + 2;
		fields_add(fields,
			   slice_sub(field, 0, (size_t)slice_find(field, ':')),
			   field);
	}
	header_reader_done(&reader);
}

/* Up to and with the last "b=", and a ";" behind its value. */
static void
unfinished_make(const char *signature, struct text *out)
{
	const char *b = strstr(signature, " b=");

	text_add(out, slice_of(signature, (size_t)(b - signature) + 3));
	if (signature[strlen(signature) - 1] == ';')
		text_add_byte(out, ';');
}

Test(sign, reproduces_the_signatures_of_the_rfcs)
{
	for (size_t i = 0; i < COUNT(vectors); i++) {
		CLEAN(fields_done) struct fields fields = {0};
		CLEAN(text_done) struct text header = {0}, unfinished = {0};
		CLEAN(text_done) struct text expected = {0};
		CLEAN(key_free_clean) struct key *key = NULL;
		CLEAN(digest_free_clean) struct digest *digest = NULL;
		uint8_t hash[DIGEST_SIZE], signature[KEY_SIGNATURE_MAX];
		struct fault fault = {0};
		size_t len;

		text_add_string(&header, vectors[i].fields);
		fields_fill(&fields, &header);
		unfinished_make(vectors[i].signature, &unfinished);
		digest = fields_digest(&fields, vectors[i].names,
				       vectors[i].names_count,
				       vectors[i].canon);
		sign_digest(digest, vectors[i].canon, text_slice(&unfinished),
			    hash);
		cr_assert(key_read(SLICE(vectors[i].key), &key, &fault), "%s",
			  fault.text);
		cr_assert(key_sign(key, hash, signature, &len, &fault), "%s",
			  fault.text);
		cr_assert(base64_read(&expected, SLICE(vectors[i].b)));
		cr_expect(slice_eq(slice_of(signature, len),
				   text_slice(&expected)),
			  "%s", vectors[i].name);
	}
}

static struct sign_field
field_example(const struct slice *names, size_t count)
{
	return (struct sign_field){
		.algorithm = KEY_RSA_SHA256,
		.header_canon = CANON_RELAXED,
		.body_canon = CANON_SIMPLE,
		.domain = SLICE("example.com"),
		.selector = SLICE("2026a"),
		.time_s = 1763760000,
		.names = names,
		.names_count = count,
	};
}

Test(sign, field)
{
	static const struct slice names[] = {
		SLICE_LITERAL("From"), SLICE_LITERAL("From"),
		SLICE_LITERAL("Subject")};
	CLEAN(text_done) struct text out = {0};
	struct sign_field field = field_example(names, COUNT(names));

	sign_field_write(&field, &out);
	sign_field_complete(SLICE("abcdef"), &out);
	cr_expect_str_eq(
		text_string(&out),
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple;"
		" d=example.com; s=2026a;\r\n"
		"\tt=1763760000; bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=;\r\n"
		"\th=From:From:Subject;\r\n"
		"\tb=YWJjZGVm\r\n");
}

Test(sign, expires)
{
	static const struct slice names[] = {SLICE_LITERAL("From")};
	CLEAN(text_done) struct text out = {0};
	struct sign_field field = field_example(names, COUNT(names));

	field.expire_s = 1;
	sign_field_write(&field, &out);
	cr_expect_not_null(strstr(text_string(&out),
				  "t=1763760000; x=1763760001;"),
			   "%s", text_string(&out));
}

/* dkim-quoted-printable (RFC 6376 2.11): what would end the tag, or is no
 * printable octet, is escaped. */
Test(sign, identity)
{
	static const struct slice names[] = {SLICE_LITERAL("From")};
	CLEAN(text_done) struct text out = {0};
	struct sign_field field = field_example(names, COUNT(names));

	field.identity = SLICE("a;b=c d\x7f\xc3!@example.com");
	sign_field_write(&field, &out);
	cr_expect_not_null(strstr(text_string(&out),
				  " i=a=3Bb=3Dc=20d=7F=C3!@example.com;"),
			   "%s", text_string(&out));
}

/* However long its parts: no line over 78 but one that cannot be broken, and
 * what is between the folds is unchanged. */
Test(sign, folds)
{
	struct slice names[60];
	char domain[240];
	uint8_t signature[KEY_SIGNATURE_MAX];

	memset(domain, 'd', sizeof(domain));
	memset(signature, 0xa5, sizeof(signature));
	for (size_t i = 0; i < COUNT(names); i++)
		names[i] = SLICE(i % 3 == 0 ? "Content-Transfer-Encoding"
					    : "To");
	for (size_t n = 1; n <= COUNT(names); n++) {
		CLEAN(text_done) struct text out = {0};
		struct sign_field field = field_example(names, n);
		struct slice rest, line;

		field.domain = slice_of(domain, n * 4);
		sign_field_write(&field, &out);
		sign_field_complete(slice_of(signature, n * 17), &out);
		rest = text_slice(&out);
		cr_expect(slice_ends_nocase(rest, SLICE("\r\n")));
		while (slice_split(&rest, '\n', &line)) {
			bool is_long = line.len > SIGN_LINE_MAX + 1;

			cr_expect_eq(slice_find(line, '\r'),
				     (ptrdiff_t)line.len - 1);
			cr_expect(!is_long ||
				  slice_starts(line, SLICE("\td=ddd")));
			cr_expect_gt(line.len, 2, "an empty line, n=%zu", n);
		}
	}
}
