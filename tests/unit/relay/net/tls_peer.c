#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "milter/digest.h"
#include "relay/net/tls.h"
#include "tests/unit/relay/net/certificate.h"

#define DAY_S (24L * 3600)

/* --- certificates --- */

struct made {
	X509 *x509;
	EVP_PKEY *key;
};

struct wish {
	const char *common_name, *another_name; /* NULL: none */
	const char *alternative;                /* of X509v3_config(5) */
	const char *usage;                      /* extended key usage */
	long from_s, to_s;                      /* from now */
	bool is_authority;
	unsigned bits; /* of RSA; 0: P-256 */
};

static void
extend(X509 *x509, int id, const char *value)
{
	X509_EXTENSION *extension;

	if (value == NULL)
		return;
	extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);
	cr_assert_not_null(extension, "%s", value);
	X509_add_ext(x509, extension, -1);
	X509_EXTENSION_free(extension);
}

static void
name_add(X509_NAME *name, const char *value)
{
	if (value != NULL)
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
					   (const unsigned char *)value, -1, -1,
					   0);
}

/* By itself where there is no issuer. */
static struct made
make(const struct wish *wish, const struct made *issuer)
{
	struct made made = {.x509 = X509_new()};
	X509_NAME *name = X509_get_subject_name(made.x509);
	static long serial = 1;

	made.key = wish->bits > 0 ? EVP_RSA_gen(wish->bits)
				  : EVP_EC_gen("P-256");
	X509_set_version(made.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(made.x509), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.x509), wish->from_s);
	X509_gmtime_adj(X509_getm_notAfter(made.x509), wish->to_s);
	name_add(name, wish->common_name);
	name_add(name, wish->another_name);
	X509_set_issuer_name(made.x509,
			     issuer != NULL
				     ? X509_get_subject_name(issuer->x509)
				     : name);
	X509_set_pubkey(made.x509, made.key);
	extend(made.x509, NID_basic_constraints,
	       wish->is_authority ? "critical,CA:TRUE" : NULL);
	extend(made.x509, NID_subject_alt_name, wish->alternative);
	extend(made.x509, NID_ext_key_usage, wish->usage);
	cr_assert_gt(X509_sign(made.x509,
			       issuer != NULL ? issuer->key : made.key,
			       EVP_sha256()), 0);
	return made;
}

static void
made_done(struct made *made)
{
	X509_free(made->x509);
	EVP_PKEY_free(made->key);
}

static void
write_pem(const struct made *made, struct text *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes;
	long len;

	PEM_write_bio_X509(bio, made->x509);
	len = BIO_get_mem_data(bio, &bytes);
	text_add(out, slice_of(bytes, (size_t)len));
	BIO_free(bio);
}

/* --- a handshake --- */

static struct text server_certificate, server_key;

static struct tls_context *
context_asking(struct slice authorities)
{
	struct tls_context *context = NULL;
	struct fault fault = {0};

	if (server_key.len == 0)
		certificate_make(&server_certificate, &server_key);
	cr_assert(tls_context_server(text_slice(&server_certificate), &context,
				     &fault) &&
			  tls_context_key(context, text_slice(&server_key),
					  &fault),
		  "%s", fault.text);
	tls_context_ask(context);
	cr_assert(authorities.len == 0 ||
			  tls_context_trust(context, authorities, true, &fault),
		  "%s", fault.text);
	return context;
}

static void
carry(SSL *client, BIO *in, BIO *out, struct tls *server)
{
	CLEAN(text_done) struct text plain = {0}, back = {0};
	char *bytes;
	long len;

	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(client);
		len = BIO_get_mem_data(out, &bytes);
		cr_assert_eq(tls_receive(server, slice_of(bytes, (size_t)len),
					 &plain, &back),
			     TLS_OK, "%s", tls_fault(server)->text);
		BIO_reset(out);
		BIO_write(in, back.bytes, (int)back.len);
		text_clear(&back);
	}
}

/* The server's side of a connection on which the client shows `leaf`, and what
 * lies between it and its authority. Both may be NULL. */
