/*
 * A connection whose other end does whatever a peer can do, below TLS and in
 * it, in whatever order: records in pieces, garbage between them, messages
 * behind the handshake, half a close, a reset with bytes unread; while ours
 * writes, pauses, finishes. The socket and the loop are real ones.
 *
 * What holds, besides that nothing crashes or leaks:
 *
 *	- what either end reads is what the other has written, in its order and
 *	  with nothing left out in front of it;
 *	- the end and a failure are told once, and behind a failure nothing is;
 *	- once both are through, every handle has been closed.
 *
 * The first octet sets up the two ends (enum flag), the second says what ours
 * does at which event; each of the others is something that one of them does.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/net/stream.h"
#include "tests/unit/relay/net/certificate.h"

#define STEPS_MAX 200
#define SMALL_BUFFER 4096
/* More than a read takes at once. */
#define WRITE_MAX (STREAM_INPUT_MAX + 10000)

enum flag {
	SECURE = 1 << 0,       /* from the beginning */
	OURS_IS_CLIENT = 1 << 1,
	PEER_TALKS_FIRST = 1 << 2, /* before ours is secured */
	OLD_TLS = 1 << 3,      /* 1.2 */
	SMALL_BUFFERS = 1 << 4,
	ANSWERS = 1 << 5,      /* at DATA */
	LEAVES_INPUT = 1 << 6,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Octets that say where they stand: the n-th of one end is always the same. */
struct sequence {
	size_t written, read;
};

static struct tls_context *server_context, *client_context;
static SSL_CTX *peer_server, *peer_client;
static char octets[WRITE_MAX + 251];

static struct loop loop;
static struct stream *stream;
static unsigned flags, reaction;
static bool has_failed, has_ended, leaves_input;
static struct sequence of_ours, of_peer;
/* The other end. */
static int peer = -1;
static SSL *peer_tls;
static BIO *peer_in, *peer_out;

/* --- set-up --- */

static SSL_CTX *
peer_context(const SSL_METHOD *method, struct text *certificate,
	     struct text *key)
{
	BIO *pem = BIO_new_mem_buf(certificate->bytes, (int)certificate->len);
	BIO *secret = BIO_new_mem_buf(key->bytes, (int)key->len);
	X509 *own = PEM_read_bio_X509(pem, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(secret, NULL, NULL, NULL);
	SSL_CTX *context = SSL_CTX_new(method);

	ASSERT(SSL_CTX_use_certificate(context, own) == 1);
	ASSERT(SSL_CTX_use_PrivateKey(context, private) == 1);
	X509_free(own);
	EVP_PKEY_free(private);
	BIO_free(pem);
	BIO_free(secret);
	return context;
}

static void
make_once(void)
{
	CLEAN(text_done) struct text certificate = {0}, key = {0};
	struct fault fault;

	if (server_context != NULL)
		return;
	signal(SIGPIPE, SIG_IGN);
	certificate_make(&certificate, &key);
	ASSERT(tls_context_server(text_slice(&certificate), &server_context,
				  &fault));
	ASSERT(tls_context_key(server_context, text_slice(&key), &fault));
	ASSERT(tls_context_client(&client_context, &fault));
	peer_server = peer_context(TLS_server_method(), &certificate, &key);
	peer_client = peer_context(TLS_client_method(), &certificate, &key);
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (char)('!' + i % 251 % 90);
}

/* The next len octets of whoever has written so many: 251 is their period. */
static struct slice
next_octets(struct sequence *sequence, size_t len)
{
	struct slice next = slice_of(octets + sequence->written % 251, len);

	sequence->written += len;
	return next;
}

static void
octets_check(struct sequence *sequence, struct slice got)
{
	for (size_t i = 0; i < got.len; i++)
		ASSERT(got.bytes[i] ==
		       octets[(sequence->read + i) % 251]);
	sequence->read += got.len;
	ASSERT(sequence->read <= sequence->written);
}

static size_t
size_of(unsigned number)
{
	static const size_t sizes[16] = {
		0,    1,    2,     5,     80,    500,   1000,  4000,
		8000, 9000, 16383, 16384, 16385, 30000, 65536, WRITE_MAX};

	return sizes[number & 15];
}

/* --- our end --- */

static void
ours_write(size_t len)
{
	if (stream != NULL)
		stream_write(stream, next_octets(&of_ours, len));
}

static void
ours_take(void)
{
	struct slice input = stream_input(stream);

	ASSERT(input.len <= STREAM_INPUT_MAX + SSL3_RT_MAX_PLAIN_LENGTH);
	if (leaves_input)
		input = slice_sub(input, 0, input.len / 2);
	octets_check(&of_peer, input);
	stream_consume(stream, input.len);
	if ((flags & ANSWERS) != 0)
		ours_write(40);
}

static void
ours_leave(unsigned how)
{
	if (stream == NULL)
		return;
	switch (how & 3) {
	case 0:
		stream_close(&stream);
		break;
	case 1:
		stream_part(&stream);
		break;
	default:
		stream_finish(&stream);
		break;
	}
}

static void
on_event(void *owner, enum stream_event event)
{
	(void)owner;
	ASSERT(stream != NULL);
	ASSERT(!has_failed);
	ASSERT(!has_ended || event != STREAM_ENDED);
	has_failed = event == STREAM_FAILED;
	has_ended |= event == STREAM_ENDED;
	if (has_failed)
		ASSERT(stream_fault(stream)->text[0] != '\0');
	if (event == STREAM_DATA)
		ours_take();
	if (event == (enum stream_event)(reaction & 7))
		ours_leave(reaction >> 3);
}

static void
ours_write_parts(unsigned number)
{
	struct slice parts[5];
	size_t count = 1 + number % 5;

	if (stream == NULL)
		return;
	for (size_t i = 0; i < count; i++)
		parts[i] = next_octets(&of_ours, size_of(number + 3 * (unsigned)i));
	stream_write_parts(stream, parts, count);
}

static void
ours_wait(unsigned number)
{
	if (stream == NULL)
		return;
	if (number < 4)
		stream_pause(stream);
	else if (number < 10)
		stream_resume(stream);
	else if (number < 12)
		stream_deadline(stream, 1);
	else if (number < 14)
		stream_deadline_clear(stream);
	else
		leaves_input = number == 14;
}

/* --- the other end --- */

static void
peer_close(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void
peer_send_raw(struct slice bytes)
{
	while (peer >= 0 && bytes.len > 0) {
		ssize_t sent = send(peer, bytes.bytes, bytes.len,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent <= 0)
			break; /* the rest is lost: it is full, or over */
		bytes = slice_from(bytes, (size_t)sent);
	}
}

/* Of what TLS has to say at most so much; the rest stays for later. */
static void
peer_send(size_t max)
{
	char bytes[WRITE_MAX];

	while (peer >= 0 && peer_tls != NULL && max > 0) {
		size_t wanted = max < sizeof(bytes) ? max : sizeof(bytes);
		char *all;
		long waiting = BIO_get_mem_data(peer_out, &all);
		ssize_t sent;

		if (waiting <= 0)
			return;
		if ((size_t)waiting < wanted)
			wanted = (size_t)waiting;
		sent = send(peer, all, wanted, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent <= 0)
			return;
		ASSERT(BIO_read(peer_out, bytes, (int)sent) == (int)sent);
		max -= (size_t)sent;
	}
}

static void
peer_take(void)
{
	char bytes[16384];
	size_t len;

	if (peer_tls == NULL)
		return;
	ERR_clear_error();
	if (!SSL_is_init_finished(peer_tls))
		(void)SSL_do_handshake(peer_tls);
	while (SSL_is_init_finished(peer_tls) &&
	       SSL_read_ex(peer_tls, bytes, sizeof(bytes), &len) == 1)
		octets_check(&of_ours, slice_of(bytes, len));
	ERR_clear_error();
}

/* What has come, and what it makes TLS say. */
static void
peer_read(void)
{
	char bytes[16384];
	ssize_t count;

	while (peer >= 0 &&
	       (count = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		if (peer_tls != NULL)
			ASSERT(BIO_write(peer_in, bytes, (int)count) ==
			       (int)count);
		else
			octets_check(&of_ours, slice_of(bytes, (size_t)count));
	}
	peer_take();
}

static void
peer_write(size_t len, size_t sent_max)
{
	size_t written;

	if (peer_tls == NULL) {
		struct sequence before = of_peer;
		struct slice bytes = next_octets(&of_peer, len);
		ssize_t sent = peer < 0 ? -1
					: send(peer, bytes.bytes, bytes.len,
					       MSG_DONTWAIT | MSG_NOSIGNAL);

		of_peer.written = before.written;
		if (sent > 0)
			of_peer.written += (size_t)sent;
		return;
	}
	ERR_clear_error();
	if (len > 0 && SSL_is_init_finished(peer_tls)) {
		struct slice bytes = next_octets(&of_peer, len);

		if (SSL_write_ex(peer_tls, bytes.bytes, bytes.len, &written) !=
		    1)
			of_peer.written -= len;
	}
	peer_send(sent_max);
}

/* What is no TLS. */
static void
peer_spoil(unsigned number)
{
	static char noise[WRITE_MAX];

	if (peer_tls == NULL)
		return;
	memset(noise, number == 7 ? 0x17 : 0xff, sizeof(noise));
	peer_send_raw(slice_of(noise, size_of(number)));
}

static void
peer_say(unsigned number)
{
	if (peer_tls == NULL || !SSL_is_init_finished(peer_tls))
		return;
	ERR_clear_error();
	if (number < 6)
		SSL_key_update(peer_tls, number % 2 == 0
						 ? SSL_KEY_UPDATE_REQUESTED
						 : SSL_KEY_UPDATE_NOT_REQUESTED);
	else if (number < 9)
		SSL_new_session_ticket(peer_tls);
	else if (number < 12)
		SSL_renegotiate(peer_tls);
	else
		SSL_shutdown(peer_tls);
	if (number < 12)
		(void)SSL_do_handshake(peer_tls);
	peer_send(number % 3 == 0 ? 3 : SIZE_MAX);
}

static void
peer_leave(unsigned number)
{
	if (peer < 0)
		return;
	if (number < 8)
		shutdown(peer, SHUT_WR);
	else
		peer_close();
}

/* --- both --- */

static void
peer_secure(void)
{
	peer_tls = SSL_new((flags & OURS_IS_CLIENT) != 0 ? peer_server
							 : peer_client);
	if ((flags & OLD_TLS) != 0)
		SSL_set_max_proto_version(peer_tls, TLS1_2_VERSION);
	peer_in = BIO_new(BIO_s_mem());
	peer_out = BIO_new(BIO_s_mem());
	SSL_set_bio(peer_tls, peer_in, peer_out);
	if ((flags & OURS_IS_CLIENT) != 0)
		SSL_set_accept_state(peer_tls);
	else
		SSL_set_connect_state(peer_tls);
	if ((flags & PEER_TALKS_FIRST) == 0)
		return;
	peer_take();
	peer_send(SIZE_MAX);
}

static void
ours_secure(void)
{
	if ((flags & OURS_IS_CLIENT) == 0)
		stream_secure_server(stream, server_context);
	else
		stream_secure_client(
			stream, &(struct tls_client){
					.context = client_context,
					.server_name =
						SLICE("mail.example.com"),
					.min = TLS_1_2,
					.security_level = -1});
}

/* Where nothing is under way that was said in clear. */
static void
secure(void)
{
	peer_read();
	if (stream == NULL || has_failed || peer_tls != NULL ||
	    of_ours.read < of_ours.written || of_peer.read < of_peer.written)
		return;
	peer_secure();
	ours_secure();
}

/* --- one after the other --- */

static void
turn(unsigned times)
{
	while (times-- > 0)
		uv_run(&loop.uv, UV_RUN_NOWAIT);
}

static void
step(unsigned what, unsigned number)
{
	switch (what) {
	case 0: case 1: turn(1 + number % 4); break;
	case 2: case 3: peer_read(); peer_send(SIZE_MAX); break;
	case 4: peer_write(size_of(number), SIZE_MAX); break;
	case 5: peer_write(size_of(number), 1 + number * 7); break;
	case 6: peer_spoil(number); break;
	case 7: peer_say(number); break;
	case 8: peer_leave(number); break;
	case 9: case 10: ours_write(size_of(number)); break;
	case 11: ours_write_parts(number); break;
	case 12: ours_wait(number); break;
	case 13: if (number > 9) ours_leave(number); break;
	case 14: secure(); break;
	default:
		for (unsigned i = 0; i < 4; i++) {
			turn(1);
			peer_read();
			peer_send(SIZE_MAX);
		}
		break;
	}
}

static void
begin(void)
{
	int pair[2], size = SMALL_BUFFER;
	struct fault fault;

	has_failed = has_ended = false;
	leaves_input = (flags & LEAVES_INPUT) != 0;
	of_ours = of_peer = (struct sequence){0};
	ASSERT(loop_init(&loop, 0, &fault));
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	if ((flags & SMALL_BUFFERS) != 0)
		ASSERT(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size,
				  sizeof(size)) == 0);
	peer = pair[1];
	ASSERT(stream_accept(&loop, pair[0], on_event, NULL, &stream, &fault));
	if ((flags & SECURE) != 0)
		secure();
}

/* Nobody is waited for: the peer goes first. */
static void
end(void)
{
	peer_close();
	if (stream != NULL)
		stream_close(&stream);
	loop_stop(&loop);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	loop_done(&loop);
	if (peer_tls != NULL)
		SSL_free(peer_tls);
	peer_tls = NULL;
	ERR_clear_error();
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 2 || len > STEPS_MAX)
		return 0;
	make_once();
	flags = bytes[0];
	reaction = bytes[1];
	begin();
	for (size_t i = 2; i < len; i++)
		step(bytes[i] >> 4, bytes[i] & 15);
	end();
	return 0;
}
