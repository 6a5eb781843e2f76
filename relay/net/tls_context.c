#include "relay/net/tls_private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

/* Of our listeners. Forward secrecy first; RSA key exchange stays for the old
 * machines that would else fall back to clear text. TLS 1.3 has suites of its
 * own. */
#define CIPHERS                                                                \
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:"                 \
	"ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:"                                \
	"!aNULL:!eNULL:!PSK:!SRP:!DSS:!MD5"

int
tls_protocol_number(enum tls_protocol protocol)
{
	static const int numbers[] = {
		[TLS_1_0] = TLS1_VERSION,
		[TLS_1_1] = TLS1_1_VERSION,
		[TLS_1_2] = TLS1_2_VERSION,
		[TLS_1_3] = TLS1_3_VERSION,
	};

	return numbers[protocol];
}

bool
tls_library_fault(struct fault *fault, enum fault_kind kind, const char *what)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	fault_set(fault, kind, "%s: %s", what,
		  reason != NULL ? reason : "unknown error");
	ERR_clear_error();
	return false;
}

static struct tls_context *
context_new(const SSL_METHOD *method)
{
	static uint64_t numbers;
	struct tls_context *context = memory_new(sizeof(*context));
	SSL_CTX *ssl = SSL_CTX_new(method);

	ASSERT(ssl != NULL);
	context->ssl = ssl;
	context->number = __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
	SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS |
				      SSL_MODE_AUTO_RETRY);
	return context;
}

/* An encrypted key: nobody is there to type a passphrase. */
static int
no_passphrase(char *out, int size, int is_write, void *argument)
{
	(void)out;
	(void)size;
	(void)is_write;
	(void)argument;
	return -1;
}

/* Only the end of the file may end the chain. */
static bool
read_chain(SSL_CTX *ssl, BIO *pem, struct fault *fault)
{
	X509 *certificate;

	while ((certificate = PEM_read_bio_X509(pem, NULL, no_passphrase,
						NULL)) != NULL) {
		if (SSL_CTX_add0_chain_cert(ssl, certificate) != 1) {
			X509_free(certificate);
			return tls_library_fault(fault, FAULT_INPUT,
					     "certificate chain");
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return tls_library_fault(fault, FAULT_INPUT, "certificate chain");
	ERR_clear_error();
	return true;
}

static bool
use_certificate(SSL_CTX *ssl, struct slice pem, struct fault *fault)
{
	BIO *bio = BIO_new_mem_buf(pem.len > 0 ? pem.bytes : "",
				   (int)pem.len);
	X509 *certificate;
	bool ok;

	ASSERT(bio != NULL);
	certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	ok = certificate != NULL &&
	     SSL_CTX_use_certificate(ssl, certificate) == 1;
	if (!ok)
		tls_library_fault(fault, FAULT_INPUT, "certificate");
	else
		ok = read_chain(ssl, bio, fault);
	X509_free(certificate);
	BIO_free(bio);
	return ok;
}

static bool
use_key(SSL_CTX *ssl, struct slice pem, struct fault *fault)
{
	BIO *bio = BIO_new_mem_buf(pem.len > 0 ? pem.bytes : "",
				   (int)pem.len);
	EVP_PKEY *key;
	bool ok;

	ASSERT(bio != NULL);
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	ok = key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1 &&
	     SSL_CTX_check_private_key(ssl) == 1;
	if (!ok)
		tls_library_fault(fault, FAULT_INPUT, "key");
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

CLEAN_POINTER(struct tls_context, tls_context_free)

bool
tls_context_server(struct slice certificate, struct slice key,
		   struct tls_context **context_out, struct fault *fault)
{
	CLEAN(tls_context_free_clean) struct tls_context *context = NULL;

	ERR_clear_error();
	context = context_new(TLS_server_method());
	ASSERT(SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) ==
	       1);
	ASSERT(SSL_CTX_set_cipher_list(context->ssl, CIPHERS) == 1);
	/* Tickets need no memory of ours; a cache would. One, not two: nobody
	 * opens two connections with it. */
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context->ssl, 1);
	SSL_CTX_set_dh_auto(context->ssl, 1);
	if (certificate.len > INT32_MAX || key.len > INT32_MAX)
		return fault_set(fault, FAULT_LIMIT, "more than 2 GiB");
	if (!use_certificate(context->ssl, certificate, fault) ||
	    !use_key(context->ssl, key, fault))
		return false;
	*context_out = TAKE(context);
	return true;
}

void
tls_context_lower(struct tls_context *context, enum tls_protocol min)
{
	ASSERT(SSL_CTX_set_min_proto_version(context->ssl,
					     tls_protocol_number(min)) == 1);
	/* SSL_CTX_set_security_level(3): TLS 1.0 and 1.1 sign with SHA-1, which
	 * no level above takes. */
	if (min < TLS_1_2)
		SSL_CTX_set_security_level(context->ssl, 0);
}

bool
tls_context_client(struct tls_context **context_out, struct fault *fault)
{
	CLEAN(tls_context_free_clean) struct tls_context *context = NULL;

	ERR_clear_error();
	context = context_new(TLS_client_method());
	/* Which session is for which server is not the library's to know. */
	SSL_CTX_set_session_cache_mode(context->ssl,
				       SSL_SESS_CACHE_CLIENT |
					       SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context->ssl, tls_on_session);
	if (SSL_CTX_set_default_verify_paths(context->ssl) != 1)
		return tls_library_fault(fault, FAULT_SYSTEM,
					 "the system's certificates");
	*context_out = TAKE(context);
	return true;
}

uint64_t
tls_context_number(const struct tls_context *context)
{
	return context->number;
}

void
tls_context_free(struct tls_context *context)
{
	if (context == NULL)
		return;
	SSL_CTX_free(context->ssl);
	free(context);
}
