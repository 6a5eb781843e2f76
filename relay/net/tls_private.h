/*
 * tls_private - what tls.c (a connection) and tls_context.c (what many of them
 * have in common) share.
 */
#ifndef RELAY_NET_TLS_PRIVATE_H
#define RELAY_NET_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "relay/net/tls.h"

struct tls_context {
	SSL_CTX *ssl;
	bool verifies;
};

/* False, with the library's reason for what has just failed. */
bool tls_library_fault(struct fault *fault, enum fault_kind kind,
		       const char *what);

#endif
