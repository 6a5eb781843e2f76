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

static void
pair_make(struct pair *pair, bool verify, const char *name)
{
	struct fault fault = {0};

	cr_assert(tls_context_server(text_slice(&pair->certificate),
				     text_slice(&pair->key),
				     &pair->server_context, &fault),
		  "%s", fault.text);
	cr_assert(tls_context_client(verify, &pair->client_context, &fault),
		  "%s", fault.text);
	pair->server = tls_new(pair->server_context, true, SLICE_NONE);
	pair->client = tls_new(pair->client_context, false, SLICE(name));
}

static void
pair_done(struct pair *pair)
{
	tls_free(pair->server);
	tls_free(pair->client);
	tls_context_free(pair->server_context);
	tls_context_free(pair->client_context);
	text_done(&pair->certificate);
	text_done(&pair->key);
	text_done(&pair->to_server);
	text_done(&pair->to_client);
	text_done(&pair->server_plain);
	text_done(&pair->client_plain);
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
		certificate_make(&pair.certificate, &pair.key);
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

Test(tls, verification)
{
	static const struct {
		const char *name;
		bool trusted, ok;
	} rows[] = {
		{"mail.example.com", true, true},
		{"mail.example.com.", true, true},
		{"MAIL.example.com", true, true},
		{"192.0.2.1", true, true},
		{"192.0.2.2", true, false},
		{"example.com", true, false},
		{"mail.example.com", false, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pair pair = {0};
		char path[] = "/tmp/signet-test-XXXXXX";
		int descriptor = mkstemp(path);

		cr_assert_geq(descriptor, 0);
		certificate_make(&pair.certificate, &pair.key);
		if (rows[i].trusted)
			cr_assert_eq(write(descriptor, pair.certificate.bytes,
					   pair.certificate.len),
				     (ssize_t)pair.certificate.len);
		close(descriptor);
		setenv("SSL_CERT_FILE", path, 1);
		setenv("SSL_CERT_DIR", "/nonexistent", 1);
		pair_make(&pair, true, rows[i].name);
		unlink(path);
		cr_assert_eq(tls_send(pair.client, SLICE_NONE,
				      &pair.to_server), TLS_OK);
		carry(&pair, 1000);
		cr_expect_eq(pair.client_status,
			     rows[i].ok ? TLS_OK : TLS_FAILED, "%s",
			     rows[i].name);
		cr_expect_eq(tls_is_verified(pair.client), rows[i].ok, "%s",
			     rows[i].name);
		if (!rows[i].ok)
			cr_expect_eq(tls_fault(pair.client)->kind,
				     FAULT_UNTRUSTED, "%s",
				     tls_fault(pair.client)->text);
		/* Told of it, the other side only knows that it failed. */
		if (!rows[i].ok && pair.server_status == TLS_FAILED)
			cr_expect_eq(tls_fault(pair.server)->kind,
				     FAULT_INPUT);
		pair_done(&pair);
	}
}

Test(tls, garbage_fails_with_words)
{
	struct pair pair = {0};

	certificate_make(&pair.certificate, &pair.key);
	pair_make(&pair, false, "");
	cr_expect_eq(tls_receive(pair.server, SLICE("EHLO example.com\r\n"),
				 &pair.server_plain, &pair.to_client),
		     TLS_FAILED);
	cr_expect_gt(strlen(tls_fault(pair.server)->text), 5);
	cr_expect_eq(pair.server_plain.len, 0);
	pair_done(&pair);
}

Test(tls, contexts_refuse_what_is_no_certificate)
{
	struct text certificate = {0}, key = {0}, other = {0}, other_key = {0};
	struct tls_context *context = NULL;
	struct fault fault = {0};

	certificate_make(&certificate, &key);
	certificate_make(&other, &other_key);
	cr_expect_not(tls_context_server(SLICE_NONE, text_slice(&key),
					 &context, &fault));
	cr_expect_not(tls_context_server(text_slice(&certificate), SLICE_NONE,
					 &context, &fault));
	cr_expect_not(tls_context_server(text_slice(&certificate),
					 text_slice(&other_key), &context,
					 &fault));
	cr_expect_null(context);
	/* A chain: what comes behind the first belongs to it. */
	text_add(&certificate, text_slice(&other));
	cr_expect(tls_context_server(text_slice(&certificate),
				     text_slice(&key), &context, &fault),
		  "%s", fault.text);
	tls_context_free(context);
	text_add_string(&certificate, "-----BEGIN CERTIFICATE-----\nx\n");
	cr_expect_not(tls_context_server(text_slice(&certificate),
					 text_slice(&key), &context, &fault));
	text_done(&certificate);
	text_done(&key);
	text_done(&other);
	text_done(&other_key);
}
