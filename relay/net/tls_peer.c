#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "milter/digest.h"
#include "relay/net/tls_private.h"

static_assert(TLS_FINGERPRINT == DIGEST_SIZE, "SHA-256");

/* --- asking for it --- */

/* Handshakes go on whatever the client shows: it is judged afterwards, by the
 * configuration of that day. */
static int
take_any(X509_STORE_CTX *store, void *argument)
{
	(void)store;
	(void)argument;
	return 1;
}

static bool
authority_add(SSL_CTX *ssl, X509 *authority, bool names_them)
{
	return X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), authority) ==
		       1 &&
	       (!names_them || SSL_CTX_add_client_CA(ssl, authority) == 1);
}

static bool
authorities_add(SSL_CTX *ssl, BIO *pem, bool names_them, struct fault *fault)
{
	X509 *authority;
	size_t count = 0;
	bool is_added;

	while ((authority = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
		is_added = authority_add(ssl, authority, names_them);
		X509_free(authority);
		if (!is_added)
			return tls_library_fault(fault, FAULT_INPUT,
						 "taking a certificate");
		count++;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return tls_library_fault(fault, FAULT_INPUT,
					 "reading a certificate");
	ERR_clear_error();
	return count > 0 || fault_set(fault, FAULT_INPUT,
				      "there is no certificate in it, so that "
				      "no client could log in by one");
}

/* With one of them in the file every client's own certificate has to be under a
 * list of its issuer's that is in force: a list that has run out, or that an
 * authority does not have, tells nothing (RFC 5280 6.3). Authorities between
 * him and one of the file are not looked up. */
static bool
revocations_add(X509_STORE *store, BIO *pem, struct fault *fault)
{
	X509_CRL *list;
	bool is_added;

	while ((list = PEM_read_bio_X509_CRL(pem, NULL, NULL, NULL)) != NULL) {
		is_added = X509_STORE_add_crl(store, list) == 1;
		X509_CRL_free(list);
		if (!is_added)
			return tls_library_fault(fault, FAULT_INPUT,
						 "taking a revocation list");
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return tls_library_fault(fault, FAULT_INPUT,
					 "reading a revocation list");
	ERR_clear_error();
	return true;
}

void
tls_context_ask(struct tls_context *context)
{
	SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(context->ssl, take_any, NULL);
	/* The leaf and what is between it and the authority. */
	SSL_CTX_set_max_cert_list(context->ssl, TLS_PEER_CHAIN_MAX);
	/* A session that is resumed shows no certificate, only that there was
	 * one. */
	SSL_CTX_set_num_tickets(context->ssl, 0);
	SSL_CTX_set_options(context->ssl, SSL_OP_NO_TICKET);
}

bool
tls_context_trust(struct tls_context *context, struct slice authorities,
		  bool names_them, struct fault *fault)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
	BIO *bio;
	bool is_added;

	if (authorities.len > INT32_MAX)
		return fault_set(fault, FAULT_LIMIT, "more than 2 GiB");
	/* Whoever stands in the file is trusted, be it no root. */
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	bio = BIO_new_mem_buf(authorities.len > 0 ? authorities.bytes : "",
			      (int)authorities.len);
	ASSERT(bio != NULL);
	ERR_clear_error();
	is_added = authorities_add(context->ssl, bio, names_them, fault);
	/* Each reader passes over what is not its own: from the beginning. */
	ASSERT(BIO_reset(bio) == 1);
	is_added = is_added && revocations_add(store, bio, fault);
	BIO_free(bio);
	return is_added;
}

/* --- what it is worth --- */

static X509 *
certificate_of(const struct tls *tls)
{
	return tls->is_client ? NULL : SSL_get0_peer_certificate(tls->ssl);
}

bool
tls_peer_fingerprints(const struct tls *tls,
		      uint8_t certificate_out[TLS_FINGERPRINT],
		      uint8_t key_out[TLS_FINGERPRINT])
{
	CLEAN(digest_free_clean) struct digest *digest = NULL;
	X509 *certificate = certificate_of(tls);
	unsigned char *der = NULL;
	int len;

	if (certificate == NULL ||
	    X509_digest(certificate, EVP_sha256(), certificate_out, NULL) != 1)
		return false;
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	if (len <= 0)
		return false;
	digest = digest_new();
	digest_feed(digest, slice_of(der, (size_t)len));
	digest_finish(digest, key_out);
	OPENSSL_free(der);
	return true;
}

const char *
tls_peer_time_fault(const struct tls *tls)
{
	const X509 *certificate = certificate_of(tls);

	ASSERT(certificate != NULL);
	/* 0: no time at all. */
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0)
		return X509_verify_cert_error_string(
			X509_V_ERR_CERT_NOT_YET_VALID);
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
		return X509_verify_cert_error_string(
			X509_V_ERR_CERT_HAS_EXPIRED);
	return NULL;
}

const char *
tls_peer_chain_fault(const struct tls *tls, const struct tls_context *context)
{
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	X509 *certificate = certificate_of(tls);
	int level = SSL_get_security_level(tls->ssl);
	int error;

	ASSERT(certificate != NULL && check != NULL);
	ASSERT(X509_STORE_CTX_init(check,
				   SSL_CTX_get_cert_store(context->ssl),
				   certificate,
				   SSL_get_peer_cert_chain(tls->ssl)) == 1);
	/* Not one that is for servers only. */
	ASSERT(X509_STORE_CTX_set_default(check, "ssl_client") == 1);
	/* A listener that takes old versions does not believe weak keys. */
	if (level < 1)
		level = 1;
	X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(check),
					 level);
	X509_STORE_CTX_set_depth(check, TLS_PEER_DEPTH_MAX);
	if (X509_verify_cert(check) == 1)
		error = X509_V_OK;
	else
		error = X509_STORE_CTX_get_error(check);
	X509_STORE_CTX_free(check);
	ERR_clear_error();
	return error == X509_V_OK ? NULL : X509_verify_cert_error_string(error);
}

