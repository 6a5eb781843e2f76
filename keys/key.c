#include "keys/key_private.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

/* The contexts carry padding and digest, set up once: a signature then costs
 * no lookup of an algorithm. */
struct key {
	enum key_algorithm algorithm;
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *signing, *checking; /* RSA */
	EVP_MD_CTX *digesting;            /* Ed25519 */
};

static const struct algorithm {
	const char *name, *kind;
	int nid;
} algorithms[] = {
	[KEY_RSA_SHA256] = {"rsa-sha256", "rsa", EVP_PKEY_RSA},
	[KEY_ED25519_SHA256] = {"ed25519-sha256", "ed25519", EVP_PKEY_ED25519},
};

const char *
key_algorithm_name(enum key_algorithm algorithm)
{
	ASSERT(algorithm < COUNT(algorithms));
	return algorithms[algorithm].name;
}

const char *
key_algorithm_kind(enum key_algorithm algorithm)
{
	ASSERT(algorithm < COUNT(algorithms));
	return algorithms[algorithm].kind;
}

bool
key_algorithm_find(struct slice name, enum key_algorithm *algorithm_out)
{
	for (size_t i = 0; i < COUNT(algorithms); i++) {
		if (slice_eq(name, SLICE(algorithms[i].name))) {
			*algorithm_out = (enum key_algorithm)i;
			return true;
		}
	}
	return false;
}

bool
key_id_eq(const struct key_id *a, const struct key_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* OpenSSL keeps its reasons per thread; none may stay behind for the next
 * caller to find. */
static bool
fault_openssl(struct fault *fault, enum fault_kind kind, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	if (reason == NULL)
		return fault_set(fault, kind, "%s", what);
	return fault_set(fault, kind, "%s (%s)", what, reason);
}

void
key_prepare(void)
{
	unsigned char byte;

	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG |
				    OPENSSL_INIT_LOAD_CRYPTO_STRINGS |
				    OPENSSL_INIT_ADD_ALL_DIGESTS |
				    OPENSSL_INIT_ADD_ALL_CIPHERS,
			    NULL);
	ASSERT(RAND_bytes(&byte, 1) == 1);
	ASSERT(RAND_priv_bytes(&byte, 1) == 1);
}

static bool
pkey_algorithm(const EVP_PKEY *pkey, enum key_algorithm *algorithm_out)
{
	for (size_t i = 0; i < COUNT(algorithms); i++) {
		if (EVP_PKEY_get_base_id(pkey) == algorithms[i].nid) {
			*algorithm_out = (enum key_algorithm)i;
			return true;
		}
	}
	return false;
}

/* An even exponent or 1 makes no RSA key, and OpenSSL does not look. */
static bool
exponent_check(const EVP_PKEY *pkey, struct fault *fault)
{
	BIGNUM *exponent = NULL;
	bool ok;

	if (!EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent))
		return fault_openssl(fault, FAULT_INPUT,
				     "RSA key without public exponent");
	ok = BN_is_odd(exponent) && !BN_is_one(exponent) &&
	     BN_num_bits(exponent) <= 64;
	BN_free(exponent);
	if (!ok)
		return fault_set(fault, FAULT_INPUT,
				 "RSA key whose public exponent is even, 1, or "
				 "longer than 64 bits");
	return true;
}

bool
key_size_check(const EVP_PKEY *pkey, enum key_algorithm algorithm,
	       struct fault *fault)
{
	int bits = EVP_PKEY_get_bits(pkey);

	if (algorithm != KEY_RSA_SHA256)
		return true;
	if (bits < KEY_RSA_BITS_MIN)
		return fault_set(fault, FAULT_INPUT,
				 "RSA key of %d bits; at least %d are needed",
				 bits, KEY_RSA_BITS_MIN);
	if (bits > KEY_RSA_BITS_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "RSA key of %d bits; at most %d are taken",
				 bits, KEY_RSA_BITS_MAX);
	return exponent_check(pkey, fault);
}

EVP_PKEY_CTX *
key_rsa_context(EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *))
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);

	if (context == NULL || init(context) <= 0 ||
	    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) <= 0 ||
	    EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) <= 0) {
		EVP_PKEY_CTX_free(context);
		return NULL;
	}
	return context;
}

