#include "relay/net/tls_private.h"

#include <openssl/err.h>
#include <stdlib.h>

/* What one SSL_read() gives at most: a record (RFC 8446 5.1). */
#define RECORD_MAX ((size_t)16 << 10)

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

struct tls *
tls_new(struct tls_context *context)
{
	struct tls *tls = memory_new(sizeof(*tls));

	tls->ssl = SSL_new(context->ssl);
	ASSERT(tls->ssl != NULL);
	SSL_set_app_data(tls->ssl, tls);
	tls->bio = bio_new(tls);
	SSL_set_bio(tls->ssl, tls->bio, tls->bio);
	return tls;
}

struct tls *
tls_new_server(struct tls_context *context)
{
	struct tls *tls = tls_new(context);

	SSL_set_accept_state(tls->ssl);
	return tls;
}

void
tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	SSL_free(tls->ssl);
	for (size_t i = 0; i < tls->sessions_count; i++)
		tls_session_cleanse(&tls->sessions[i]);
	free(tls);
}

static enum tls_status
fail(struct tls *tls)
{
	long verified = SSL_get_verify_result(tls->ssl);

	tls->is_failed = true;
	if (tls->has_to_verify && verified != X509_V_OK) {
		fault_set(&tls->fault, FAULT_UNTRUSTED, "TLS: certificate: %s",
			  X509_verify_cert_error_string(verified));
		ERR_clear_error();
	} else {
		tls_library_fault(&tls->fault, FAULT_INPUT, "TLS");
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

	if (tls->is_failed)
		return TLS_FAILED;
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

	if (tls->is_failed)
		return TLS_FAILED;
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

bool
tls_is_legacy(const struct tls *tls)
{
	return SSL_version(tls->ssl) < TLS1_2_VERSION;
}

bool
tls_satisfies(const struct tls *tls, const struct tls_context *context)
{
	return SSL_version(tls->ssl) >=
	       SSL_CTX_get_min_proto_version(context->ssl);
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
