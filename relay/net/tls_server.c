#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "relay/net/tls_private.h"

/* Of our listeners. Forward secrecy first; RSA key exchange stays for the old
 * machines that would else fall back to clear text. TLS 1.3 has suites of its
 * own. */
#define CIPHERS                                                                \
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:"                 \
	"ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:"                                \
	"!aNULL:!eNULL:!PSK:!SRP:!DSS:!MD5"

/* Whoever renews certificates has done so by then: two thirds into their life,
 * be that short. */
#define DAYS_WARNED 14
#define LIFE_WARNED 3
#define DAY_S ((time_t)24 * 60 * 60)

static BIO *
bio_of(struct slice pem)
{
	BIO *bio = BIO_new_mem_buf(pem.len > 0 ? pem.bytes : "",
				   (int)pem.len);

	ASSERT(bio != NULL);
	ERR_clear_error();
	return bio;
}

static bool
has_words(struct slice pem, const char *words)
{
	return pem.bytes != NULL &&
	       memmem(pem.bytes, pem.len, words, strlen(words)) != NULL;
}

/* ---- the certificate ---- */

static bool
absent_fault(struct slice pem, struct fault *fault)
{
	ERR_clear_error();
	if (pem.len == 0)
		return fault_set(fault, FAULT_INPUT, "the file is empty");
	if (has_words(pem, "PRIVATE KEY-----"))
		return fault_set(fault, FAULT_INPUT,
				 "there is a private key in it, and no "
				 "certificate: that is for tls_key");
	return fault_set(fault, FAULT_INPUT,
			 "there is no certificate in it, in PEM (a text with "
			 "a line -----BEGIN CERTIFICATE-----)");
}

static bool
certificate_fault(struct slice pem, struct fault *fault)
{
	switch (ERR_GET_REASON(ERR_peek_last_error())) {
	case PEM_R_NO_START_LINE:
		return absent_fault(pem, fault);
	case SSL_R_EE_KEY_TOO_SMALL:
		ERR_clear_error();
		return fault_set(fault, FAULT_INPUT,
				 "its key is too short for TLS: an RSA key "
				 "has to have 2048 bits; make another");
	case SSL_R_CA_MD_TOO_WEAK:
		ERR_clear_error();
		return fault_set(fault, FAULT_INPUT,
				 "it is signed with a hash that is too weak "
				 "for TLS; make another, with SHA-256");
	default:
		return tls_library_fault(fault, FAULT_INPUT,
					 "reading the certificate");
	}
}

/* Nobody is there to type one. */
static int
passphrase_asked(char *out, int size, int is_write, void *argument)
{
	bool *is_asked = argument;

	(void)out;
	(void)size;
	(void)is_write;
	*is_asked = true;
	return -1;
}

static X509 *
certificate_next(BIO *pem)
{
	bool is_encrypted = false;

	return PEM_read_bio_X509(pem, NULL, passphrase_asked, &is_encrypted);
}

/* Only the end of the file may end the chain. */
static bool
read_chain(SSL_CTX *ssl, BIO *pem, struct fault *fault)
{
	X509 *certificate;

	while ((certificate = certificate_next(pem)) != NULL) {
		if (SSL_CTX_add0_chain_cert(ssl, certificate) != 1) {
			X509_free(certificate);
			return tls_library_fault(
				fault, FAULT_INPUT,
				"taking what is behind the first certificate");
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return tls_library_fault(
			fault, FAULT_INPUT,
			"reading what is behind the first certificate");
	ERR_clear_error();
	return true;
}

static bool
use_certificate(SSL_CTX *ssl, struct slice pem, struct fault *fault)
{
	BIO *bio = bio_of(pem);
	X509 *certificate = certificate_next(bio);
	bool ok = certificate != NULL &&
		  SSL_CTX_use_certificate(ssl, certificate) == 1;

	if (!ok)
		certificate_fault(pem, fault);
	else
		ok = read_chain(ssl, bio, fault);
	X509_free(certificate);
	BIO_free(bio);
	return ok;
}

bool
tls_context_server(struct slice certificate, struct tls_context **context_out,
		   struct fault *fault)
{
	CLEAN(tls_context_free_clean)
	struct tls_context *context = tls_context_new(TLS_server_method());

	ASSERT(SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) ==
	       1);
	ASSERT(SSL_CTX_set_cipher_list(context->ssl, CIPHERS) == 1);
	/* Tickets need no memory of ours; a cache would. One, not two: nobody
	 * opens two connections with it. */
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context->ssl, 1);
	SSL_CTX_set_dh_auto(context->ssl, 1);
	if (certificate.len > INT32_MAX)
		return fault_set(fault, FAULT_LIMIT, "more than 2 GiB");
	if (!use_certificate(context->ssl, certificate, fault))
		return false;
	*context_out = TAKE(context);
	return true;
}

/* ---- the key ---- */