static struct tls *
shown(struct tls_context *context, const struct made *leaf,
      const struct made *between, int version)
{
	SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
	struct tls *server = tls_new_server(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL *client;

	SSL_CTX_set_max_proto_version(client_context, version);
	SSL_CTX_set_security_level(client_context, 0);
	if (leaf != NULL) {
		SSL_CTX_use_certificate(client_context, leaf->x509);
		SSL_CTX_use_PrivateKey(client_context, leaf->key);
	}
	if (between != NULL)
		SSL_CTX_add1_chain_cert(client_context, between->x509);
	client = SSL_new(client_context);
	SSL_set_bio(client, in, out);
	SSL_set_connect_state(client);
	carry(client, in, out, server);
	cr_assert(SSL_is_init_finished(client));
	cr_assert(tls_is_established(server));
	SSL_free(client);
	SSL_CTX_free(client_context);
	return server;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

Test(tls_peer, who_shows_none_is_served)
{
	struct tls_context *context = context_asking(SLICE_NONE);
	uint8_t one[TLS_FINGERPRINT], other[TLS_FINGERPRINT];

	for (size_t i = 0; i < COUNT(versions); i++) {
		struct tls *tls = shown(context, NULL, NULL, versions[i]);

		cr_expect_not(tls_peer_fingerprints(tls, one, other));
		tls_free(tls);
	}
	tls_context_free(context);
}

Test(tls_peer, fingerprints)
{
	struct tls_context *context = context_asking(SLICE_NONE);
	struct wish wish = {.common_name = "a", .from_s = -60, .to_s = 60};
	struct made made = make(&wish, NULL);
	struct digest *digest = digest_new();
	uint8_t certificate[TLS_FINGERPRINT], key[TLS_FINGERPRINT];
	uint8_t expected[TLS_FINGERPRINT];
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(made.key, &der);

	for (size_t i = 0; i < COUNT(versions); i++) {
		struct tls *tls = shown(context, &made, NULL, versions[i]);

		cr_assert(tls_peer_fingerprints(tls, certificate, key));
		X509_digest(made.x509, EVP_sha256(), expected, NULL);
		cr_expect_arr_eq(certificate, expected, sizeof(expected));
		EVP_Digest(der, (size_t)len, expected, NULL, EVP_sha256(),
			   NULL);
		cr_expect_arr_eq(key, expected, sizeof(expected));
		tls_free(tls);
	}
	OPENSSL_free(der);
	digest_free(digest);
	made_done(&made);
	tls_context_free(context);
}

Test(tls_peer, days)
{
	static const struct {
		long from_s, to_s;
		const char *fault;
	} rows[] = {
		{-DAY_S, DAY_S, NULL},
		{-2 * DAY_S, -DAY_S, "certificate has expired"},
		{-DAY_S, -1, "certificate has expired"},
		{3600, DAY_S, "certificate is not yet valid"},
	};
	struct tls_context *context = context_asking(SLICE_NONE);

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct wish wish = {.common_name = "a",
				    .from_s = rows[i].from_s,
				    .to_s = rows[i].to_s};
		struct made made = make(&wish, NULL);
		struct tls *tls = shown(context, &made, NULL, TLS1_3_VERSION);
		const char *fault = tls_peer_time_fault(tls);

		if (rows[i].fault == NULL)
			cr_expect_null(fault, "%zu: %s", i, fault);
		else
			cr_expect_str_eq(fault, rows[i].fault, "%zu", i);
		tls_free(tls);
		made_done(&made);
	}
	tls_context_free(context);
}

static const struct wish authority = {.common_name = "CA",
				      .from_s = -DAY_S, .to_s = DAY_S,
				      .is_authority = true};

Test(tls_peer, chains)
{
	static const struct chain_row {
		const char *name;
		struct wish leaf;
		bool by_other, by_middle, shows_middle;
		const char *fault; /* NULL: none */
	} rows[] = {
		{"its own", {"a", .from_s = -60, .to_s = 60}, .fault = NULL},
		{"another's", {"a", .from_s = -60, .to_s = 60},
		 .by_other = true, .fault = "signature failure"},
		{"past", {"a", .from_s = -60, .to_s = -1}, .fault = "expired"},
		{"future", {"a", .from_s = 60, .to_s = 90},
		 .fault = "not yet valid"},
		{"for clients", {"a", .usage = "clientAuth", .from_s = -60,
		 .to_s = 60}, .fault = NULL},
		{"for servers only", {"a", .usage = "serverAuth",
		 .from_s = -60, .to_s = 60}, .fault = "purpose"},
		{"a weak key", {"a", .bits = 1024, .from_s = -60, .to_s = 60},
		 .fault = "key too weak"},
		{"with one between", {"a", .from_s = -60, .to_s = 60},
		 .by_middle = true, .shows_middle = true, .fault = NULL},
		{"without what is between", {"a", .from_s = -60, .to_s = 60},
		 .by_middle = true, .fault = "unable to get local issuer"},
	};
	struct wish middle_wish = authority;
	struct made ours = make(&authority, NULL);
	struct made other = make(&authority, NULL), middle;
	CLEAN(text_done) struct text pem = {0};
	struct tls_context *context, *plain = context_asking(SLICE_NONE);

	middle_wish.common_name = "between";
	middle = make(&middle_wish, &ours);
	write_pem(&ours, &pem);
	context = context_asking(text_slice(&pem));
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct chain_row *row = &rows[i];
		struct made leaf = make(&row->leaf,
					row->by_middle  ? &middle
					: row->by_other ? &other
							: &ours);
		/* Judged by a context that is not the connection's. */
		struct tls *tls = shown(plain, &leaf,
					row->shows_middle ? &middle : NULL,
					TLS1_3_VERSION);
		const char *fault = tls_peer_chain_fault(tls, context);

		if (row->fault == NULL)
			cr_expect_null(fault, "%s: %s", row->name, fault);
		else
			cr_expect(fault != NULL && strcasestr(fault, row->fault),
				  "%s: %s", row->name, fault);
		cr_expect_not_null(tls_peer_chain_fault(tls, plain), "%s",
				   row->name);
		tls_free(tls);
		made_done(&leaf);
	}
	tls_context_free(context);
	tls_context_free(plain);
	made_done(&ours);
	made_done(&other);
	made_done(&middle);
}

