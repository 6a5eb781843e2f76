#include "relay/net/tls_private.h"

#include <openssl/err.h>
#include <stdlib.h>

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

struct tls_context *
tls_context_new(const SSL_METHOD *method)
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

bool
tls_context_client(struct tls_context **context_out, struct fault *fault)
{
	CLEAN(tls_context_free_clean) struct tls_context *context = NULL;

	ERR_clear_error();
	context = tls_context_new(TLS_client_method());
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
