/* How a connection holds to the policy for TLS. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/login.h"
#include "tests/unit/relay/delivery/scripted.h"
#include "tests/unit/relay/net/certificate.h"

static const char header[] = "From: <a@example.com>\r\n\r\n";

#define SECURED STARTTLS "S 220 go|T|C EHLO|S 250 mx|"
#define IN_CLEAR "S 220 mx|C EHLO|R 250-mx\r\n250 STARTTLS\r\n|"

static const struct tls_row {
	const char *name;
	enum tls_policy tls;
	const char *host_name;
	bool is_trusted;
	const char *host[SCRIPTS_MAX];
	const char *outcomes, *status;
	bool is_secured;
	unsigned attempts; /* before this one */
	bool logs_in;
	bool is_sent; /* although it is not known to be delivered */
} tls_rows[] = {
	{ "opportunistic: any certificate", TLS_OPPORTUNISTIC,
	  "other.example.net", false, {SECURED MAIL RCPT0 BODY BYE}, "D",
	  "2.0.0", true },
	{ "none: not even where it is offered", TLS_NONE, "mail.example.com",
	  true, {IN_CLEAR MAIL RCPT0 BODY BYE}, "D", "2.0.0", false },
	{ "required: any certificate", TLS_REQUIRED, "other.example.net",
	  false, {SECURED MAIL RCPT0 BODY BYE}, "D", "2.0.0", true },
	{ "verify: trusted, and the right name", TLS_VERIFY,
	  "mail.example.com", true, {SECURED MAIL RCPT0 BODY BYE}, "D",
	  "2.0.0", true },
	{ "verify: trusted, but another name", TLS_VERIFY,
	  "other.example.net", true, {STARTTLS "S 220 go|T|X", "S 220 never"},
	  "T", "4.7.5", false },
	{ "verify: the right name, but not trusted", TLS_VERIFY,
	  "mail.example.com", false, {STARTTLS "S 220 go|T|X", "S 220 never"},
	  "T", "4.7.5", false },
	{ "verify: stripped", TLS_VERIFY, "mail.example.com", true,
	  {HELLO "X", "S 220 never"}, "T", "4.7.4", false },
	{ "verify: refused", TLS_VERIFY, "mail.example.com", true,
	  {STARTTLS "S 502 5.5.1 no|C QUIT|X", "S 220 never"}, "T", "4.5.1",
	  false },
	{ "verify: injected", TLS_VERIFY, "mail.example.com", true,
	  {STARTTLS "R 220 go\r\n250 mx\r\n|X", "S 220 never"}, "T", "4.7.5",
	  false },
	{ "verify: gone behind the handshake", TLS_VERIFY, "mail.example.com",
	  true, {STARTTLS "S 220 go|T|X", "S 220 never"}, "T", "4.4.2", true },
	{ "opportunistic: gone behind the handshake", TLS_OPPORTUNISTIC,
	  "mail.example.com", false,
	  {STARTTLS "S 220 go|T|X", HELLO MAIL RCPT0 BODY BYE}, "D", "2.0.0",
	  false },
	{ "opportunistic: whoever greets is refused over TLS",
	  TLS_OPPORTUNISTIC, "mail.example.com", false,
	  {STARTTLS "S 220 go|T|C EHLO|S 503 no|C HELO|S 503 no|C QUIT|X",
	   IN_CLEAR MAIL RCPT0 BODY BYE}, "D", "2.0.0", false },
	{ "opportunistic: for now", TLS_OPPORTUNISTIC, "mail.example.com",
	  false, {STARTTLS "S 220 go|T|C EHLO|S 451 no|C QUIT|X",
	  "S 220 never"}, "T", "4.3.2", true },
	{ "opportunistic: gone at MAIL", TLS_OPPORTUNISTIC,
	  "mail.example.com", false, {SECURED "C MAIL|X", "S 220 never"}, "T",
	  "4.4.2", true },
	{ "opportunistic: gone at MAIL, and not for the first time",
	  TLS_OPPORTUNISTIC, "mail.example.com", false,
	  {SECURED "C MAIL|X", IN_CLEAR MAIL RCPT0 BODY BYE}, "D", "2.0.0",
	  false, 1 },
	{ "opportunistic: gone behind the dot, and not for the first time",
	  TLS_OPPORTUNISTIC, "mail.example.com", false,
	  {SECURED MAIL RCPT0 "C DATA|S 354 go|B|X",
	   IN_CLEAR MAIL RCPT0 BODY BYE}, "D", "2.0.0", false, 1 },
	{ "opportunistic: gone behind the dot for the fourth time",
	  TLS_OPPORTUNISTIC, "mail.example.com", false,
	  {SECURED MAIL RCPT0 "C DATA|S 354 go|B|X", "S 220 never"}, "T",
	  "4.4.2", true, 3, false, true },
	{ "opportunistic: gone in clear, too", TLS_OPPORTUNISTIC,
	  "mail.example.com", false, {SECURED "C MAIL|X", IN_CLEAR "C MAIL|X",
	  "S 220 never"}, "T", "4.4.2", false, 1 },
	{ "required: gone at MAIL, and not for the first time", TLS_REQUIRED,
	  "mail.example.com", false, {SECURED "C MAIL|X", "S 220 never"}, "T",
	  "4.4.2", true, 1 },
	{ "opportunistic: no password in clear for it", TLS_OPPORTUNISTIC,
	  "mail.example.com", false,
	  {STARTTLS "S 220 go|T|C EHLO|R 250-mx\r\n250 AUTH PLAIN\r\n|"
	   "C AUTH PLAIN|S 235 ok|C MAIL|X", "S 220 never"}, "T", "4.4.2",
	  true, 1, true },
};