/* Takes pkey, also where it fails. */
static bool
key_new(EVP_PKEY *pkey, enum key_algorithm algorithm, struct key **key_out,
	struct fault *fault)
{
	CLEAN(key_free_clean) struct key *key = memory_new(sizeof(*key));
	bool ok = false;

	key->pkey = pkey;
	key->algorithm = algorithm;
	switch (algorithm) {
	case KEY_RSA_SHA256:
		key->signing = key_rsa_context(pkey, EVP_PKEY_sign_init);
		key->checking = key_rsa_context(pkey, EVP_PKEY_verify_init);
		ok = key->signing != NULL && key->checking != NULL;
		break;
	case KEY_ED25519_SHA256:
		key->digesting = EVP_MD_CTX_new();
		ok = key->digesting != NULL;
		break;
	}
	if (!ok)
		return fault_openssl(fault, FAULT_SYSTEM,
				     "preparing to sign with it failed");
	*key_out = TAKE(key);
	return true;
}

void
key_free(struct key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_CTX_free(key->signing);
	EVP_PKEY_CTX_free(key->checking);
	EVP_MD_CTX_free(key->digesting);
	/* Cleanses the private numbers. */
	EVP_PKEY_free(key->pkey);
	free(key);
}

struct key *
key_dup(const struct key *key)
{
	EVP_PKEY *pkey = EVP_PKEY_dup(key->pkey);
	struct key *copy = NULL;

	/* What this key did once can fail again only without memory. */
	ASSERT(pkey != NULL);
	ASSERT(key_new(pkey, key->algorithm, &copy, NULL));
	return copy;
}

/* ---- reading a file ---- */

static EVP_PKEY *
pkcs1_decode(const unsigned char *der, long len, struct fault *fault)
{
	const unsigned char *at = der;
	EVP_PKEY *pkey = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, len);

	if (pkey != NULL && at == der + len)
		return pkey;
	EVP_PKEY_free(pkey);
	fault_openssl(fault, FAULT_INPUT, "damaged PKCS#1 private key");
	return NULL;
}

/* The algorithm is looked at before the key is: one that is of no use is
 * called by its name. */
static bool
pkcs8_check(const PKCS8_PRIV_KEY_INFO *info, struct fault *fault)
{
	const ASN1_OBJECT *algorithm = NULL;
	const char *name;
	int nid;

	if (!PKCS8_pkey_get0(&algorithm, NULL, NULL, NULL, info))
		return fault_openssl(fault, FAULT_INPUT,
				     "damaged PKCS#8 private key");
	nid = OBJ_obj2nid(algorithm);
	for (size_t i = 0; i < COUNT(algorithms); i++)
		if (nid == algorithms[i].nid)
			return true;
	name = nid == EVP_PKEY_EC	? "EC"
	       : nid == NID_undef	? "unknown"
	       : nid == EVP_PKEY_RSA_PSS ? "RSA-PSS"
					 : OBJ_nid2sn(nid);
	return fault_set(fault, FAULT_INPUT,
			 "key of kind %s; only RSA and Ed25519 sign mail",
			 name);
}

static EVP_PKEY *
pkcs8_decode(const unsigned char *der, long len, struct fault *fault)
{
	const unsigned char *at = der;
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, len);
	EVP_PKEY *pkey = NULL;

	if (info == NULL || at != der + len) {
		fault_openssl(fault, FAULT_INPUT, "damaged PKCS#8 private key");
	} else if (pkcs8_check(info, fault)) {
		pkey = EVP_PKCS82PKEY(info);
		if (pkey == NULL)
			fault_openssl(fault, FAULT_INPUT,
				      "damaged PKCS#8 private key");
	}
	PKCS8_PRIV_KEY_INFO_free(info);
	return pkey;
}

/* What a PEM block may be called, and what is said of it. */
static const struct block {
	const char *name;
	EVP_PKEY *(*decode)(const unsigned char *der, long len,
			    struct fault *fault);
	const char *refusal; /* both NULL: passed over */
} blocks[] = {
	{"PRIVATE KEY", pkcs8_decode, NULL},
	{"RSA PRIVATE KEY", pkcs1_decode, NULL},
	{"ENCRYPTED PRIVATE KEY", NULL,
	 "the key is encrypted; remove the pass phrase with 'openssl pkey'"},
	{"EC PRIVATE KEY", NULL,
	 "key of kind EC; only RSA and Ed25519 sign mail"},
	{"DSA PRIVATE KEY", NULL,
	 "key of kind DSA; only RSA and Ed25519 sign mail"},
	{"OPENSSH PRIVATE KEY", NULL,
	 "the key is in OpenSSH's own format; PKCS#8 or PKCS#1 is needed"},
	{"CERTIFICATE", NULL, NULL},
	{"PUBLIC KEY", NULL, NULL},
	{"RSA PUBLIC KEY", NULL, NULL},
	{"EC PARAMETERS", NULL, NULL},
};

