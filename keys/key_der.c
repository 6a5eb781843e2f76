#include "keys/key_der.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

CLEAN_POINTER(ASN1_INTEGER, ASN1_INTEGER_free)
CLEAN_POINTER(ASN1_BIT_STRING, ASN1_BIT_STRING_free)
CLEAN_POINTER(BIGNUM, BN_free)
CLEAN_POINTER(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
CLEAN_POINTER(OSSL_PARAM, OSSL_PARAM_free)
CLEAN_POINTER(OSSL_PARAM_BLD, OSSL_PARAM_BLD_free)
CLEAN_POINTER(X509_ALGOR, X509_ALGOR_free)
CLEAN_POINTER(X509_PUBKEY, X509_PUBKEY_free)

/* What a SEQUENCE holds, which must be all there is. */
static bool
sequence_open(struct slice bytes, struct slice *content_out)
{
	const unsigned char *at = (const unsigned char *)bytes.bytes;
	const unsigned char *end = at + bytes.len;
	int tag, class;
	long len;

	if (ASN1_get_object(&at, &len, &tag, &class, (long)bytes.len) !=
		    V_ASN1_CONSTRUCTED ||
	    tag != V_ASN1_SEQUENCE || class != V_ASN1_UNIVERSAL ||
	    end - at != len)
		return false;
	*content_out = slice_of(at, (size_t)len);
	return true;
}

/* The bits in a SubjectPublicKeyInfo of an RSA key. */
static ASN1_BIT_STRING *
info_open(struct slice bytes)
{
	CLEAN(X509_ALGOR_free_clean) X509_ALGOR *algorithm = NULL;
	const unsigned char *at, *end;
	ASN1_BIT_STRING *bits;
	struct slice content;

	if (!sequence_open(bytes, &content))
		return NULL;
	at = (const unsigned char *)content.bytes;
	end = at + content.len;
	algorithm = d2i_X509_ALGOR(NULL, &at, (long)content.len);
	if (algorithm == NULL ||
	    OBJ_obj2nid(algorithm->algorithm) != NID_rsaEncryption)
		return NULL;
	bits = d2i_ASN1_BIT_STRING(NULL, &at, end - at);
	if (bits != NULL && at != end) {
		ASN1_BIT_STRING_free(bits);
		return NULL;
	}
	return bits;
}

static ASN1_INTEGER *
number_take(struct slice *rest)
{
	const unsigned char *at = (const unsigned char *)rest->bytes;
	ASN1_INTEGER *number = d2i_ASN1_INTEGER(NULL, &at, (long)rest->len);

	if (number == NULL)
		return NULL;
	if (ASN1_STRING_type(number) == V_ASN1_NEG_INTEGER) {
		ASN1_INTEGER_free(number);
		return NULL;
	}
	*rest = slice_from(*rest,
			   (size_t)(at - (const unsigned char *)rest->bytes));
	return number;
}

static EVP_PKEY *
key_make(const ASN1_INTEGER *modulus, const ASN1_INTEGER *exponent)
{
	CLEAN(BN_free_clean) BIGNUM *n = ASN1_INTEGER_to_BN(modulus, NULL);
	CLEAN(BN_free_clean) BIGNUM *e = ASN1_INTEGER_to_BN(exponent, NULL);
	CLEAN(OSSL_PARAM_BLD_free_clean)
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	CLEAN(OSSL_PARAM_free_clean) OSSL_PARAM *numbers = NULL;
	CLEAN(EVP_PKEY_CTX_free_clean)
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *pkey = NULL;

	ASSERT(n != NULL);
	ASSERT(e != NULL);
	ASSERT(builder != NULL);
	ASSERT(context != NULL);
	ASSERT(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1);
	ASSERT(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1);
	numbers = OSSL_PARAM_BLD_to_param(builder);
	ASSERT(numbers != NULL);
	ASSERT(EVP_PKEY_fromdata_init(context) == 1);
	if (EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, numbers) !=
	    1)
		return NULL;
	return pkey;
}

/* As DER, whatever lengths were written in. */
static void
info_write(const ASN1_INTEGER *modulus, const ASN1_INTEGER *exponent,
	   struct text *out)
{
	CLEAN(X509_PUBKEY_free_clean) X509_PUBKEY *info = X509_PUBKEY_new();
	int content = i2d_ASN1_INTEGER(modulus, NULL) +
		      i2d_ASN1_INTEGER(exponent, NULL);
	int size = ASN1_object_size(1, content, V_ASN1_SEQUENCE);
	unsigned char *key = OPENSSL_malloc((size_t)size), *at = key;
	unsigned char *der = NULL;
	int len;

	ASSERT(info != NULL);
	ASSERT(key != NULL);
	ASN1_put_object(&at, 1, content, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	i2d_ASN1_INTEGER(modulus, &at);
	i2d_ASN1_INTEGER(exponent, &at);
	ASSERT(at == key + size);
	/* It owns the key from now on. */
	ASSERT(X509_PUBKEY_set0_param(info, OBJ_nid2obj(NID_rsaEncryption),
				      V_ASN1_NULL, NULL, key, size) == 1);
	len = i2d_X509_PUBKEY(info, &der);
	ASSERT(len > 0);
	text_add(out, slice_of(der, (size_t)len));
	OPENSSL_free(der);
}

EVP_PKEY *
key_der_read_rsa(struct slice bytes, struct text *der_out)
{
	CLEAN(ASN1_BIT_STRING_free_clean)
	ASN1_BIT_STRING *bits = info_open(bytes);
	CLEAN(ASN1_INTEGER_free_clean) ASN1_INTEGER *modulus = NULL;
	CLEAN(ASN1_INTEGER_free_clean) ASN1_INTEGER *exponent = NULL;
	struct slice rest;
	EVP_PKEY *pkey;

	if (bits != NULL)
		bytes = slice_of(ASN1_STRING_get0_data(bits),
				 (size_t)ASN1_STRING_length(bits));
	if (!sequence_open(bytes, &rest))
		return NULL;
	modulus = number_take(&rest);
	if (modulus != NULL)
		exponent = number_take(&rest);
	if (exponent == NULL || rest.len > 0)
		return NULL;
	pkey = key_make(modulus, exponent);
	if (pkey != NULL)
		info_write(modulus, exponent, der_out);
	return pkey;
}
