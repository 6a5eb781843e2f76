/* Logging in at scripted hosts: see scripted.h. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <signal.h>

#include "relay/login.h"
#include "tests/unit/relay/delivery/scripted.h"
#include "tests/unit/relay/net/certificate.h"

static const char header[] = "From: <a@example.com>\r\n\r\n";

#define EHLO_AUTH(names) "S 220 mx|C EHLO|R 250-mx\r\n250 AUTH " names "\r\n|"
#define SECRET "AHUAcA==" /* NUL "u" NUL "p" */
#define REST MAIL RCPT0 BODY "X"

static const struct auth_row {
	const char *name;
	enum tls_policy tls;
	bool may_be_clear;
	const char *host0[SCRIPTS_MAX], *host1;
	const char *outcomes, *status, *says;
	bool is_refused; /* and nobody tries the password for a while */
} auth_rows[] = {
	{ "PLAIN", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN PLAIN") "C AUTH PLAIN " SECRET "\r\n|S 235 in|"
	   REST}, NULL, "D", "2.0.0", NULL },
	{ "LOGIN", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN") "C AUTH LOGIN\r\n|S 334 VXNlcm5hbWU6|C dQ==\r\n|"
	   "S 334 UGFzc3dvcmQ6|C cA==\r\n|S 235 in|" REST}, NULL, "D", "2.0.0",
	  NULL },
	{ "offered as before there was an RFC", TLS_NONE, true,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 AUTH=PLAIN\r\n|C AUTH PLAIN "
	   SECRET "\r\n|S 235 in|" REST}, NULL, "D", "2.0.0", NULL },
	{ "refused for good: no bounce, and no other host", TLS_NONE, true,
	  {EHLO_AUTH("PLAIN") "C AUTH|S 535 5.7.8 no|C QUIT|X"}, "S 220 never",
	  "T", "4.7.8", "535 5.7.8 no", true },
	{ "a mechanism is refused: the next one", TLS_NONE, true,
	  {EHLO_AUTH("SCRAM-SHA-256 PLAIN") "C AUTH SCRAM-SHA-256|"
	   "S 504 5.5.4 not that|C AUTH PLAIN " SECRET "\r\n|S 235 in|" REST},
	  NULL, "D", "2.0.0", NULL },
	{ "and the one after that", TLS_NONE, true,
	  {EHLO_AUTH("SCRAM-SHA-256 PLAIN LOGIN") "C AUTH SCRAM-SHA-256|"
	   "S 501 5.5.4 not that|C AUTH PLAIN " SECRET "\r\n|"
	   "S 534 5.7.9 too weak|C AUTH LOGIN\r\n|S 334 VXNlcm5hbWU6|"
	   "C dQ==\r\n|S 334 UGFzc3dvcmQ6|C cA==\r\n|S 235 in|" REST},
	  NULL, "D", "2.0.0", NULL },
	{ "refused after its first challenge", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN SCRAM-SHA-256") "C AUTH SCRAM-SHA-256|"
	   "S 504 no|C AUTH LOGIN|S 334 VXNlcm5hbWU6|C dQ==\r\n|"
	   "S 504 5.5.4 no|C QUIT|X"}, NULL, "T", "4.5.4", "504 5.5.4 no",
	  true },
	{ "a wrong password is not shown by another", TLS_NONE, true,
	  {EHLO_AUTH("SCRAM-SHA-256 PLAIN") "C AUTH SCRAM-SHA-256|"
	   "S 535 5.5.4 no|C QUIT|X"}, "S 220 never", "T", "4.5.4",
	  "535 5.5.4 no", true },
	{ "refused for now: no other one", TLS_NONE, true,
	  {EHLO_AUTH("SCRAM-SHA-256 PLAIN") "C AUTH SCRAM-SHA-256|"
	   "S 454 4.5.4 no|C QUIT|X"}, NULL, "T", "4.5.4", "454 4.5.4" },
	{ "refused for now: the next host", TLS_NONE, true,
	  {EHLO_AUTH("PLAIN") "C AUTH|S 454 4.7.0 later|C QUIT|X"},
	  EHLO_AUTH("PLAIN") "C AUTH PLAIN|S 235 in|" REST, "D", "2.0.0",
	  NULL },
	{ "421", TLS_NONE, true, {EHLO_AUTH("PLAIN") "C AUTH|S 421 4.3.2 bye|X"},
	  NULL, "T", "4.3.2", "421 4.3.2 bye" },
	{ "gone", TLS_NONE, true, {EHLO_AUTH("PLAIN") "C AUTH|X"}, NULL, "T",
	  "4.4.2", "while logging in" },
	{ "not offered", TLS_NONE, true, {HELLO "X"}, NULL, "T", "4.7.8",
	  "offers none of SCRAM-SHA-256, PLAIN and LOGIN" },
	{ "what is offered is not ours", TLS_NONE, true,
	  {EHLO_AUTH("CRAM-MD5 GSSAPI PLAINER") "X"}, NULL, "T", "4.7.8",
	  "offers none of SCRAM-SHA-256, PLAIN and LOGIN" },
	{ "not even EHLO", TLS_NONE, true,
	  {"S 220 mx|C EHLO|S 502 no|C HELO|S 250 mx|X"}, NULL, "T", "4.7.8",
	  "offers none" },
	{ "a challenge that is none", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN") "C AUTH LOGIN|S 334 ???|X"}, NULL, "T", "4.7.8",
	  "not base64" },
	{ "no end of challenges", TLS_NONE, true,
	  {EHLO_AUTH("PLAIN") "C AUTH PLAIN|S 334 |X"}, NULL, "T", "4.7.8",
	  "more than there is to say" },
	{ "a challenge without end", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN") "C AUTH LOGIN|L 100000|X"}, NULL, "T", "4.5.0",
	  NULL },
	{ "let in before the password", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN") "C AUTH LOGIN|S 334 VXNlcm5hbWU6|C dQ==|S 235 in"
	   "|X"}, NULL, "T", "4.7.8", "proven" },
	{ "let in without the proof", TLS_NONE, true,
	  {EHLO_AUTH("PLAIN SCRAM-SHA-256") "C AUTH SCRAM-SHA-256 biws|S 235 in"
	   "|X"}, NULL, "T", "4.7.8", "proven" },
	{ "another nonce", TLS_NONE, true,
	  /* r=x,s=c2FsdA==,i=4096 */
	  {EHLO_AUTH("SCRAM-SHA-256") "C AUTH SCRAM-SHA-256|"
	   "S 334 cj14LHM9YzJGc2RBPT0saT00MDk2"}, NULL, "T", "4.7.8",
	  "cannot log in while making the proof" },
	{ "gone before the proof is made", TLS_NONE, true,
	  {EHLO_AUTH("SCRAM-SHA-256") "C AUTH SCRAM-SHA-256|"
	   "S 334 cj14LHM9YzJGc2RBPT0saT00MDk2|X"}, NULL, "T", NULL, NULL },
	{ "an odd reply", TLS_NONE, true,
	  {EHLO_AUTH("PLAIN") "C AUTH|S 354 go|X"}, NULL, "T", "4.5.0", NULL },
	{ "replies ahead", TLS_NONE, true,
	  {EHLO_AUTH("LOGIN") "C AUTH|R 334 AAAA\r\n334 AAAA\r\n|X"}, NULL, "T",
	  "4.5.0", NULL },
	/* TLS */
	{ "required and stripped: nothing is said", TLS_REQUIRED, false,
	  {EHLO_AUTH("PLAIN") "X"}, NULL, "T", "4.7.4", NULL },
	{ "what was offered before TLS does not count", TLS_REQUIRED, false,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n|"
	   "C STARTTLS|S 220 go|T|C EHLO|S 250 mx|X"}, NULL, "T", "4.7.8",
	  "offers none" },
	{ "offered under TLS only", TLS_REQUIRED, false,
	  {STARTTLS "S 220 go|T|C EHLO|R 250-mx\r\n250 AUTH PLAIN\r\n|"
	   "C AUTH PLAIN " SECRET "|S 235 in|" REST}, NULL, "D", "2.0.0",
	  NULL },
};

