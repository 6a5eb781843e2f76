#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay/net/certificate.h"
#include "tests/unit/relay/net/ends.h"

/* --- a server whose tickets need several records (RFC 8446 4.6.1, 5.1) --- */

#define TICKET_EXTRA 2000
#define RECORD_MAX 512 /* the least that the library does */

struct peer {
	SSL_CTX *context;
	SSL *ssl;
	BIO *in, *out;
	int socket;
};

static int
ticket_fill(SSL *ssl, void *argument)
{
	static const char extra[TICKET_EXTRA];

	(void)argument;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), extra,
					       sizeof(extra));
}

static void
peer_make(struct peer *peer, int socket)
{
	BIO *pem = BIO_new_mem_buf(certificate.bytes, (int)certificate.len);
	X509 *own = PEM_read_bio_X509(pem, NULL, NULL, NULL);
	BIO *secret = BIO_new_mem_buf(key.bytes, (int)key.len);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(secret, NULL, NULL, NULL);

	peer->socket = socket;
	peer->context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(peer->context, own);
	SSL_CTX_use_PrivateKey(peer->context, private);
	SSL_CTX_set_num_tickets(peer->context, 0);
	SSL_CTX_set_max_send_fragment(peer->context, RECORD_MAX);
	cr_assert(SSL_CTX_set_session_ticket_cb(peer->context, ticket_fill,
						NULL, NULL));
	peer->ssl = SSL_new(peer->context);
	peer->in = BIO_new(BIO_s_mem());
	peer->out = BIO_new(BIO_s_mem());
	SSL_set_bio(peer->ssl, peer->in, peer->out);
	SSL_set_accept_state(peer->ssl);
	X509_free(own);
	EVP_PKEY_free(private);
	BIO_free(pem);
	BIO_free(secret);
}

static void
peer_done(struct peer *peer)
{
	SSL_free(peer->ssl);
	SSL_CTX_free(peer->context);
	close(peer->socket);
}

/* What it has to say goes out; at most len octets. */
static void
peer_send(struct peer *peer, size_t len)
{
	char bytes[16384];
	int count;

	while (len > 0 && (count = BIO_read(peer->out, bytes,
					    (int)(len < sizeof(bytes)
							  ? len
							  : sizeof(bytes)))) >
				  0) {
		cr_assert_eq(write(peer->socket, bytes, (size_t)count), count);
		len -= (size_t)count;
	}
}

/* What has come goes in. */
static size_t
peer_read(struct peer *peer, char *out, size_t size)
{
	char bytes[16384];
	ssize_t count = recv(peer->socket, bytes, sizeof(bytes), MSG_DONTWAIT);
	size_t len = 0;

	if (count > 0)
		BIO_write(peer->in, bytes, (int)count);
	return SSL_read_ex(peer->ssl, out, size, &len) == 1 ? len : 0;
}

/* The record in front. */
static size_t
peer_record_len(struct peer *peer)
{
	char *bytes;
	long len = BIO_get_mem_data(peer->out, &bytes);

	cr_assert_geq(len, 5);
	return 5 + ((size_t)(unsigned char)bytes[3] << 8 |
		    (unsigned char)bytes[4]);
}

Test(stream_tickets, a_message_behind_the_handshake_in_parts)
{
	struct fault fault = {0};
	struct peer peer;
	char got[64];
	int pair[2];

	cr_assert(loop_init(&loop, 0, &fault));
	certificate_make(&certificate, &key);
	cr_assert(tls_context_client(&client_context, &fault));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
		     0);
	peer_make(&peer, pair[1]);
	cr_assert(stream_accept(&loop, pair[0], on_event, &client,
				&client.stream, &fault));
	secure_client();
	for (unsigned i = 0; i < 1000 && !saw(&client, 'S'); i++) {
		turn(1);
		(void)peer_read(&peer, got, sizeof(got));
		peer_send(&peer, SIZE_MAX);
	}
	cr_assert(saw(&client, 'S'), "no handshake: %s", client.events);

	/* The first record of a ticket; then the client speaks. */
	cr_assert_eq(SSL_new_session_ticket(peer.ssl), 1);
	cr_assert_eq(SSL_do_handshake(peer.ssl), 1);
	cr_assert_gt(BIO_ctrl_pending(peer.out), 2 * RECORD_MAX);
	peer_send(&peer, peer_record_len(&peer));
	turn(10);
	stream_write(client.stream, SLICE("NOOP\r\n"));
	turn(10);
	cr_expect_eq(peer_read(&peer, got, sizeof(got)), 0);
	cr_expect_not(saw(&client, 'F'));

	/* The rest of it: what has waited goes out. */
	peer_send(&peer, SIZE_MAX);
	turn(10);
	cr_expect_eq(peer_read(&peer, got, sizeof(got)), 6);
	cr_expect_eq(memcmp(got, "NOOP\r\n", 6), 0);
	cr_expect_str_eq(client.events, "S");
	stop();
	peer_done(&peer);
}
