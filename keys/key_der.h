/*
 * key_der - public RSA keys out of the bytes that DNS publishes, and back.
 *
 * OpenSSL's own way asks every provider for every decoder there is, and costs
 * some times what verifying a signature does. Here the structure is read with
 * its ASN.1 functions and the numbers are handed over.
 */
#ifndef KEYS_KEY_DER_H
#define KEYS_KEY_DER_H

#include <openssl/evp.h>

#include "base/slice.h"

/* SubjectPublicKeyInfo (RFC 5280 4.1) or RSAPublicKey (RFC 8017 A.1.1) and
 * nothing behind it. The text gets the former, as DER. NULL: it is neither. */
EVP_PKEY *key_der_read_rsa(struct slice bytes, struct text *der_out);

#endif
