#include <criterion/criterion.h>
#include <openssl/pem.h>

#include "base/clock.h"
#include "relay/net/tls.h"
#include "tests/unit/relay/net/certificate.h"

/* What the rows below are made of. */
static struct text certificate, key, other, other_key, encrypted, damaged,
	chain, broken_chain, nothing;

static void
encrypt(void)
{
	BIO *in = BIO_new_mem_buf(key.bytes, (int)key.len);
	BIO *out = BIO_new(BIO_s_mem());
	EVP_PKEY *pair = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	char *bytes;
	long len;

	cr_assert(PEM_write_bio_PKCS8PrivateKey(out, pair, EVP_aes_128_cbc(),
						"secret", 6, NULL, NULL) == 1);
	len = BIO_get_mem_data(out, &bytes);
	text_add(&encrypted, slice_of(bytes, (size_t)len));
	EVP_PKEY_free(pair);
	BIO_free(in);
	BIO_free(out);
}

static void
make(void)
{
	certificate_make(&certificate, &key);
	certificate_make(&other, &other_key);
	encrypt();
	text_add_string(&damaged, "-----BEGIN PRIVATE KEY-----\nAAAA\n"
				  "-----END PRIVATE KEY-----\n");
	text_add(&chain, text_slice(&certificate));
	text_add(&chain, text_slice(&other));
	text_add(&broken_chain, text_slice(&certificate));
	text_add_string(&broken_chain, "-----BEGIN CERTIFICATE-----\nx\n");
}

static void
done(void)
{
	struct text *all[] = {&certificate, &key,     &other,
			      &other_key,   &encrypted, &damaged,
			      &chain,	    &broken_chain, &nothing};

	for (size_t i = 0; i < COUNT(all); i++)
		text_done(all[i]);
}

TestSuite(tls_server, .init = make, .fini = done);

static const struct file_row {
	const char *name;
	const struct text *certificate, *key;
	const char *said; /* NULL: all is good */
} file_rows[] = {
	{ "a certificate and its key", &certificate, &key, NULL },
	{ "a chain", &chain, &key, NULL },
	{ "no certificate", &nothing, &key, "the file is empty" },
	{ "the key in its place", &key, &key, "that is for tls_key" },
	{ "a broken chain", &broken_chain, &key,
	  "behind the first certificate" },
	{ "no key", &certificate, &nothing, "the file is empty" },
	{ "the certificate in its place", &certificate, &certificate,
	  "that is for tls_cert" },
	{ "a damaged key", &certificate, &damaged, "damaged" },
	{ "an encrypted key", &certificate, &encrypted,
	  "`openssl pkey -in OLD -out NEW`" },
	{ "another's key", &certificate, &other_key,
	  "not the key of the first certificate" },
	{ "the last one's key", &chain, &other_key,
	  "not the key of the first certificate" },
};

Test(tls_server, says_what_is_wrong_with_a_file)
{
	for (size_t i = 0; i < COUNT(file_rows); i++) {
		const struct file_row *row = &file_rows[i];
		struct tls_context *context = NULL;
		struct fault fault = {0};
		bool is_good = tls_context_server(text_slice(row->certificate),
						  &context, &fault) &&
			       tls_context_key(context, text_slice(row->key),
					       &fault);

		cr_expect_eq(is_good, row->said == NULL, "%s: %s", row->name,
			     fault.text);
		if (row->said != NULL)
			cr_expect(strstr(fault.text, row->said) != NULL,
				  "%s: %s", row->name, fault.text);
		tls_context_free(context);
	}
}

/* The certificate is good from a minute ago until in an hour. */
static const struct days_row {
	const char *name;
	int64_t after_s;
	const char *said;
} days_rows[] = {
	{ "too early",  -120, "the certificate is not valid before 20" },
	{ "new",           0, NULL },
	{ "half way",   1800, NULL },
	{ "nearly over", 3000, "the certificate expires on 20" },
	{ "over",       4000, "the certificate expired on 20" },
};

Test(tls_server, says_when_its_days_are_over)
{
	uint64_t now_ms = clock_wall_ms();
	struct tls_context *context = NULL;

	cr_assert(tls_context_server(text_slice(&certificate), &context,
				     NULL));
	for (size_t i = 0; i < COUNT(days_rows); i++) {
		const struct days_row *row = &days_rows[i];
		CLEAN(text_done) struct text words = {0};
		uint64_t then_ms = now_ms + (uint64_t)(row->after_s * 1000);

		cr_expect_eq(tls_context_days(context, then_ms, &words),
			     row->said != NULL, "%s", row->name);
		if (row->said != NULL)
			cr_expect(slice_starts(text_slice(&words),
					       SLICE(row->said)),
				  "%s: %s", row->name, text_string(&words));
	}
	tls_context_free(context);
}