static void
tls_row_run(const struct tls_row *row, SSL_CTX *server)
{
	struct login login = {.user = SLICE("u"), .password = SLICE("p"),
			      .may_be_clear = true};
	struct run run = {
		.tls = row->tls,
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.host_name = row->host_name,
		.hosts_count = 1,
		.attempts = row->attempts,
		.login = row->logs_in ? &login : NULL,
	};

	for (size_t i = 0; i < SCRIPTS_MAX; i++)
		run.hosts[0].scripts[i] = row->host[i];
	run.hosts[0].tls = server;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s, %s", row->name,
			 run.outcomes, run.reply);
	cr_expect_str_eq(run.status, row->status, "%s: %s, %s", row->name,
			 run.status, run.reply);
	cr_expect_eq(strncmp(run.used_tls, "TLSv1.3 ", 8) == 0,
		     row->is_secured, "%s: '%s'", row->name, run.used_tls);
	cr_expect_str_eq(run.hosts[0].wrong, "", "%s: %s", row->name,
			 run.hosts[0].wrong);
	if (row->host[1] != NULL && strcmp(row->host[1], "S 220 never") == 0)
		cr_expect_eq(run.hosts[0].connections, 1, "%s", row->name);
	if (row->outcomes[0] != 'D' && !row->is_sent)
		cr_expect_eq(run.hosts[0].message.len, 0, "%s: sent",
			     row->name);
	text_done(&run.hosts[0].message);
}

static SSL_CTX *
server_new(const struct text *certificate, const struct text *key)
{
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	BIO *bio = BIO_new_mem_buf(certificate->bytes, (int)certificate->len);
	X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	EVP_PKEY *pair;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(SSL_CTX_use_certificate(server, x509), 1);
	X509_free(x509);
	BIO_free(bio);
	bio = BIO_new_mem_buf(key->bytes, (int)key->len);
	pair = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	cr_assert_eq(SSL_CTX_use_PrivateKey(server, pair), 1);
	EVP_PKEY_free(pair);
	BIO_free(bio);
	return server;
}

Test(connection_tls, holds_to_the_tls_policy, .timeout = 120)
{
	CLEAN(text_done) struct text certificate = {0}, key = {0};
	char trusted[] = "/tmp/signet-test-XXXXXX";
	char certificates[] = "/tmp/signet-test-XXXXXX";
	int empty = mkstemp(certificates), full = mkstemp(trusted);
	SSL_CTX *server;

	cr_assert_geq(empty, 0);
	cr_assert_geq(full, 0);
	certificate_make(&certificate, &key);
	cr_assert_eq(write(full, certificate.bytes, certificate.len),
		     (ssize_t)certificate.len);
	server = server_new(&certificate, &key);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
	for (size_t i = 0; i < COUNT(tls_rows); i++) {
		setenv("SSL_CERT_FILE",
		       tls_rows[i].is_trusted ? trusted : certificates, 1);
		tls_row_run(&tls_rows[i], server);
	}
	SSL_CTX_free(server);
	close(empty);
	close(full);
	unlink(trusted);
	unlink(certificates);
}

/* A host that has no TLS 1.3 fails one route, which asks for it; the next
 * route's mail is encrypted as before. */
Test(connection_tls, fails_for_those_only_who_ask_for_more, .timeout = 120)
{
	CLEAN(text_done) struct text certificate = {0}, key = {0};
	SSL_CTX *server;
	struct run run = {
		.tls = TLS_OPPORTUNISTIC,
		.first_min = TLS_MIN_1_3,
		.recipients = 1,
		.messages = 2,
		.one_each = true,
		.other_site = true,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {STARTTLS "S 220 go|T|X",
				       HELLO MAIL RCPT0 BODY BYE,
				       SECURED MAIL RCPT0 BODY BYE}}},
	};

	certificate_make(&certificate, &key);
	server = server_new(&certificate, &key);
	cr_assert_eq(SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION), 1);
	run.hosts[0].tls = server;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DD", "%s", run.reply);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	cr_expect_eq(strncmp(run.used_tls, "TLSv1.2 ", 8), 0, "%s",
		     run.used_tls);
	text_done(&run.hosts[0].message);
	SSL_CTX_free(server);
}

/* TLS is left out for the one message that it may have broken. */
Test(connection_tls, tells_no_other_message_in_clear_for_it, .timeout = 120)
{
	CLEAN(text_done) struct text certificate = {0}, key = {0};
	SSL_CTX *server;
	struct run run = {
		.tls = TLS_OPPORTUNISTIC,
		.attempts = 1,
		.recipients = 1,
		.messages = 2,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {SECURED "C MAIL|X",
				       IN_CLEAR MAIL RCPT0 BODY BYE}}},
	};

	certificate_make(&certificate, &key);
	server = server_new(&certificate, &key);
	run.hosts[0].tls = server;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DN", "%s", run.reply);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	text_done(&run.hosts[0].message);
	SSL_CTX_free(server);
}