/* The list of an authority, with one certificate in it or (NULL) none. */
static void
write_revocations(const struct made *issuer, const struct made *revoked,
		  long until_s, struct text *out)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, -60);
	ASN1_TIME *until = X509_gmtime_adj(NULL, until_s);
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes;
	long len;

	X509_CRL_set_version(list, 1);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->x509));
	X509_CRL_set1_lastUpdate(list, from);
	X509_CRL_set1_nextUpdate(list, until);
	if (revoked != NULL) {
		X509_REVOKED *entry = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(
			entry, X509_get_serialNumber(revoked->x509));
		X509_REVOKED_set_revocationDate(entry, from);
		X509_CRL_add0_revoked(list, entry);
	}
	X509_CRL_sort(list);
	cr_assert_gt(X509_CRL_sign(list, issuer->key, EVP_sha256()), 0);
	PEM_write_bio_X509_CRL(bio, list);
	len = BIO_get_mem_data(bio, &bytes);
	text_add(out, slice_of(bytes, (size_t)len));
	BIO_free(bio);
	X509_CRL_free(list);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
}

Test(tls_peer, revoked)
{
	static const struct revoked_row {
		const char *name;
		bool has_it, is_of_other;
		long until_s;
		const char *fault; /* NULL: none */
	} rows[] = {
		{"not in the list", false, false, 60, NULL},
		{"revoked", true, false, 60, "revoked"},
		{"a list that has run out", false, false, -1, "expired"},
		{"the list of another authority only", false, true, 60,
		 "unable to get certificate CRL"},
	};
	struct wish other_wish = authority;
	struct made ours = make(&authority, NULL), other, leaf;
	struct tls_context *plain = context_asking(SLICE_NONE);
	struct tls *tls;

	other_wish.common_name = "another CA";
	other = make(&other_wish, NULL);
	leaf = make(&(struct wish){"a", .from_s = -60, .to_s = 60}, &ours);
	tls = shown(plain, &leaf, NULL, TLS1_3_VERSION);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct revoked_row *row = &rows[i];
		CLEAN(text_done) struct text pem = {0};
		struct tls_context *context;
		const char *fault;

		/* Wherever in the file it stands. */
		write_revocations(row->is_of_other ? &other : &ours,
				  row->has_it ? &leaf : NULL, row->until_s,
				  &pem);
		write_pem(&ours, &pem);
		context = context_asking(text_slice(&pem));
		fault = tls_peer_chain_fault(tls, context);
		if (row->fault == NULL)
			cr_expect_null(fault, "%s: %s", row->name, fault);
		else
			cr_expect(fault != NULL && strcasestr(fault, row->fault),
				  "%s: %s", row->name, fault);
		tls_context_free(context);
	}
	tls_free(tls);
	tls_context_free(plain);
	made_done(&ours);
	made_done(&other);
	made_done(&leaf);
}