static const struct block *
block_find(const char *name)
{
	for (size_t i = 0; i < COUNT(blocks); i++)
		if (strcmp(name, blocks[i].name) == 0)
			return &blocks[i];
	return NULL;
}

/* Puts the key of this block into *pkey; leaves it where the block has none.
 */
static bool
block_read(const char *name, const char *header, const unsigned char *der,
	   long len, EVP_PKEY **pkey, struct fault *fault)
{
	const struct block *block = block_find(name);

	if (block == NULL)
		return fault_set(fault, FAULT_INPUT,
				 "a PEM block of another kind than PRIVATE KEY "
				 "or RSA PRIVATE KEY");
	if (block->refusal != NULL)
		return fault_set(fault, FAULT_INPUT, "%s", block->refusal);
	if (block->decode == NULL)
		return true;
	/* RFC 1421's "Proc-Type: 4,ENCRYPTED", as in encrypted PKCS#1. */
	if (strstr(header, "ENCRYPTED") != NULL)
		return fault_set(fault, FAULT_INPUT, "the key is encrypted; "
				 "remove the pass phrase with 'openssl pkey'");
	if (*pkey != NULL)
		return fault_set(fault, FAULT_INPUT,
				 "more than one private key in one file");
	*pkey = block->decode(der, len, fault);
	return *pkey != NULL;
}

static bool
blocks_read(BIO *bio, EVP_PKEY **pkey, struct fault *fault)
{
	size_t count = 0;

	for (;; count++) {
		char *name = NULL, *header = NULL;
		unsigned char *der = NULL;
		long len = 0;
		bool ok;

		if (!PEM_read_bio_ex(bio, &name, &header, &der, &len,
				     PEM_FLAG_SECURE |
					     PEM_FLAG_EAY_COMPATIBLE))
			break;
		ok = block_read(name, header, der, len, pkey, fault);
		OPENSSL_secure_free(name);
		OPENSSL_secure_free(header);
		OPENSSL_secure_clear_free(der, (size_t)len);
		if (!ok)
			return false;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return fault_openssl(fault, FAULT_INPUT, "damaged PEM");
	ERR_clear_error();
	if (count == 0)
		return fault_set(fault, FAULT_INPUT, "not a PEM file");
	if (*pkey == NULL)
		return fault_set(fault, FAULT_INPUT,
				 "holds no private key, only public parts");
	return true;
}

/* A file whose numbers do not belong together would make signatures that
 * nobody can verify: found here, not with the first message. */
static bool
key_try(struct key *key, struct fault *fault)
{
	static const uint8_t digest[KEY_DIGEST_SIZE] = {1};
	uint8_t signature[KEY_SIGNATURE_MAX];
	size_t len;

	if (!key_sign(key, digest, signature, &len, NULL))
		return fault_set(fault, FAULT_INPUT, "the key makes wrong "
				 "signatures: the file is damaged");
	return true;
}

bool
key_read(struct slice pem, struct key **key_out, struct fault *fault)
{
	CLEAN(key_free_clean) struct key *key = NULL;
	enum key_algorithm algorithm = KEY_RSA_SHA256;
	EVP_PKEY *pkey = NULL;
	BIO *bio;
	bool ok;

	if (pem.len == 0)
		return fault_set(fault, FAULT_INPUT, "the file is empty");
	if (pem.len > KEY_FILE_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "longer than the %zu bytes that a key may "
				 "have", KEY_FILE_MAX);
	bio = BIO_new_mem_buf(pem.bytes, (int)pem.len);
	ASSERT(bio != NULL);
	ERR_clear_error();
	ok = blocks_read(bio, &pkey, fault);
	BIO_free(bio);
	if (ok && !pkey_algorithm(pkey, &algorithm))
		ok = fault_set(fault, FAULT_INPUT,
			       "neither an RSA nor an Ed25519 key");
	if (!ok || !key_size_check(pkey, algorithm, fault)) {
		EVP_PKEY_free(pkey);
		return false;
	}
	if (!key_new(pkey, algorithm, &key, fault) || !key_try(key, fault))
		return false;
	*key_out = TAKE(key);
	return true;
}

/* ---- making and writing one ---- */

bool
key_generate(enum key_algorithm algorithm, unsigned bits, struct key **key_out,
	     struct fault *fault)
{
	EVP_PKEY *pkey = NULL;

	ERR_clear_error();
	switch (algorithm) {
	case KEY_RSA_SHA256:
		if (bits < KEY_RSA_BITS_MIN || bits > KEY_RSA_BITS_MAX)
			return fault_set(fault, FAULT_INPUT,
					 "an RSA key has %d to %d bits",
					 KEY_RSA_BITS_MIN, KEY_RSA_BITS_MAX);
		pkey = EVP_RSA_gen(bits);
		break;
	case KEY_ED25519_SHA256:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		break;
	}
	if (pkey == NULL)
		return fault_openssl(fault, FAULT_SYSTEM, "making a key");
	return key_new(pkey, algorithm, key_out, fault);
}

bool
key_write(const struct key *key, struct text *pem, struct fault *fault)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char *bytes;
	long len;
	bool ok;

	ASSERT(bio != NULL);
	ok = PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL,
					   NULL) == 1;
	if (ok) {
		len = BIO_get_mem_data(bio, &bytes);
		text_add(pem, slice_of(bytes, (size_t)len));
	} else {
		fault_openssl(fault, FAULT_SYSTEM, "writing the key as PEM");
	}
	BIO_free(bio);
	return ok;
}

