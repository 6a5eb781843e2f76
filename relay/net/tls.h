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

enum tls_protocol { TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 };

/* Server side, from PEM bytes: the certificate, and behind it those that signed
 * it. TLS >= 1.2. Of no use before tls_context_key(). Faults here say what is
 * wrong with the bytes as if the name of their file stood before it. */
bool tls_context_server(struct slice certificate,
			struct tls_context **context_out,
			struct fault *fault) MUST_USE;
/* Its key, PEM, too. */
bool tls_context_key(struct tls_context *context, struct slice key,
		     struct fault *fault) MUST_USE;
/* Appends what is wrong with the days of its certificates at that time, in
 * words, or that they are nearly over. False: nothing. */
bool tls_context_days(const struct tls_context *context, uint64_t wall_ms,
		      struct text *words_out);
/* The same of the revocation lists that came with tls_context_trust(). */
bool tls_context_lists_days(const struct tls_context *context,
			    uint64_t wall_ms, struct text *words_out);
/* Before its first use: lets it take older versions, too, and the weak keys and
 * SHA-1 that they come with. */
void tls_context_lower(struct tls_context *context, enum tls_protocol min);
/* Before its first use: asks clients for a certificate, which they may do
 * without; tls_peer_…() say what it is worth. */
void tls_context_ask(struct tls_context *context);
/* And who may have signed it, PEM, at least one; named to the client where
 * names_them, so that it chooses one of theirs. */
bool tls_context_trust(struct tls_context *context, struct slice authorities,
		       bool names_them, struct fault *fault) MUST_USE;
/* Client side. Trust is the system's store; SSL_CERT_FILE and SSL_CERT_DIR are
 * honoured. Ciphers are the library's choice. */
bool tls_context_client(struct tls_context **context_out,
			struct fault *fault) MUST_USE;
/* Of all contexts of this process, and never the same again. */
uint64_t tls_context_number(const struct tls_context *context);
void tls_context_free(struct tls_context *context); /* takes NULL */
CLEAN_POINTER(struct tls_context, tls_context_free)

/* What a client asks of one connection. */
struct tls_client {
	struct tls_context *context;
	/* Whom it talks to. A host's name goes out as SNI (RFC 6066 3), an
	 * address does not; and the certificate has to be made out to it, */
	struct slice server_name;
	/* or, where there are any, to one of these; ".example.net" is each name
	 * below. */
	const struct slice *names;
	size_t names_count;
	enum tls_protocol min;
	int security_level;   /* of SSL_CTX_set_security_level(3), and less
				 than 0 for the system's. TLS 1.0 and 1.1 need
				 0: they sign with SHA-1. */
	bool has_to_verify;   /* else any certificate will do */
	bool takes_old;       /* servers without RFC 5746, too */
	/* What tls_take_session() has given for the same server and terms; "":
	 * none. One that cannot be used does no harm. */
	struct slice session;
};

struct tls *tls_new_server(struct tls_context *context);
struct tls *tls_new_client(const struct tls_client *client);
void tls_free(struct tls *tls);

enum tls_status {
	TLS_OK,      /* go on: more input is needed, or all was taken */
	TLS_CLOSED,  /* close_notify came */
	TLS_FAILED,  /* and stays so; tls_fault() says why; UNTRUSTED: the
			certificate */
};
/* Encrypted bytes from the peer; decrypted ones are appended to `plain`, what
 * must be sent back (handshake, alerts) to `out`. */
enum tls_status tls_receive(struct tls *tls, struct slice bytes,
			    struct text *plain, struct text *out);
/* Encrypts, once established; also starts a client's handshake when `plain` is
 * empty. */
enum tls_status tls_send(struct tls *tls, struct slice plain,
			 struct text *out);
void tls_finish(struct tls *tls, struct text *out); /* close_notify */
/* The handshake is through. Not so again while of a message behind it (RFC 8446
 * 4.6) only a part has come. */
bool tls_is_established(const struct tls *tls);
const struct fault *tls_fault(const struct tls *tls);
bool tls_is_legacy(const struct tls *tls); /* a version below 1.2 */
/* Whether a context that need not be the connection's own takes its version. */
bool tls_satisfies(const struct tls *tls, const struct tls_context *context);
/* "TLSv1.3", "TLS_AES_256_GCM_SHA384". */
const char *tls_version(const struct tls *tls);
const char *tls_cipher(const struct tls *tls);

/* Of a client, once established: what its server's certificate is worth. In
 * words: "verified", or what is wrong with it. */
bool tls_is_verified(const struct tls *tls);
const char *tls_certificate(const struct tls *tls);
/* Of a server, once established: its client's certificate, where it was asked
 * for one. */
#define TLS_FINGERPRINT 32 /* octets: SHA-256 */
#define TLS_PEER_NAME_MAX 255
#define TLS_PEER_CHAIN_MAX ((size_t)32 << 10) /* octets: more ends the handshake */
#define TLS_PEER_DEPTH_MAX 5
/* Of the certificate, and of its public key (RFC 7469 2.4). False: there is
 * none, and nothing else may be asked. */
bool tls_peer_fingerprints(const struct tls *tls,
			   uint8_t certificate_out[TLS_FINGERPRINT],
			   uint8_t key_out[TLS_FINGERPRINT]);
/* What is wrong now, in words; NULL: nothing. With its days; and with the way
 * from it to an authority of the context, which need not be the connection's
 * own. */
const char *tls_peer_time_fault(const struct tls *tls);
const char *tls_peer_chain_fault(const struct tls *tls,
				 const struct tls_context *context);
/* Whom it is made out to: the first e-mail address among the subject's
 * alternative names (RFC 5280 4.2.1.6), else the first DNS name, the domain in
 * lower case; where there is neither, the common name. False: nobody who could
 * be named; *name_out is as it was. */
bool tls_peer_name(const struct tls *tls, struct text *name_out);

/* Whether it goes on with an earlier connection's session, and with what had
 * been made sure of the certificate then. */
bool tls_is_resumed(const struct tls *tls);
/* The next session that may be resumed, each for one connection only (RFC 8446
 * C.4); false: none now. It is a secret: tls_session_cleanse(). */
#define TLS_SESSIONS_MAX 2
#define TLS_SESSION_BYTES_MAX ((size_t)8 << 10)
bool tls_take_session(struct tls *tls, struct text *session_out);
void tls_session_cleanse(struct text *session);

#endif
