/*
 * What key.c (private keys) and key_public.c (public halves) share. For them
 * only.
 */
#ifndef KEYS_KEY_PRIVATE_H
#define KEYS_KEY_PRIVATE_H

#include <openssl/evp.h>

#include "keys/key.h"

/* --- key.c --- */

/* RFC 8301 3.2: no RSA key of less than 1024 bits. The upper bound is ours:
 * it limits what one signature may cost. */
bool key_size_check(const EVP_PKEY *pkey, enum key_algorithm algorithm,
		    struct fault *fault) MUST_USE;
/* PKCS#1 v1.5 over a SHA-256 digest that is already there. */
EVP_PKEY_CTX *key_rsa_context(EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *));

/* --- key_public.c --- */

/* Takes pkey, which has no private half, and its SubjectPublicKeyInfo; where
 * that is empty it is made. */
struct key_public *key_public_new(EVP_PKEY *pkey, enum key_algorithm algorithm,
				  struct text info);

#endif
