#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/net/tls.h"
#include "tests/unit/relay/net/certificate.h"

struct pair {
	struct text certificate, key;
	struct tls_context *server_context, *client_context;
	struct tls *server, *client;
	struct text to_server, to_client, server_plain, client_plain;
	enum tls_status server_status, client_status;
};

static struct tls_context *
context_of(const struct text *certificate, const struct text *key)
{
	struct tls_context *context = NULL;
	struct fault fault = {0};

	cr_assert(tls_context_server(text_slice(certificate), &context,
				     &fault) &&
			  tls_context_key(context, text_slice(key), &fault),
		  "%s", fault.text);
	return context;
}

static void
contexts_make(struct pair *pair)
{
	struct fault fault = {0};

	certificate_make(&pair->certificate, &pair->key);
	pair->server_context = context_of(&pair->certificate, &pair->key);
	cr_assert(tls_context_client(&pair->client_context, &fault), "%s",
		  fault.text);
}

/* A client that takes any certificate, or only a good one. */
static struct tls_client
client_of(const struct pair *pair, bool verify, const char *name)
{
	return (struct tls_client){
		.context = pair->client_context,
		.server_name = SLICE(name),
		.min = TLS_1_2,
		.security_level = -1,
		.has_to_verify = verify,
	};
}

static void
pair_connect(struct pair *pair, const struct tls_client *client)
{
	pair->server = tls_new_server(pair->server_context);
	pair->client = tls_new_client(client);
	pair->server_status = pair->client_status = TLS_OK;
}

static void
pair_make(struct pair *pair, bool verify, const char *name)
{
	struct tls_client client;

	contexts_make(pair);
	client = client_of(pair, verify, name);
	pair_connect(pair, &client);
}

static void
pair_disconnect(struct pair *pair)
{
	tls_free(pair->server);
	tls_free(pair->client);
	text_done(&pair->to_server);
	text_done(&pair->to_client);
	text_done(&pair->server_plain);
	text_done(&pair->client_plain);
}

static void
pair_done(struct pair *pair)
{
	pair_disconnect(pair);
	tls_context_free(pair->server_context);
	tls_context_free(pair->client_context);
	text_done(&pair->certificate);
	text_done(&pair->key);
}

/* Makes the certificate of the pair one that contexts made from now on
 * trust. */
static void
trust(const struct text *certificate)
{
	char path[] = "/tmp/signet-test-XXXXXX";
	int descriptor = mkstemp(path);

	cr_assert_geq(descriptor, 0);
	cr_assert_eq(write(descriptor, certificate->bytes, certificate->len),
		     (ssize_t)certificate->len);
	close(descriptor);
	setenv("SSL_CERT_FILE", path, 1);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
}

/* Carries bytes both ways, `size` at a time, until nothing moves. */
static void
carry(struct pair *pair, size_t size)
{
	while (pair->server_status == TLS_OK && pair->client_status == TLS_OK &&
	       pair->to_server.len + pair->to_client.len > 0) {
		struct slice bytes = slice_sub(text_slice(&pair->to_server), 0,
					       size);

		if (bytes.len > 0) {
			pair->server_status =
				tls_receive(pair->server, bytes,
					    &pair->server_plain,
					    &pair->to_client);
			text_drop_front(&pair->to_server, bytes.len);
		}
		bytes = slice_sub(text_slice(&pair->to_client), 0, size);
		if (bytes.len > 0) {
			pair->client_status =
				tls_receive(pair->client, bytes,
					    &pair->client_plain,
					    &pair->to_server);
			text_drop_front(&pair->to_client, bytes.len);
		}
	}
}

static const size_t sizes[] = {1, 7, 1000, 100000};

Test(tls, both_ways_in_any_pieces)
{
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct pair pair = {0};
		char big[50000];

		memset(big, 'x', sizeof(big));
		pair_make(&pair, false, "other.example.org");
		cr_assert_eq(tls_send(pair.client, SLICE_NONE,
				      &pair.to_server), TLS_OK);
		carry(&pair, sizes[i]);
		cr_assert(tls_is_established(pair.server));
		cr_assert(tls_is_established(pair.client));
		cr_expect_str_eq(tls_version(pair.client), "TLSv1.3");
		cr_expect_not(tls_is_verified(pair.client));
		cr_expect_not(tls_is_verified(pair.server));

		cr_assert_eq(tls_send(pair.client, SLICE("EHLO\r\n"),
				      &pair.to_server), TLS_OK);
		cr_assert_eq(tls_send(pair.server, slice_of(big, sizeof(big)),
				      &pair.to_client), TLS_OK);
		carry(&pair, sizes[i]);
		cr_expect_str_eq(text_string(&pair.server_plain), "EHLO\r\n");
		cr_expect(slice_eq(text_slice(&pair.client_plain),
				   slice_of(big, sizeof(big))));

		tls_finish(pair.client, &pair.to_server);
		carry(&pair, sizes[i]);
		cr_expect_eq(pair.server_status, TLS_CLOSED);
		pair_done(&pair);
	}
}

