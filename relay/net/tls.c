#include "relay/net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "relay/net/address.h"

/* Forward secrecy first; RSA key exchange stays for the old machines that
 * would else fall back to clear text. TLS 1.3 has suites of its own. */
#define CIPHERS                                                                \
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:"                 \
	"ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:"                                \
	"!aNULL:!eNULL:!PSK:!SRP:!DSS:!MD5"

/* What one SSL_read() gives at most: a record (RFC 8446 5.1). */
#define RECORD_MAX ((size_t)16 << 10)

struct tls_context {
	SSL_CTX *ssl;
	bool verifies;
};

/* The SSL reads from `input` and writes to `output`, which are set only
 * during a call: no bytes are copied into a BIO, none are kept there. */
struct tls {
	SSL *ssl;
	BIO *bio;
	struct slice input;
	struct text *output;
	struct fault fault;
	bool verifies, is_failed;
};

static int
bio_read(BIO *bio, char *out, size_t len, size_t *read_out)
{
	struct tls *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (tls->input.len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (len > tls->input.len)
		len = tls->input.len;
	memcpy(out, tls->input.bytes, len);
	tls->input = slice_from(tls->input, len);
	*read_out = len;
	return 1;
}

static int
bio_write(BIO *bio, const char *bytes, size_t len, size_t *written_out)
{
	struct tls *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	ASSERT(tls->output != NULL);
	text_add(tls->output, slice_of(bytes, len));
	*written_out = len;
	return 1;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO_METHOD *bio_method;

static void
bio_method_free(void)
{
	BIO_meth_free(bio_method);
}

static void
bio_method_make(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
				  "slices");
	ASSERT(bio_method != NULL);
	BIO_meth_set_read_ex(bio_method, bio_read);
	BIO_meth_set_write_ex(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
	atexit(bio_method_free);
}

static BIO *
bio_new(struct tls *tls)
{
	static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
	BIO *bio;

	ASSERT(CRYPTO_THREAD_run_once(&once, bio_method_make));
	bio = BIO_new(bio_method);
	ASSERT(bio != NULL);
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	return bio;
}

/* The library's reason for what just failed. */
static bool
library_fault(struct fault *fault, enum fault_kind kind, const char *what)
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
	struct tls_context *context = memory_new(sizeof(*context));
	SSL_CTX *ssl = SSL_CTX_new(method);

	ASSERT(ssl != NULL);
	context->ssl = ssl;
	ASSERT(SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1);
	ASSERT(SSL_CTX_set_cipher_list(ssl, CIPHERS) == 1);
	SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS |
				      SSL_MODE_AUTO_RETRY);
	/* Tickets need no memory of ours; a cache would. */
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
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
			return library_fault(fault, FAULT_INPUT,
					     "certificate chain");
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return library_fault(fault, FAULT_INPUT, "certificate chain");
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
		library_fault(fault, FAULT_INPUT, "certificate");
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
		library_fault(fault, FAULT_INPUT, "key");
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
	/* One ticket, not two: nobody opens two connections with it. */
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

bool
tls_context_client(bool verify, struct tls_context **context_out,
		   struct fault *fault)
{
	CLEAN(tls_context_free_clean) struct tls_context *context = NULL;

	ERR_clear_error();
	context = context_new(TLS_client_method());
	context->verifies = verify;
	if (!verify) {
		/* Anything is better than clear text, which comes next. */
		SSL_CTX_set_security_level(context->ssl, 1);
		SSL_CTX_set_verify(context->ssl, SSL_VERIFY_NONE, NULL);
	} else {
		SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
		if (SSL_CTX_set_default_verify_paths(context->ssl) != 1)
			return library_fault(fault, FAULT_SYSTEM,
					     "the system's certificates");
	}
	*context_out = TAKE(context);
	return true;
}

void
tls_context_free(struct tls_context *context)
{
	if (context == NULL)
		return;
	SSL_CTX_free(context->ssl);
	free(context);
}

/* RFC 6066 3: SNI holds a host name without its last dot, never an address. */
static void
set_server_name(struct tls *tls, struct slice server_name)
{
	struct address address;
	bool is_address = address_parse_host(server_name, 0, &address);
	char *name;

	if (server_name.len > 0 &&
	    server_name.bytes[server_name.len - 1] == '.')
		server_name.len--;
	name = slice_dup(server_name);
	/* A name that SNI cannot carry is just not sent. */
	if (!is_address && SSL_set_tlsext_host_name(tls->ssl, name) != 1)
		ERR_clear_error();
	if (tls->verifies && is_address) {
		char text[ADDRESS_TEXT_SIZE];

		address_write_host(&address, text);
		ASSERT(X509_VERIFY_PARAM_set1_ip_asc(
			       SSL_get0_param(tls->ssl), text) == 1);
	} else if (tls->verifies) {
		SSL_set_hostflags(tls->ssl,
				  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		ASSERT(SSL_set1_host(tls->ssl, name) == 1);
	}
	free(name);
}

struct tls *
tls_new(struct tls_context *context, bool is_server, struct slice server_name)
{
	struct tls *tls = memory_new(sizeof(*tls));

	tls->verifies = context->verifies;
	tls->ssl = SSL_new(context->ssl);
	ASSERT(tls->ssl != NULL);
	tls->bio = bio_new(tls);
	SSL_set_bio(tls->ssl, tls->bio, tls->bio);
	if (is_server) {
		SSL_set_accept_state(tls->ssl);
	} else {
		SSL_set_connect_state(tls->ssl);
		ASSERT(!context->verifies || server_name.len > 0);
		if (server_name.len > 0)
			set_server_name(tls, server_name);
	}
	return tls;
}

void
tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

static enum tls_status
fail(struct tls *tls)
{
	long verified = SSL_get_verify_result(tls->ssl);

	tls->is_failed = true;
	if (tls->verifies && verified != X509_V_OK) {
		fault_set(&tls->fault, FAULT_UNTRUSTED, "TLS: certificate: %s",
			  X509_verify_cert_error_string(verified));
		ERR_clear_error();
	} else {
		library_fault(&tls->fault, FAULT_INPUT, "TLS");
	}
	return TLS_FAILED;
}

static enum tls_status
status_of(struct tls *tls, int result)
{
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_NONE:
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return TLS_OK;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_CLOSED;
	default:
		return fail(tls);
	}
}

static enum tls_status
read_records(struct tls *tls, struct text *plain)
{
	size_t len;
	int result;

	do {
		char *room = text_room(plain, RECORD_MAX);

		result = SSL_read_ex(tls->ssl, room, RECORD_MAX, &len);
		if (result > 0)
			text_added(plain, len);
	} while (result > 0);
	return status_of(tls, result);
}

enum tls_status
tls_receive(struct tls *tls, struct slice bytes, struct text *plain,
	    struct text *out)
{
	enum tls_status status = TLS_OK;
	int result;

	ASSERT(!tls->is_failed);
	ERR_clear_error();
	tls->input = bytes;
	tls->output = out;
	if (!SSL_is_init_finished(tls->ssl)) {
		result = SSL_do_handshake(tls->ssl);
		status = status_of(tls, result);
	}
	if (status == TLS_OK && SSL_is_init_finished(tls->ssl))
		status = read_records(tls, plain);
	/* Whatever is left belongs behind the end of the session. */
	tls->input = SLICE_NONE;
	tls->output = NULL;
	return status;
}

enum tls_status
tls_send(struct tls *tls, struct slice plain, struct text *out)
{
	enum tls_status status = TLS_OK;
	size_t written = 0;
	int result;

	ASSERT(!tls->is_failed);
	ERR_clear_error();
	tls->output = out;
	if (!SSL_is_init_finished(tls->ssl)) {
		ASSERT(plain.len == 0);
		result = SSL_do_handshake(tls->ssl);
		status = status_of(tls, result);
	}
	while (status == TLS_OK && plain.len > 0) {
		result = SSL_write_ex(tls->ssl, plain.bytes, plain.len,
				      &written);
		status = status_of(tls, result);
		ASSERT(status != TLS_OK || written > 0);
		plain = slice_from(plain, written);
	}
	tls->output = NULL;
	return status;
}

void
tls_finish(struct tls *tls, struct text *out)
{
	if (tls->is_failed || !SSL_is_init_finished(tls->ssl))
		return;
	ERR_clear_error();
	tls->output = out;
	SSL_shutdown(tls->ssl);
	tls->output = NULL;
	ERR_clear_error();
}

bool
tls_is_established(const struct tls *tls)
{
	return SSL_is_init_finished(tls->ssl);
}

const struct fault *
tls_fault(const struct tls *tls)
{
	return &tls->fault;
}

const char *
tls_version(const struct tls *tls)
{
	return SSL_get_version(tls->ssl);
}

const char *
tls_cipher(const struct tls *tls)
{
	return SSL_get_cipher_name(tls->ssl);
}

bool
tls_is_verified(const struct tls *tls)
{
	return tls->verifies && SSL_is_init_finished(tls->ssl) &&
	       SSL_get_verify_result(tls->ssl) == X509_V_OK;
}
