#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "keys/key_der.h"
#include "keys/key_private.h"

/* SubjectPublicKeyInfo of an 8192 bit RSA key has 1,062 bytes; a public
 * exponent of the same size, which nobody has, would double it. */
#define KEY_PUBLIC_DER_MAX 4096
#define ED25519_RAW_SIZE 32
#define ED25519_SIGNATURE_SIZE 64

struct key_public {
	enum key_algorithm algorithm;
	unsigned bits;
	struct key_id id;
	EVP_PKEY *pkey;
	struct text der;
	uint8_t raw[ED25519_RAW_SIZE]; /* Ed25519 only */
};

struct key_public *
key_public_new(EVP_PKEY *pkey, enum key_algorithm algorithm, struct text info)
{
	struct key_public *public = memory_new(sizeof(*public));
	size_t raw_len = sizeof(public->raw);
	unsigned char *der = NULL;

	public->algorithm = algorithm;
	public->pkey = pkey;
	public->bits = (unsigned)EVP_PKEY_get_bits(pkey);
	public->der = info;
	if (info.len == 0) {
		int len = i2d_PUBKEY(pkey, &der);

		ASSERT(len > 0);
		text_add(&public->der, slice_of(der, (size_t)len));
		OPENSSL_free(der);
	}
	SHA256((const unsigned char *)public->der.bytes, public->der.len,
	       public->id.bytes);
	if (algorithm == KEY_ED25519_SHA256)
		ASSERT(EVP_PKEY_get_raw_public_key(pkey, public->raw,
						   &raw_len) == 1);
	return public;
}

static EVP_PKEY *
public_decode(enum key_algorithm algorithm, struct slice bytes,
	      struct text *info_out)
{
	if (bytes.len == 0 || bytes.len > KEY_PUBLIC_DER_MAX)
		return NULL;
	switch (algorithm) {
	case KEY_RSA_SHA256:
		return key_der_read_rsa(bytes, info_out);
	case KEY_ED25519_SHA256:
		if (bytes.len != ED25519_RAW_SIZE)
			return NULL;
		return EVP_PKEY_new_raw_public_key(
			EVP_PKEY_ED25519, NULL,
			(const unsigned char *)bytes.bytes, bytes.len);
	}
	return NULL;
}

bool
key_public_read(enum key_algorithm algorithm, struct slice bytes,
		struct key_public **public_out, struct fault *fault)
{
	struct text info = {0};
	EVP_PKEY *pkey;

	ERR_clear_error();
	pkey = public_decode(algorithm, bytes, &info);
	if (pkey == NULL) {
		ERR_clear_error();
		return fault_set(fault, FAULT_INPUT, "not an %s public key",
				 algorithm == KEY_RSA_SHA256 ? "RSA"
							     : "Ed25519");
	}
	if (!key_size_check(pkey, algorithm, fault)) {
		EVP_PKEY_free(pkey);
		text_done(&info);
		if (fault != NULL)
			fault->kind = FAULT_LIMIT;
		return false;
	}
	*public_out = key_public_new(pkey, algorithm, info);
	return true;
}

void
key_public_free(struct key_public *public)
{
	if (public == NULL)
		return;
	EVP_PKEY_free(public->pkey);
	text_done(&public->der);
	free(public);
}

enum key_algorithm
key_public_algorithm(const struct key_public *public)
{
	return public->algorithm;
}

unsigned
key_public_bits(const struct key_public *public)
{
	return public->bits;
}

bool
key_bits_advise(enum key_algorithm algorithm, unsigned bits,
		struct fault *advice_out)
{
	if (algorithm != KEY_RSA_SHA256 ||
	    (bits >= KEY_RSA_BITS_ADVISED && bits <= KEY_RSA_BITS_VERIFIED))
		return false;
	if (bits < KEY_RSA_BITS_ADVISED)
		fault_set(advice_out, FAULT_INPUT,
			  "RSA key of %u bits; %d are advised", bits,
			  KEY_RSA_BITS_ADVISED);
	else
		fault_set(advice_out, FAULT_INPUT,
			  "RSA key of %u bits; receivers need not verify more "
			  "than %d (RFC 8301 3.2), and %d are advised",
			  bits, KEY_RSA_BITS_VERIFIED, KEY_RSA_BITS_ADVISED);
	return true;
}

const struct key_id *
key_public_id(const struct key_public *public)
{
	return &public->id;
}

struct slice
key_public_der(const struct key_public *public)
{
	return text_slice(&public->der);
}

struct slice
key_public_record(const struct key_public *public)
{
	if (public->algorithm == KEY_ED25519_SHA256)
		return slice_of(public->raw, sizeof(public->raw));
	return key_public_der(public);
}

static bool
rsa_verify(EVP_PKEY *pkey, const uint8_t *digest, struct slice signature)
{
	EVP_PKEY_CTX *context = key_rsa_context(pkey, EVP_PKEY_verify_init);
	bool ok;

	ASSERT(context != NULL);
	ok = EVP_PKEY_verify(context, (const unsigned char *)signature.bytes,
			     signature.len, digest, KEY_DIGEST_SIZE) == 1;
	EVP_PKEY_CTX_free(context);
	return ok;
}

static bool
ed25519_verify(EVP_PKEY *pkey, const uint8_t *digest, struct slice signature)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool ok;

	ASSERT(context != NULL);
	ok = EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
	     EVP_DigestVerify(context, (const unsigned char *)signature.bytes,
			      signature.len, digest, KEY_DIGEST_SIZE) == 1;
	EVP_MD_CTX_free(context);
	return ok;
}

bool
key_public_verify(const struct key_public *public,
		  const uint8_t digest[KEY_DIGEST_SIZE], struct slice signature)
{
	bool ok = false;

	switch (public->algorithm) {
	case KEY_RSA_SHA256:
		ok = rsa_verify(public->pkey, digest, signature);
		break;
	case KEY_ED25519_SHA256:
		ok = signature.len == ED25519_SIGNATURE_SIZE &&
		     ed25519_verify(public->pkey, digest, signature);
		break;
	}
	ERR_clear_error();
	return ok;
}
