/*
 * tls - TLS sessions over memory BIOs: nobody else knows SSL. No sockets:
 * stream.c feeds it what arrived and sends what it gives.
 */
#ifndef RELAY_NET_TLS_H
#define RELAY_NET_TLS_H

#include "base/fault.h"
#include "base/slice.h"

struct tls_context; /* SSL_CTX; immutable and thread-safe once made */
struct tls;         /* one connection */

/* Server side, from PEM bytes: certificate chain and key. TLS >= 1.2. */
bool tls_context_server(struct slice certificate, struct slice key,
			struct tls_context **context_out,
			struct fault *fault) MUST_USE;
/* Client side. verify: chain against the system's store (SSL_CERT_FILE and
 * SSL_CERT_DIR are honoured) and name; else any certificate. */
bool tls_context_client(bool verify, struct tls_context **context_out,
			struct fault *fault) MUST_USE;
void tls_context_free(struct tls_context *context);

/* server_name: SNI and, with a verifying context, the name to check; empty on
 * the server side. */
struct tls *tls_new(struct tls_context *context, bool is_server,
		    struct slice server_name);
void tls_free(struct tls *tls);

enum tls_status {
	TLS_OK,      /* go on: more input is needed, or all was taken */
	TLS_CLOSED,  /* close_notify came */
	TLS_FAILED,  /* tls_fault() says why; UNTRUSTED: the certificate */
};
/* Encrypted bytes from the peer; decrypted ones are appended to `plain`, what
 * must be sent back (handshake, alerts) to `out`. */
enum tls_status tls_receive(struct tls *tls, struct slice bytes,
			    struct text *plain, struct text *out);
/* Encrypts; also starts a client's handshake when `plain` is empty. */
enum tls_status tls_send(struct tls *tls, struct slice plain,
			 struct text *out);
void tls_finish(struct tls *tls, struct text *out); /* close_notify */
bool tls_is_established(const struct tls *tls);
const struct fault *tls_fault(const struct tls *tls);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", and whether the certificate was verified
 * (always false with a context that takes any). */
const char *tls_version(const struct tls *tls);
const char *tls_cipher(const struct tls *tls);
bool tls_is_verified(const struct tls *tls);

#endif