/* ---- signing ---- */

static bool
rsa_sign(struct key *key, const uint8_t *digest, uint8_t *signature,
	 size_t *len)
{
	return EVP_PKEY_sign(key->signing, signature, len, digest,
			     KEY_DIGEST_SIZE) == 1 &&
	       EVP_PKEY_verify(key->checking, signature, *len, digest,
			       KEY_DIGEST_SIZE) == 1;
}

/* RFC 8463 3: the message that PureEdDSA signs is the SHA-256 digest. */
static bool
ed25519_sign(struct key *key, const uint8_t *digest, uint8_t *signature,
	     size_t *len)
{
	return EVP_DigestSignInit(key->digesting, NULL, NULL, NULL,
				  key->pkey) == 1 &&
	       EVP_DigestSign(key->digesting, signature, len, digest,
			      KEY_DIGEST_SIZE) == 1;
}

bool
key_sign(struct key *key, const uint8_t digest[KEY_DIGEST_SIZE],
	 uint8_t signature[KEY_SIGNATURE_MAX], size_t *len_out,
	 struct fault *fault)
{
	size_t len = KEY_SIGNATURE_MAX;
	bool ok = false;

	switch (key->algorithm) {
	case KEY_RSA_SHA256:
		ok = rsa_sign(key, digest, signature, &len);
		break;
	case KEY_ED25519_SHA256:
		ok = ed25519_sign(key, digest, signature, &len);
		break;
	}
	if (!ok) {
		/* A wrong RSA signature can betray the key: none gets out. */
		OPENSSL_cleanse(signature, KEY_SIGNATURE_MAX);
		return fault_openssl(fault, FAULT_SYSTEM, "signing failed");
	}
	*len_out = len;
	return true;
}

/* ---- its public half ---- */

/* Number by number: OpenSSL's way over DER costs more than a signature. */
struct key_public *
key_public_of(const struct key *key)
{
	const char *kind = key->algorithm == KEY_RSA_SHA256 ? "RSA" : "ED25519";
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
	OSSL_PARAM *numbers = NULL;
	EVP_PKEY *pkey = NULL;

	ASSERT(context != NULL);
	ASSERT(EVP_PKEY_todata(key->pkey, EVP_PKEY_PUBLIC_KEY, &numbers) == 1);
	ASSERT(EVP_PKEY_fromdata_init(context) == 1);
	ASSERT(EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY,
				 numbers) == 1);
	OSSL_PARAM_free(numbers);
	EVP_PKEY_CTX_free(context);
	return key_public_new(pkey, key->algorithm, (struct text){0});
}