/* --- whose it is --- */

static bool
name_add(struct text *out, const char *bytes, int len, bool takes_utf8)
{
	if (len <= 0 || len > TLS_PEER_NAME_MAX)
		return false;
	for (int i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c < ' ' || c == 0x7f || (!takes_utf8 && c > 0x7e))
			return false;
	}
	text_add(out, slice_of(bytes, (size_t)len));
	return true;
}

/* Of a domain name the case says nothing. */
static void
lower_from(struct text *name, size_t at)
{
	for (size_t i = at; i < name->len; i++)
		name->bytes[i] = ascii_lower(name->bytes[i]);
}

static bool
alternative_read(const GENERAL_NAMES *names, int type, bool *is_there,
		 struct text *name_out)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *value;
		struct slice text;
		ptrdiff_t at;

		if (name->type != type)
			continue;
		*is_there = true;
		value = GENERAL_NAME_get0_value(name, NULL);
		text = slice_of(ASN1_STRING_get0_data(value),
				(size_t)ASN1_STRING_length(value));
		at = slice_find_last(text, '@');
		if ((type == GEN_EMAIL) != (at >= 0) ||
		    slice_find(text, '*') >= 0 ||
		    !name_add(name_out, text.bytes, (int)text.len, false))
			return false;
		lower_from(name_out, (size_t)(at + 1));
		return true;
	}
	return false;
}

/* The one common name of the subject. */
static bool
common_name_read(const X509 *certificate, struct text *name_out)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	bool is_read;
	int len;

	if (at < 0 ||
	    X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return false;
	len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(
						 X509_NAME_get_entry(subject, at)));
	is_read = name_add(name_out, (const char *)utf8, len, true);
	OPENSSL_free(utf8);
	return is_read;
}

bool
tls_peer_name(const struct tls *tls, struct text *name_out)
{
	const X509 *certificate = certificate_of(tls);
	GENERAL_NAMES *names;
	bool has_address = false, has_domain = false, is_read;
	int critical = 0;

	ASSERT(certificate != NULL);
	names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical,
				 NULL);
	ERR_clear_error();
	if (names == NULL && critical != -1)
		return false; /* it cannot be read, or stands there twice */
	is_read = names != NULL &&
		  (alternative_read(names, GEN_EMAIL, &has_address, name_out) ||
		   (!has_address && alternative_read(names, GEN_DNS,
						     &has_domain, name_out)));
	GENERAL_NAMES_free(names);
	/* RFC 6125 6.4.4: where there are such names, the common one is none. */
	return is_read || (!has_address && !has_domain &&
			   common_name_read(certificate, name_out));
}