/* The lists are good from a minute ago. */
Test(tls_peer, says_when_a_list_runs_out)
{
	static const struct {
		const char *name;
		long lists_s[2]; /* until when; 0: there is none */
		uint64_t after_s;
		const char *said; /* NULL: nothing */
	} rows[] = {
		{"no list", {0}, 5 * DAY_S, NULL},
		{"new", {3600}, 0, NULL},
		{"half way", {3600}, 1800, NULL},
		{"nearly over", {3600}, 3000, "a revocation list runs out on 20"},
		{"over", {3600}, 3700, "a revocation list ran out on 20"},
		{"the first of two", {60, DAY_S}, 90,
		 "a revocation list ran out on 20"},
		{"the second of two", {DAY_S, 60}, 90,
		 "a revocation list ran out on 20"},
	};
	uint64_t now_ms = clock_wall_ms();
	struct wish other_wish = authority;
	struct made issuers[2];

	other_wish.common_name = "another CA";
	issuers[0] = make(&authority, NULL);
	issuers[1] = make(&other_wish, NULL);
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text pem = {0}, words = {0};
		struct tls_context *context;

		write_pem(&issuers[0], &pem);
		for (size_t k = 0; k < COUNT(issuers); k++)
			if (rows[i].lists_s[k] != 0)
				write_revocations(&issuers[k], NULL,
						  rows[i].lists_s[k], &pem);
		context = context_asking(text_slice(&pem));
		cr_expect_eq(tls_context_lists_days(
				     context, now_ms + rows[i].after_s * SECOND,
				     &words),
			     rows[i].said != NULL, "%s", rows[i].name);
		cr_expect(slice_starts(text_slice(&words),
				       SLICE(rows[i].said != NULL
						     ? rows[i].said
						     : "")),
			  "%s: %s", rows[i].name, text_string(&words));
		tls_context_free(context);
	}
	made_done(&issuers[0]);
	made_done(&issuers[1]);
}

Test(tls_peer, names)
{
	static const struct {
		struct wish wish;
		const char *name; /* NULL: nobody */
	} rows[] = {
		{{"Printer 7"}, "Printer 7"},
		{{"Dr\xc3\xbc\x63ker"}, "Dr\xc3\xbc\x63ker"},
		{{"a", "b"}, NULL},
		{{NULL}, NULL},
		{{"a", .alternative = "DNS:Mail.Example.COM"},
		 "mail.example.com"},
		{{"a", .alternative = "DNS:one.example.com,DNS:two.example.com"},
		 "one.example.com"},
		{{"a", .alternative = "DNS:one.example.com,email:A@Example.com,"
				      "email:b@example.com"},
		 "A@example.com"},
		{{"a", .alternative = "DNS:*.example.com"}, NULL},
		{{"a", .alternative = "email:nobody,DNS:one.example.com"},
		 NULL},
		{{"a", .alternative = "email:a@example.com\x01"}, NULL},
		{{"a", .alternative = "email:\xc3\xa4@example.com"}, NULL},
		{{"a", .alternative = "IP:192.0.2.1"}, "a"},
		{{"a", .alternative = "URI:https://example.com/"}, "a"},
		{{"a\x07"}, NULL},
	};
	struct tls_context *context = context_asking(SLICE_NONE);

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct wish wish = rows[i].wish;
		CLEAN(text_done) struct text name = {0};
		struct made made;
		struct tls *tls;

		wish.from_s = -60;
		wish.to_s = 60;
		made = make(&wish, NULL);
		tls = shown(context, &made, NULL, TLS1_3_VERSION);
		cr_expect_eq(tls_peer_name(tls, &name), rows[i].name != NULL,
			     "%zu: %s", i, text_string(&name));
		cr_expect_str_eq(text_string(&name),
				 rows[i].name != NULL ? rows[i].name : "",
				 "%zu", i);
		tls_free(tls);
		made_done(&made);
	}
	tls_context_free(context);
}

/* What C sees of it is another's name. */
Test(tls_peer, a_name_with_a_nul_is_none)
{
	struct tls_context *context = context_asking(SLICE_NONE);
	struct wish wish = {.common_name = "a", .from_s = -60, .to_s = 60};
	struct made made = make(&wish, NULL);
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();
	CLEAN(text_done) struct text read = {0};
	struct tls *tls;

	ASN1_STRING_set(value, "admin@example.com\0.example.org", 29);
	GENERAL_NAME_set0_value(name, GEN_EMAIL, value);
	sk_GENERAL_NAME_push(names, name);
	X509_add1_ext_i2d(made.x509, NID_subject_alt_name, names, 0, 0);
	GENERAL_NAMES_free(names);
	X509_sign(made.x509, made.key, EVP_sha256());
	tls = shown(context, &made, NULL, TLS1_3_VERSION);
	cr_expect_not(tls_peer_name(tls, &read));
	cr_expect_eq(read.len, 0);
	tls_free(tls);
	made_done(&made);
	tls_context_free(context);
}

Test(tls_peer, refuses_what_is_no_authority)
{
	static const char *const rows[] = {
		"", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n"
			  "-----END CERTIFICATE-----\n"};
	struct fault fault = {0};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tls_context *context = context_asking(SLICE_NONE);

		cr_expect_not(tls_context_trust(context, SLICE(rows[i]), true,
						&fault), "%zu", i);
		cr_expect_neq(fault.text[0], 0);
		tls_context_free(context);
	}
}
