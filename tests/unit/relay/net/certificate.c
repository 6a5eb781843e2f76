#include "tests/unit/relay/net/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static void
take(BIO *bio, struct text *out)
{
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);

	text_add(out, slice_of(bytes, (size_t)len));
	BIO_free(bio);
}

static void
add_extension(X509 *x509, int id, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);

	ASSERT(extension != NULL);
	ASSERT(X509_add_ext(x509, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

void
certificate_make(struct text *certificate, struct text *key)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	X509_NAME *name = X509_get_subject_name(x509);
	BIO *bio;

	X509_set_version(x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), -60);
	X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				   (const unsigned char *)"mail.example.com",
				   -1, -1, 0);
	X509_set_issuer_name(x509, name);
	X509_set_pubkey(x509, pair);
	add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(x509, NID_subject_alt_name,
		      "DNS:mail.example.com,IP:192.0.2.1");
	ASSERT(X509_sign(x509, pair, EVP_sha256()) > 0);

	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, x509);
	take(bio, certificate);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL);
	take(bio, key);
	X509_free(x509);
	EVP_PKEY_free(pair);
}