static void
row_run(const struct auth_row *row, SSL_CTX *server)
{
	struct login login = {.user = SLICE("u"), .password = SLICE("p"),
			      .may_be_clear = row->may_be_clear};
	struct run run = {
		.tls = row->tls,
		.login = &login,
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = row->host1 != NULL ? 2 : 1,
	};

	for (size_t i = 0; i < SCRIPTS_MAX; i++)
		run.hosts[0].scripts[i] = row->host0[i];
	run.hosts[0].tls = server;
	run.hosts[1].scripts[0] = row->host1;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, row->outcomes, "%s: %s, %s", row->name,
			 run.outcomes, run.reply);
	/* What is first of two things is anybody's guess. */
	if (row->status != NULL)
		cr_expect_str_eq(run.status, row->status, "%s: %s, %s",
				 row->name, run.status, run.reply);
	if (row->says != NULL)
		cr_expect_not_null(strstr(run.reply, row->says), "%s: '%s'",
				   row->name, run.reply);
	cr_expect_eq(host_is_before(&login.refused_until_ms), row->is_refused,
		     "%s", row->name);
	if (row->host1 != NULL && strcmp(row->host1, "S 220 never") == 0)
		cr_expect_eq(run.hosts[1].connections, 0, "%s", row->name);
	for (size_t i = 0; i < run.hosts_count; i++) {
		cr_expect_str_eq(run.hosts[i].wrong, "", "%s: %s", row->name,
				 run.hosts[i].wrong);
		if (row->outcomes[0] != 'D')
			cr_expect_eq(run.hosts[i].message.len, 0);
		text_done(&run.hosts[i].message);
	}
}

static SSL_CTX *
server_new(void)
{
	CLEAN(text_done) struct text certificate = {0}, key = {0};
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	BIO *bio;
	X509 *x509;
	EVP_PKEY *pair;

	certificate_make(&certificate, &key);
	bio = BIO_new_mem_buf(certificate.bytes, (int)certificate.len);
	x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	cr_assert_eq(SSL_CTX_use_certificate(server, x509), 1);
	X509_free(x509);
	BIO_free(bio);
	bio = BIO_new_mem_buf(key.bytes, (int)key.len);
	pair = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	cr_assert_eq(SSL_CTX_use_PrivateKey(server, pair), 1);
	EVP_PKEY_free(pair);
	BIO_free(bio);
	return server;
}

Test(auth, logs_in_or_says_why_not, .timeout = 120)
{
	SSL_CTX *server = server_new();

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT(auth_rows); i++)
		row_run(&auth_rows[i], server);
	SSL_CTX_free(server);
}

/* RFC 4954 4: AUTH may not be longer than any other command. */
Test(auth, a_long_response_waits_for_a_challenge, .timeout = 120)
{
	char longest[LOGIN_PASSWORD_MAX];
	struct login login = {.user = slice_of(longest, sizeof(longest)),
			      .password = slice_of(longest, sizeof(longest)),
			      .may_be_clear = true};
	struct run run = {
		.login = &login,
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		.hosts = {{.scripts = {EHLO_AUTH("PLAIN") "C AUTH PLAIN\r\n|"
				       "S 334 |C AHh4eHh4|S 235 in|" REST}}},
	};

	memset(longest, 'x', sizeof(longest));
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s", run.reply);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	text_done(&run.hosts[0].message);
}
