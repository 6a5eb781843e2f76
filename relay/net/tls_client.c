#include "relay/net/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "relay/net/address.h"

/* --- whom it talks to --- */

/* As SNI and certificates have it: without the last dot. */
static char *
name_dup(struct slice name)
{
	if (name.len > 0 && name.bytes[name.len - 1] == '.')
		name.len--;
	return slice_dup(name);
}

/* A name that SNI cannot carry is just not sent. */
static void
send_name(struct tls *tls, struct slice server_name)
{
	CLEAN(clean_memory) char *name = name_dup(server_name);

	if (SSL_set_tlsext_host_name(tls->ssl, name) != 1)
		ERR_clear_error();
}

static void
expect_name(struct tls *tls, struct slice expected)
{
	CLEAN(clean_memory) char *name = name_dup(expected);

	ASSERT(SSL_add1_host(tls->ssl, name) == 1);
}

static void
expect_address(struct tls *tls, const struct address *address)
{
	char text[ADDRESS_TEXT_SIZE];

	address_write_host(address, text);
	ASSERT(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), text) ==
	       1);
}

/* Also where any certificate will do: what it is worth is asked afterwards. */
static void
expect_names(struct tls *tls, const struct tls_client *client, bool is_address,
	     const struct address *address)
{
	SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	for (size_t i = 0; i < client->names_count; i++)
		expect_name(tls, client->names[i]);
	if (client->names_count > 0)
		return;
	if (is_address)
		expect_address(tls, address);
	else
		expect_name(tls, client->server_name);
}

/* --- sessions --- */

void
tls_session_cleanse(struct text *session)
{
	if (session->bytes != NULL)
		explicit_bzero(session->bytes, session->size);
	text_done(session);
}

static void
session_drop_first(struct tls *tls)
{
	tls_session_cleanse(&tls->sessions[0]);
	tls->sessions_count--;
	for (size_t i = 0; i < tls->sessions_count; i++)
		tls->sessions[i] = tls->sessions[i + 1];
	tls->sessions[tls->sessions_count] = (struct text){0};
}

static void
session_keep(struct tls *tls, SSL_SESSION *session)
{
	int len = i2d_SSL_SESSION(session, NULL);
	struct text *kept;
	unsigned char *to;

	if (len <= 0 || (size_t)len > TLS_SESSION_BYTES_MAX ||
	    !SSL_SESSION_is_resumable(session))
		return;
	if (tls->sessions_count == TLS_SESSIONS_MAX)
		session_drop_first(tls);
	kept = &tls->sessions[tls->sessions_count++];
	to = (unsigned char *)text_room(kept, (size_t)len);
	ASSERT(i2d_SSL_SESSION(session, &to) == len);
	text_added(kept, (size_t)len);
}

int
tls_on_session(SSL *ssl, SSL_SESSION *session)
{
	session_keep(SSL_get_app_data(ssl), session);
	return 0; /* the library's reference remains its own */
}

/* Before TLS 1.3 a session that was resumed comes with no new one, and may be
 * resumed again. */
bool
tls_take_session(struct tls *tls, struct text *session_out)
{
	if (tls->sessions_count == 0 && tls_is_resumed(tls) &&
	    SSL_version(tls->ssl) < TLS1_3_VERSION && !tls->has_given_back) {
		tls->has_given_back = true;
		session_keep(tls, SSL_get_session(tls->ssl));
	}
	if (tls->sessions_count == 0)
		return false;
	*session_out = tls->sessions[0];
	tls->sessions[0] = (struct text){0};
	session_drop_first(tls);
	return true;
}

static void
resume(struct tls *tls, struct slice bytes)
{
	const unsigned char *from = (const unsigned char *)bytes.bytes;
	SSL_SESSION *session =
		d2i_SSL_SESSION(NULL, &from, (long)bytes.len);

	if (session == NULL || SSL_set_session(tls->ssl, session) != 1)
		ERR_clear_error();
	SSL_SESSION_free(session);
}

/* --- the connection --- */

struct tls *
tls_new_client(const struct tls_client *client)
{
	struct tls *tls = tls_new(client->context);
	struct address address;
	bool is_address = address_parse_host(client->server_name, 0, &address);

	ASSERT(client->server_name.len > 0);
	tls->is_client = true;
	tls->has_to_verify = client->has_to_verify;
	SSL_set_connect_state(tls->ssl);
	ASSERT(SSL_set_min_proto_version(tls->ssl, tls_protocol_number(client->min)) ==
	       1);
	if (client->security_level >= 0)
		SSL_set_security_level(tls->ssl, client->security_level);
	if (client->takes_old)
		SSL_set_options(tls->ssl, SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_set_verify(tls->ssl,
		       client->has_to_verify ? SSL_VERIFY_PEER
					     : SSL_VERIFY_NONE,
		       NULL);
	if (!is_address)
		send_name(tls, client->server_name);
	expect_names(tls, client, is_address, &address);
	if (client->session.len > 0)
		resume(tls, client->session);
	return tls;
}

bool
tls_is_verified(const struct tls *tls)
{
	return tls->is_client && tls_is_established(tls) &&
	       SSL_get0_peer_certificate(tls->ssl) != NULL &&
	       SSL_get_verify_result(tls->ssl) == X509_V_OK;
}

const char *
tls_certificate(const struct tls *tls)
{
	long result = SSL_get_verify_result(tls->ssl);

	if (SSL_get0_peer_certificate(tls->ssl) == NULL)
		return "none";
	return result == X509_V_OK ? "verified"
				   : X509_verify_cert_error_string(result);
}

bool
tls_is_resumed(const struct tls *tls)
{
	return tls_is_established(tls) && SSL_session_reused(tls->ssl) == 1;
}
