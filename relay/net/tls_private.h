/*
 * tls_private - what tls.c (a connection), tls_client.c (what only a client asks
 * of it), tls_peer.c (what only a server does), tls_context.c (what many of them
 * have in common) and tls_server.c (the same, of servers) share.
 */
#ifndef RELAY_NET_TLS_PRIVATE_H
#define RELAY_NET_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "relay/net/tls.h"

struct tls_context {
	SSL_CTX *ssl;
	uint64_t number;
};

/* The SSL reads from `input` and writes to `output`, which are set only
 * during a call: no bytes are copied into a BIO, none are kept there. */
struct tls {
	SSL *ssl;
	BIO *bio;
	struct slice input;
	struct text *output;
	struct fault fault;
	bool is_client, has_to_verify, is_failed, has_given_back;
	struct text sessions[TLS_SESSIONS_MAX]; /* oldest first; secrets */
	size_t sessions_count;
};

struct tls_context *tls_context_new(const SSL_METHOD *method);
/* The library's number of a version. */
int tls_protocol_number(enum tls_protocol protocol);
/* Neither client nor server yet. */
struct tls *tls_new(struct tls_context *context);
/* The library's callback for each session that a client is given. */
int tls_on_session(SSL *ssl, SSL_SESSION *session);

/* False, with the library's reason for what has just failed. */
bool tls_library_fault(struct fault *fault, enum fault_kind kind,
		       const char *what);

#endif