static const struct verify_row {
	const char *name;
	const char *names[3];
	bool trusted;
	const char *certificate;
} verify_rows[] = {
	{"mail.example.com", {NULL}, true, "verified"},
	{"mail.example.com.", {NULL}, true, "verified"},
	{"MAIL.example.com", {NULL}, true, "verified"},
	{"192.0.2.1", {NULL}, true, "verified"},
	{"[192.0.2.1]", {NULL}, true, "verified"},
	{"192.0.2.2", {NULL}, true, "IP address mismatch"},
	{"example.com", {NULL}, true, "hostname mismatch"},
	{"mail.example.com", {NULL}, false, "self-signed certificate"},
	/* names that count instead of the host's */
	{"mx.example.org", {"mail.example.com"}, true, "verified"},
	{"mx.example.org", {"a.example.net", "mail.example.com"}, true,
	 "verified"},
	{"mx.example.org", {".example.com"}, true, "verified"},
	{"mail.example.com", {".example.net"}, true, "hostname mismatch"},
	{"mail.example.com", {"example.com"}, true, "hostname mismatch"},
	{"192.0.2.1", {"mx.example.org"}, true, "hostname mismatch"},
};

static void
verify_row_run(const struct verify_row *row, bool verify)
{
	struct pair pair = {0};
	struct slice names[2];
	struct tls_client client;
	bool is_good = strcmp(row->certificate, "verified") == 0;
	struct text other = {0}, other_key = {0};

	certificate_make(&pair.certificate, &pair.key);
	certificate_make(&other, &other_key);
	trust(row->trusted ? &pair.certificate : &other);
	text_done(&other);
	text_done(&other_key);
	pair.server_context = context_of(&pair.certificate, &pair.key);
	cr_assert(tls_context_client(&pair.client_context, NULL));
	unlink(getenv("SSL_CERT_FILE"));
	client = client_of(&pair, verify, row->name);
	client.names = names;
	for (; row->names[client.names_count] != NULL; client.names_count++)
		names[client.names_count] =
			SLICE(row->names[client.names_count]);
	pair_connect(&pair, &client);
	cr_assert_eq(tls_send(pair.client, SLICE_NONE, &pair.to_server),
		     TLS_OK);
	carry(&pair, 1000);
	cr_expect_eq(pair.client_status,
		     is_good || !verify ? TLS_OK : TLS_FAILED, "%s", row->name);
	cr_expect_eq(tls_is_verified(pair.client), is_good, "%s", row->name);
	if (is_good || !verify)
		cr_expect_str_eq(tls_certificate(pair.client),
				 row->certificate, "%s: %s", row->name,
				 tls_certificate(pair.client));
	if (!is_good && verify)
		cr_expect_eq(tls_fault(pair.client)->kind, FAULT_UNTRUSTED,
			     "%s", tls_fault(pair.client)->text);
	/* Told of it, the other side only knows that it failed. */
	if (pair.server_status == TLS_FAILED)
		cr_expect_eq(tls_fault(pair.server)->kind, FAULT_INPUT);
	pair_done(&pair);
}

/* Who takes any certificate still knows what it is worth. */
Test(tls, verification)
{
	for (size_t i = 0; i < 2 * COUNT(verify_rows); i++)
		verify_row_run(&verify_rows[i / 2], i % 2 == 0);
}

/* --- sessions --- */

/* One connection that resumes `session`, if it can, and leaves the next one
 * there. */
static void
converse(struct pair *pair, bool verify, struct text *session)
{
	struct tls_client client = client_of(pair, verify, "mail.example.com");

	client.session = text_slice(session);
	pair_connect(pair, &client);
	tls_session_cleanse(session);
	cr_assert_eq(tls_send(pair->client, SLICE_NONE, &pair->to_server),
		     TLS_OK);
	carry(pair, 1000);
	cr_assert(tls_is_established(pair->client));
	cr_assert_eq(tls_send(pair->server, SLICE("220\r\n"),
			      &pair->to_client), TLS_OK);
	carry(pair, 1000);
	cr_assert(tls_take_session(pair->client, session));
	cr_expect_leq(session->len, TLS_SESSION_BYTES_MAX);
}

Test(tls, resumes_a_session)
{
	struct pair pair = {0};
	struct text session = {0};

	contexts_make(&pair);
	for (unsigned i = 0; i < 3; i++) {
		converse(&pair, false, &session);
		cr_expect_eq(tls_is_resumed(pair.client), i > 0, "%u", i);
		cr_expect_str_eq(tls_certificate(pair.client),
				 "self-signed certificate");
		cr_expect_not(tls_is_verified(pair.client));
		pair_disconnect(&pair);
	}
	/* One that nobody knows any more does no harm. */
	tls_context_free(pair.server_context);
	pair.server_context = context_of(&pair.certificate, &pair.key);
	converse(&pair, false, &session);
	cr_expect_not(tls_is_resumed(pair.client));
	pair_disconnect(&pair);
	/* Nor what is none at all. */
	tls_session_cleanse(&session);
	text_add_string(&session, "no session");
	converse(&pair, false, &session);
	cr_expect_not(tls_is_resumed(pair.client));
	tls_session_cleanse(&session);
	pair_done(&pair);
}

Test(tls, garbage_fails_with_words)
{
	struct pair pair = {0};

	pair_make(&pair, false, "mail.example.com");
	cr_expect_eq(tls_receive(pair.server, SLICE("EHLO example.com\r\n"),
				 &pair.server_plain, &pair.to_client),
		     TLS_FAILED);
	cr_expect_gt(strlen(tls_fault(pair.server)->text), 5);
	cr_expect_eq(pair.server_plain.len, 0);
	pair_done(&pair);
}