static bool
unread_fault(struct slice pem, bool is_encrypted, struct fault *fault)
{
	ERR_clear_error();
	if (pem.len == 0)
		return fault_set(fault, FAULT_INPUT, "the file is empty");
	if (is_encrypted)
		return fault_set(fault, FAULT_INPUT,
				 "the key is encrypted, and nobody is there "
				 "to type the pass phrase: take it off with "
				 "`openssl pkey -in OLD -out NEW`");
	if (has_words(pem, "PRIVATE KEY-----"))
		return fault_set(fault, FAULT_INPUT,
				 "the private key in it cannot be read: the "
				 "file is damaged");
	if (has_words(pem, "-----BEGIN CERTIFICATE-----"))
		return fault_set(fault, FAULT_INPUT,
				 "there is a certificate in it, and no private "
				 "key: that is for tls_cert");
	return fault_set(fault, FAULT_INPUT,
			 "there is no private key in it, in PEM (a text with "
			 "a line -----BEGIN PRIVATE KEY-----)");
}

bool
tls_context_key(struct tls_context *context, struct slice pem,
		struct fault *fault)
{
	bool is_encrypted = false, is_good = false;
	EVP_PKEY *key;
	BIO *bio;

	if (pem.len > INT32_MAX)
		return fault_set(fault, FAULT_LIMIT, "more than 2 GiB");
	bio = bio_of(pem);
	key = PEM_read_bio_PrivateKey(bio, NULL, passphrase_asked,
				      &is_encrypted);
	if (key == NULL)
		unread_fault(pem, is_encrypted, fault);
	else if (X509_check_private_key(SSL_CTX_get0_certificate(context->ssl),
					key) != 1)
		fault_set(fault, FAULT_INPUT,
			  "this is not the key of the first certificate in "
			  "tls_cert, where the server's own has to stand, "
			  "before those that signed it");
	else if (SSL_CTX_use_PrivateKey(context->ssl, key) != 1)
		tls_library_fault(fault, FAULT_INPUT, "taking the key");
	else
		is_good = true;
	ERR_clear_error();
	EVP_PKEY_free(key);
	BIO_free(bio);
	return is_good;
}

/* ---- its days ---- */

static time_t
time_of(const ASN1_TIME *time)
{
	struct tm parts;

	return ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : 0;
}

static void
date_add(struct text *out, time_t time)
{
	char iso[CLOCK_ISO_SIZE];

	clock_write_iso(time > 0 ? (uint64_t)time * SECOND : 0, iso);
	text_add(out, slice_sub(SLICE(iso), 0, strlen("2026-11-21")));
}

static bool
is_far(time_t from, time_t until, time_t now)
{
	return until - now >= DAYS_WARNED * DAY_S ||
	       until - now >= (until - from) / LIFE_WARNED;
}

static bool
days_say(const X509 *certificate, size_t number, time_t now, struct text *out)
{
	time_t from = time_of(X509_get0_notBefore(certificate));
	time_t until = time_of(X509_get0_notAfter(certificate));
	bool is_over = until <= now, is_early = from > now;

	if (!is_over && !is_early && is_far(from, until, now))
		return false;
	if (number > 1)
		text_addf(out, "certificate %zu of the chain ", number);
	else
		text_add_string(out, "the certificate ");
	text_add_string(out, is_over    ? "expired on "
			     : is_early ? "is not valid before "
					: "expires on ");
	date_add(out, is_early && !is_over ? from : until);
	if (is_over || is_early)
		text_add_string(out, "; clients that look will refuse it");
	else
		text_addf(out, ", in %lld days",
			  (long long)((until - now) / DAY_S));
	return true;
}

bool
tls_context_days(const struct tls_context *context, uint64_t wall_ms,
		 struct text *words_out)
{
	time_t now = (time_t)(wall_ms / SECOND);
	STACK_OF(X509) *chain = NULL;

	if (days_say(SSL_CTX_get0_certificate(context->ssl), 1, now,
		     words_out))
		return true;
	SSL_CTX_get0_chain_certs(context->ssl, &chain);
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (days_say(sk_X509_value(chain, i), (size_t)i + 2, now,
			     words_out))
			return true;
	return false;
}

static bool
list_days_say(const X509_CRL *list, time_t now, struct text *out)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
	time_t from = time_of(X509_CRL_get0_lastUpdate(list)), until;

	if (next == NULL)
		return false;
	until = time_of(next);
	if (until > now && is_far(from, until, now))
		return false;
	text_addf(out, "a revocation list %s ",
		  until <= now ? "ran out on" : "runs out on");
	date_add(out, until);
	text_add_string(out, "; from then on no client of its authority is known");
	return true;
}

bool
tls_context_lists_days(const struct tls_context *context, uint64_t wall_ms,
		       struct text *words_out)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
	const STACK_OF(X509_OBJECT) *objects;
	bool is_said = false;

	/* A handshake on another thread sorts them when it looks first. */
	ASSERT(X509_STORE_lock(store) == 1);
	objects = X509_STORE_get0_objects(store);
	for (int i = 0; i < sk_X509_OBJECT_num(objects) && !is_said; i++) {
		const X509_OBJECT *object = sk_X509_OBJECT_value(objects, i);

		is_said = X509_OBJECT_get_type(object) == X509_LU_CRL &&
			  list_days_say(X509_OBJECT_get0_X509_CRL(object),
					(time_t)(wall_ms / SECOND), words_out);
	}
	X509_STORE_unlock(store);
	return is_said;
}

/* ---- what it takes ---- */

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
