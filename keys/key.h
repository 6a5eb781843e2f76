/*
 * key - private keys and public halves: only its files (key*.c) know EVP_PKEY.
 *
 * A struct key holds a private key and exists only in the signer process (and
 * for a moment in `signet key generate`). A struct key_public is the public
 * half: what every other process knows of a key.
 *
 * What is signed is always a SHA-256 digest of 32 bytes: rsa-sha256 is
 * RSASSA-PKCS1-v1_5 over it (RFC 6376 3.3.1), ed25519-sha256 is PureEdDSA over
 * its 32 bytes (RFC 8463 3).
 *
 * Ownership   _new/_read hand over; _free takes NULL. Key material is
 *             cleansed on free and appears in no fault and no log.
 * Thread      A struct key is used by one thread at a time; key_dup() makes
 *             one for another thread. A struct key_public is immutable.
 */
#ifndef KEYS_KEY_H
#define KEYS_KEY_H

#include "base/fault.h"
#include "base/slice.h"

#define KEY_DIGEST_SIZE 32
#define KEY_RSA_BITS_MIN 1024     /* RFC 8301 3.2: less is not accepted */
#define KEY_RSA_BITS_ADVISED 2048 /* below it a warning */
#define KEY_RSA_BITS_VERIFIED 4096 /* RFC 8301 3.2: who verifies need not take
				      more; above it a warning */
#define KEY_RSA_BITS_MAX 8192
#define KEY_SIGNATURE_MAX (KEY_RSA_BITS_MAX / 8)
#define KEY_FILE_MAX ((size_t)64 << 10)

enum key_algorithm { KEY_RSA_SHA256, KEY_ED25519_SHA256 };
#define KEY_ALGORITHMS 2

/* "rsa-sha256", "ed25519-sha256": the a= tag; "rsa", "ed25519": the k= tag. */
const char *key_algorithm_name(enum key_algorithm algorithm);
const char *key_algorithm_kind(enum key_algorithm algorithm);
bool key_algorithm_find(struct slice name,
			enum key_algorithm *algorithm_out) MUST_USE;

/* SHA-256 of the public half (its SubjectPublicKeyInfo, DER): a request can
 * never meet the wrong key. */
struct key_id {
	uint8_t bytes[32];
};
bool key_id_eq(const struct key_id *a, const struct key_id *b);

/* Has OpenSSL do now what it would do with the first key: read its
 * configuration, seed its random numbers. For a process that gives up opening
 * files. */
void key_prepare(void);

struct key;
struct key_public;

/* PEM (PKCS#8 or PKCS#1), unencrypted; RSA of at least KEY_RSA_BITS_MIN bits
 * or Ed25519. Anything else is refused by name. */
bool key_read(struct slice pem, struct key **key_out,
	      struct fault *fault) MUST_USE;
bool key_generate(enum key_algorithm algorithm, unsigned bits,
		  struct key **key_out, struct fault *fault) MUST_USE;
struct key *key_dup(const struct key *key);
void key_free(struct key *key);
CLEAN_POINTER(struct key, key_free)

/* PKCS#8 PEM, for the file that `key generate` makes. The caller cleanses
 * `pem` (secret_cleanse). */
bool key_write(const struct key *key, struct text *pem,
	       struct fault *fault) MUST_USE;

/* Signs, and verifies each RSA signature with the public half before it hands
 * it out. */
bool key_sign(struct key *key, const uint8_t digest[KEY_DIGEST_SIZE],
	      uint8_t signature[KEY_SIGNATURE_MAX], size_t *len_out,
	      struct fault *fault) MUST_USE;

/* The caller frees. */
struct key_public *key_public_of(const struct key *key);
/* From SubjectPublicKeyInfo (RFC 6376 p= of k=rsa; also taken: a bare PKCS#1
 * RSAPublicKey, as some publish). FAULT_LIMIT: it is one, of a size or exponent
 * that is not taken. */
bool key_public_read(enum key_algorithm algorithm, struct slice bytes,
		     struct key_public **public_out,
		     struct fault *fault) MUST_USE;
void key_public_free(struct key_public *public);
CLEAN_POINTER(struct key_public, key_public_free)

enum key_algorithm key_public_algorithm(const struct key_public *public);
unsigned key_public_bits(const struct key_public *public);
/* What is to be said of a key of that size; false: nothing. */
bool key_bits_advise(enum key_algorithm algorithm, unsigned bits,
		     struct fault *advice_out);
const struct key_id *key_public_id(const struct key_public *public);
/* SubjectPublicKeyInfo, DER. */
struct slice key_public_der(const struct key_public *public);
/* What p= holds: for RSA the DER, for Ed25519 the raw 32 bytes (RFC 8463 4). */
struct slice key_public_record(const struct key_public *public);
/* True when the signature is of this key over this digest. */
bool key_public_verify(const struct key_public *public,
		       const uint8_t digest[KEY_DIGEST_SIZE],
		       struct slice signature) MUST_USE;

#endif
