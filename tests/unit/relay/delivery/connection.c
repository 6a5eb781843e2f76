/*
 * A connection and its conversations with scripted hosts on loopback. Each
 * script is what one host does with one connection:
 *
 *	S text    sends a line        C verb   expects a line that begins so
 *	B         reads a message up to its dot, and keeps it
 *	R text    sends the text as it is, without CRLF
 *	L n       sends n octets without a line end
 *	T         makes TLS of it, as mail.example.com
 *	G         lets the store go on
 *	X         closes; without it, at the end, waits for the peer to close
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/delivery/connection.h"
#include "relay/generation.h"
#include "tests/unit/relay/net/certificate.h"

#define PORTS_FIRST 23400
#define PORTS_COUNT 500
#define HOSTS_MAX 2
#define SCRIPTS_MAX 3

/* --- the store's part: reads one chunk at a time, from the test's bytes --- */

static struct slice stored;
static unsigned store_reads;
static bool store_waits;       /* no read ends before a host's G */
static unsigned store_damaged; /* so many reads fail */

static void
read_on_loop(struct post *post)
{
	struct store_operation *operation =
		CONTAINER(post, struct store_operation, post);
	struct store_read_body *read =
		CONTAINER(operation, struct store_read_body, operation);

	if (__atomic_load_n(&store_waits, __ATOMIC_ACQUIRE)) {
		loop_post(read->loop, post, read_on_loop);
		return;
	}
	store_reads++;
	if (store_damaged > 0) {
		struct fault fault;

		store_damaged--;
		fault_fill(&fault, FAULT_INPUT, "the body is damaged");
		read->done(read, &fault);
		return;
	}
	text_add(&read->bytes,
		 slice_sub(stored, (size_t)read->offset, read->max));
	read->done(read, NULL);
}

void
store_read_body(struct store *store, struct store_read_body *read)
{
	(void)store;
	cr_assert_leq(read->max, BODY_CHUNK);
	loop_post(read->loop, &read->operation.post, read_on_loop);
}

/* --- hosts --- */

struct scripted {
	int listener;
	uint16_t port;
	const char *scripts[SCRIPTS_MAX + 1];
	pthread_t thread;
	struct text message;     /* of all B steps */
	char wrong[256];         /* what was not as the script says */
	unsigned connections;
	SSL_CTX *tls;            /* NULL: it has no certificate */
	SSL *ssl;                /* of this connection, since T */
};

static bool
byte_read(struct scripted *host, int fd, char *byte)
{
	return host->ssl != NULL ? SSL_read(host->ssl, byte, 1) == 1
				 : recv(fd, byte, 1, 0) == 1;
}

static bool
line_read(struct scripted *host, int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size && byte_read(host, fd, line + len)) {
		len++;
		if (line[len - 1] == '\n')
			break;
	}
	line[len] = '\0';
	return len > 0;
}

static void
message_read(struct scripted *host, int fd)
{
	char byte;
	size_t start = host->message.len;

	while (byte_read(host, fd, &byte)) {
		struct slice all;

		text_add_byte(&host->message, byte);
		all = slice_from(text_slice(&host->message), start);
		if (slice_eq(all, SLICE(".\r\n")) ||
		    (byte == '\n' && slice_ends_nocase(all,
						      SLICE("\r\n.\r\n"))))
			return;
	}
}

/* False: the script has closed. */
static bool
step_run(struct scripted *host, int fd, char kind, struct slice text)
{
	char line[1024];
	CLEAN(text_done) struct text out = {0};

	switch (kind) {
	case 'C':
		if (line_read(host, fd, line, sizeof(line)) &&
		    slice_starts(SLICE(line), text))
			return true;
		snprintf(host->wrong, sizeof(host->wrong),
			 "'%.*s' expected, '%.100s' came", SLICE_ARG(text),
			 line);
		return false;
	case 'B':
		message_read(host, fd);
		return true;
	case 'T':
		host->ssl = SSL_new(host->tls);
		SSL_set_fd(host->ssl, fd);
		return SSL_accept(host->ssl) == 1;
	case 'G':
		__atomic_store_n(&store_waits, false, __ATOMIC_RELEASE);
		return true;
	case 'X':
		return false;
	case 'L':
		for (int i = 0; i < atoi(text.bytes); i++)
			text_add_byte(&out, '2');
		break;
	default:
		text_add(&out, text);
		if (kind == 'S')
			text_add_string(&out, "\r\n");
	}
	if (host->ssl != NULL)
		SSL_write(host->ssl, out.bytes, (int)out.len);
	else
		(void)!send(fd, out.bytes, out.len, MSG_NOSIGNAL);
	return true;
}

static void
script_run(struct scripted *host, int fd, const char *script)
{
	struct slice rest = SLICE(script), step;
	char byte;

	while (slice_split(&rest, '|', &step))
		if (!step_run(host, fd, step.bytes[0], slice_from(step, 2)))
			return;
	while (byte_read(host, fd, &byte))
		;
}

static void *
host_run(void *argument)
{
	struct scripted *host = argument;

	for (size_t i = 0; host->scripts[i] != NULL; i++) {
		int fd = accept(host->listener, NULL, NULL);

		if (fd < 0)
			break;
		host->connections++;
		script_run(host, fd, host->scripts[i]);
		SSL_free(host->ssl);
		host->ssl = NULL;
		close(fd);
	}
	return NULL;
}

static void
host_start(struct scripted *scripted, struct host *host)
{
	static unsigned next;
	int one = 1;

	scripted->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(scripted->listener, SOL_SOCKET, SO_REUSEADDR, &one,
		   sizeof(one));
	for (unsigned i = 0; i < PORTS_COUNT; i++) {
		struct address *address = &host->address;

		address->len = sizeof(address->v4);
		address->v4.sin_family = AF_INET;
		address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		scripted->port = (uint16_t)(PORTS_FIRST +
			((unsigned)getpid() + next++) % PORTS_COUNT);
		address_set_port(address, scripted->port);
		if (bind(scripted->listener, &address->any, address->len) ==
			    0 &&
		    listen(scripted->listener, 8) == 0)
			break;
	}
	host->name = SLICE("mx.example.net");
	host->is_name = true;
	/* A host without a script refuses connections. */
	if (scripted->scripts[0] == NULL) {
		close(scripted->listener);
		scripted->listener = -1;
		return;
	}
	cr_assert_eq(pthread_create(&scripted->thread, NULL, host_run,
				    scripted), 0);
}

static void
host_stop(struct scripted *scripted)
{
	if (scripted->listener < 0)
		return;
	shutdown(scripted->listener, SHUT_RDWR);
	pthread_join(scripted->thread, NULL);
	close(scripted->listener);
}

/* --- the owner --- */

struct owner {
	struct loop loop;
	struct connection_place place;
	struct connection *connection;
	unsigned returned;
	struct attempt *attempts[4];
	bool has_ended;
};

static void
on_returned(void *argument, struct connection *connection,
	    struct attempt *attempt)
{
	struct owner *owner = argument;

	connection->assigned--;
	owner->returned++;
	(void)attempt;
}

static void
on_ended(void *argument, struct connection *connection)
{
	struct owner *owner = argument;

	connection->has_ended = true;
	owner->has_ended = true;
	uv_stop(&owner->loop.uv);
}

static const char header[] = "From: <a@example.com>\r\n\r\n";

static struct delivery *
delivery_make(unsigned recipients, struct slice body, bool in_memory)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct message *message = message_new(SLICE("a@example.com"));
	char address[32];

	delivery->message = message;
	delivery->recipients_count = recipients;
	delivery->recipients = memory_array(recipients,
					    sizeof(*delivery->recipients));
	for (unsigned i = 0; i < recipients; i++) {
		snprintf(address, sizeof(address), "r%u@example.net", i);
		message_add_recipient(message, SLICE(address),
				      SLICE("example.net"));
		delivery->recipients[i].index = i;
	}
	message->prefix = SLICE("Received: here\r\n");
	message->body.size = body.len;
	if (in_memory) {
		size_t count = (body.len + BODY_CHUNK - 1) / BODY_CHUNK;

		message->body.chunks_count = count;
		message->body.chunks = arena_array(&message->arena, count + 1,
						   sizeof(struct slice));
		for (size_t i = 0; i < count; i++)
			message->body.chunks[i] =
				slice_sub(body, i * BODY_CHUNK, BODY_CHUNK);
	}
	stored = body;
	return delivery;
}

static void
delivery_drop(struct delivery *delivery)
{
	/* The slices belong to the test. */
	delivery->message->body.chunks = NULL;
	delivery->message->body.chunks_count = 0;
	message_unref(delivery->message);
	free(delivery->recipients);
	free(delivery);
}

struct run {
	enum tls_policy tls;
	unsigned recipients, messages;
	struct slice body;
	bool in_memory;
	const char *host_name; /* NULL: mx.example.net */
	uint64_t stops_after_ms; /* 0: does not */
	struct scripted hosts[HOSTS_MAX];
	size_t hosts_count;
	/* afterwards */
	struct owner owner;
	char outcomes[256]; /* a letter for each recipient of each message */
	char reply[256], status[16], used_tls[64];
	bool has_failed;
};

static struct alarm stop_alarm;
static struct owner *stop_owner;

static void
stop_now(struct alarm *alarm)
{
	connection_place_stop(&stop_owner->place);
	alarm_close(alarm, NULL);
}

static char
outcome_letter(enum outcome outcome)
{
	return "NDTF"[outcome]; /* none, delivered, try again, failed */
}

static void
run_collect(struct run *run)
{
	size_t at = 0;

	for (unsigned i = 0; i < run->messages; i++) {
		struct attempt *attempt = run->owner.attempts[i];
		const struct recipient_result *first = &attempt->results[0];

		for (unsigned j = 0; j < run->recipients && at < 255; j++)
			run->outcomes[at++] =
				outcome_letter(attempt->results[j].outcome);
		snprintf(run->reply, sizeof(run->reply), "%.*s",
			 SLICE_ARG(first->reply));
		snprintf(run->status, sizeof(run->status), "%.*s",
			 SLICE_ARG(first->status));
		snprintf(run->used_tls, sizeof(run->used_tls), "%.*s",
			 SLICE_ARG(first->tls));
		delivery_drop(attempt->delivery);
		attempt_free(attempt);
	}
	run->outcomes[at] = '\0';
}

static void
run_it(struct run *run)
{
	struct owner *owner = &run->owner;
	struct options *options = options_default();
	struct generation generation = {.options = options, .references = 100};
	struct hosts *hosts = memory_new(sizeof(*hosts));
	struct fault fault;

	options->hostname = SLICE("relay.example.org");
	hosts->references = 1;
	hosts->count = run->hosts_count;
	hosts->items = arena_array(&hosts->arena, HOSTS_MAX,
				   sizeof(*hosts->items));
	for (size_t i = 0; i < run->hosts_count; i++)
		host_start(&run->hosts[i], &hosts->items[i]);
	if (run->host_name != NULL)
		hosts->items[0].name = SLICE(run->host_name);
	cr_assert(loop_init(&owner->loop, 0, &fault));
	cr_assert(tls_context_client(false, &generation.client_tls, &fault));
	cr_assert(tls_context_client(true, &generation.client_tls_verify,
				     &fault));
	connection_place_init(&owner->place);
	owner->connection = connection_open(&(struct connection_settings){
		.loop = &owner->loop, .owner_loop = &owner->loop,
		.place = &owner->place, .generation = &generation,
		.hosts = hosts, .tls = run->tls, .owner = owner,
		.returned = on_returned, .ended = on_ended});
	for (unsigned i = 0; i < run->messages; i++) {
		owner->attempts[i] = attempt_new(delivery_make(
			run->recipients, run->body, run->in_memory));
		connection_carry(owner->connection, owner->attempts[i]);
	}
	if (run->stops_after_ms > 0) {
		stop_owner = owner;
		alarm_init(&stop_alarm, &owner->loop, stop_now);
		alarm_set(&stop_alarm, run->stops_after_ms);
	}
	while (!owner->has_ended || owner->returned < run->messages)
		uv_run(&owner->loop.uv, UV_RUN_DEFAULT);
	run->has_failed = owner->connection->has_failed;
	connection_free(owner->connection);
	loop_done(&owner->loop);
	for (size_t i = 0; i < run->hosts_count; i++)
		host_stop(&run->hosts[i]);
	run_collect(run);
	hosts_unref(hosts);
	tls_context_free(generation.client_tls);
	tls_context_free(generation.client_tls_verify);
	options_free(options);
}

/* --- the table --- */

#define HELLO "S 220 mx.example.net|C EHLO relay.example.org|S 250 mx|"
#define HELLO_PIPE                                                             \
	"S 220 mx|C EHLO|R 250-mx\r\n250-SIZE 100000\r\n250 PIPELINING\r\n|"
#define MAIL "C MAIL FROM:<a@example.com>|S 250 ok|"
#define RCPT0 "C RCPT TO:<r0@example.net>|S 250 ok|"
#define RCPT1 "C RCPT TO:<r1@example.net>|"
#define BODY "C DATA|S 354 go|B|S 250 2.0.0 taken|"
#define AHEAD "C MAIL|C RCPT|C RCPT|C DATA|"
#define BYE "C QUIT|S 221 bye"
#define STARTTLS "S 220 mx|C EHLO|R 250-mx\r\n250 STARTTLS\r\n|C STARTTLS|"

static const struct script_row {
	const char *name;
	enum tls_policy tls;
	const char *host0[SCRIPTS_MAX], *host1;
	unsigned recipients;
	const char *outcomes, *status, *reply;
	bool has_failed;
} script_rows[] = {
	{ "a plain conversation", TLS_NONE, {HELLO MAIL RCPT0 BODY BYE}, NULL,
	  1, "D", "2.0.0", "250 2.0.0 taken" },
	{ "one of two is refused", TLS_NONE,
	  {HELLO MAIL "C RCPT TO:<r0@|S 550 5.1.1 unknown|" RCPT1 "S 250 ok|"
	   BODY BYE}, NULL, 2, "FD", "5.1.1", "550 5.1.1 unknown" },
	{ "both are refused", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 550 no|" RCPT1 "S 450 later|C RSET|S 250 ok|"
	   BYE}, NULL, 2, "FT", "5.0.0", "550 no" },
	{ "MAIL is refused", TLS_NONE,
	  {HELLO "C MAIL|S 550 5.7.1 not you|" BYE}, NULL, 2, "FF", "5.7.1",
	  "550 5.7.1 not you" },
	{ "DATA is refused", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 451 no|C RSET|S 250 ok|" BYE}, NULL, 1,
	  "T", "4.0.0", "451 no" },
	{ "the message is refused", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|R 554-5.7.1 spam\r\n"
	   "554 5.7.1 go away\r\n|" BYE}, NULL, 1, "F", "5.7.1",
	  "554 5.7.1 spam 5.7.1 go away" },
	{ "no EHLO", TLS_OPPORTUNISTIC,
	  {"S 220 mx|C EHLO|S 500 what|C HELO relay.example.org|S 250 ok|" MAIL
	   RCPT0 BODY BYE}, NULL, 1, "D", "2.0.0", NULL },
	{ "a greeting in pieces, of several lines", TLS_NONE,
	  {"R 220-mx\r\n22|R 0-hello\r\n220 there\r|R \n|C EHLO|S 250 mx|"
	   MAIL RCPT0 BODY BYE}, NULL, 1, "D", "2.0.0", NULL },
	{ "the next host after a greeting of 554", TLS_NONE,
	  {"S 554 nobody home|C QUIT|X"}, HELLO MAIL RCPT0 BODY BYE, 1, "D",
	  "2.0.0", NULL },
	{ "the next host after one that is silent and gone", TLS_NONE, {"X"},
	  HELLO MAIL RCPT0 BODY BYE, 1, "D", "2.0.0", NULL },
	{ "the next host where nobody listens", TLS_NONE, {NULL},
	  HELLO MAIL RCPT0 BODY BYE, 1, "D", "2.0.0", NULL },
	{ "421 at RCPT: only who has no result goes to the next", TLS_NONE,
	  {HELLO MAIL "C RCPT|S 550 5.1.1 no|" RCPT1 "S 421 bye|X"},
	  HELLO MAIL RCPT1 "S 250 ok|" BODY BYE, 2, "FD", "5.1.1", NULL },
	{ "no host is left", TLS_NONE, {"S 421 4.3.2 full|X"}, NULL, 2, "TT",
	  "4.3.2", "421 4.3.2 full", true },
	{ "not SMTP", TLS_NONE, {"S hello|X"}, NULL, 1, "T", "4.5.0", NULL,
	  true },
	{ "a line without end", TLS_NONE, {"L 100000|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "the codes of one reply differ", TLS_NONE,
	  {"R 220-mx\r\n554 no\r\n|X"}, NULL, 1, "T", "4.5.0", NULL, true },
	{ "lost at EHLO", TLS_NONE, {"S 220 mx|C EHLO|X"}, NULL, 1, "T",
	  "4.4.2", NULL, true },
	{ "lost at MAIL", TLS_NONE, {HELLO "C MAIL|X"}, NULL, 1, "T", "4.4.2",
	  NULL, true },
	{ "lost at DATA", TLS_NONE, {HELLO MAIL RCPT0 "C DATA|X"}, NULL, 1,
	  "T", "4.4.2", NULL, true },
	{ "lost behind the dot: not to the next host", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|X"}, "S 220 never", 1, "T",
	  "4.4.2", "the connection was lost while waiting for the final "
	  "reply; the message may be sent twice" },
	{ "421 behind the dot", TLS_NONE,
	  {HELLO MAIL RCPT0 "C DATA|S 354 go|B|S 421 closing|X"},
	  "S 220 never", 1, "T", NULL, "421 closing" },
	{ "a reply too many", TLS_NONE,
	  {HELLO "C MAIL|R 250 ok\r\n250 ok\r\n|X"}, NULL, 1, "T",
	  "4.5.0", NULL, true },
	{ "421 right behind EHLO, again and again", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250 mx\r\n421 4.3.2 bye\r\n|X",
	   "S 220 mx|C EHLO|R 250 mx\r\n421 4.3.2 bye\r\n|X"}, NULL, 1, "T",
	  NULL, NULL, true },
	{ "half a reply behind EHLO, again and again", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250 mx\r\n42|", "S 220 mx|C EHLO|R 250 mx\r\n42|"},
	  NULL, 1, "T", NULL, NULL, true },
	/* pipelining */
	{ "in one write", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n|B|"
	   "S 250 2.0.0 taken|" BYE}, NULL, 2, "DD", "2.0.0", NULL },
	{ "half of it refused", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n|"
	   "B|S 250 2.0.0 taken|" BYE}, NULL, 2, "FD", "5.1.1", NULL },
	{ "354 to nobody", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n550 no\r\n550 no\r\n354 go\r\n|B|"
	   "S 554 no valid recipients|" BYE}, NULL, 2, "FF", "5.0.0",
	  "550 no" },
	{ "MAIL refused, the rest out of order", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 550 5.7.1 no\r\n503 x\r\n503 x\r\n503 x\r\n|"
	   "C RSET|S 250 ok|" BYE}, NULL, 2, "FF", "5.7.1", "550 5.7.1 no" },
	{ "a reply to the message before it was sent", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n|"
	   "X"}, NULL, 2, "TT", NULL, NULL, true },
	{ "too many for one transaction", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n250 ok\r\n452 4.5.3 enough\r\n"
	   "354 go\r\n|B|S 250 2.0.0 taken|C MAIL|C RCPT TO:<r1|C DATA|"
	   "R 250 ok\r\n250 ok\r\n354 go\r\n|B|S 250 2.0.0 again|" BYE}, NULL,
	  2, "DD", "2.0.0", NULL },
	{ "a full mailbox is not too many", TLS_NONE,
	  {HELLO_PIPE AHEAD "R 250 ok\r\n250 ok\r\n452 4.2.2 full\r\n"
	   "354 go\r\n|B|S 250 2.0.0 taken|" BYE}, NULL, 2, "DT", "2.0.0",
	  NULL },
	{ "larger than SIZE allows", TLS_NONE,
	  {"S 220 mx|C EHLO|R 250-mx\r\n250 SIZE 10\r\n|" BYE}, NULL, 1, "F",
	  "5.3.4", NULL },
	/* TLS */
	{ "STARTTLS is not offered", TLS_OPPORTUNISTIC,
	  {HELLO MAIL RCPT0 BODY BYE}, NULL, 1, "D", "2.0.0", NULL },
	{ "STARTTLS is refused", TLS_OPPORTUNISTIC,
	  {STARTTLS "S 454 not now|" MAIL RCPT0 BODY BYE}, NULL, 1, "D",
	  "2.0.0", NULL },
	{ "the handshake fails: in clear, on another connection",
	  TLS_OPPORTUNISTIC,
	  {STARTTLS "S 220 go|S this is not TLS|X",
	   HELLO MAIL RCPT0 BODY BYE}, NULL, 1, "D", "2.0.0", NULL },
	{ "bytes behind the reply to STARTTLS", TLS_OPPORTUNISTIC,
	  {STARTTLS "R 220 go\r\n250 injected\r\n|X",
	   HELLO MAIL RCPT0 BODY BYE}, NULL, 1, "D", "2.0.0", NULL },
	{ "gone at STARTTLS: in clear, on another connection",
	  TLS_OPPORTUNISTIC, {STARTTLS "X", HELLO MAIL RCPT0 BODY BYE}, NULL,
	  1, "D", "2.0.0", NULL },
	{ "421 to STARTTLS: in clear, on another connection",
	  TLS_OPPORTUNISTIC,
	  {STARTTLS "S 421 no|X", HELLO MAIL RCPT0 BODY BYE}, NULL, 1, "D",
	  "2.0.0", NULL },
	{ "required, gone at STARTTLS", TLS_REQUIRED,
	  {STARTTLS "X", "S 220 never"}, NULL, 1, "T", "4.4.2", NULL, true },
	{ "required, not offered", TLS_REQUIRED, {HELLO "X"}, NULL, 1, "T",
	  "4.7.4", NULL, true },
	{ "required, refused", TLS_REQUIRED,
	  {STARTTLS "S 454 4.7.0 not now|C QUIT|X"}, NULL, 1, "T", "4.7.0",
	  NULL, true },
	{ "required, the handshake fails", TLS_REQUIRED,
	  {STARTTLS "S 220 go|S this is not TLS|X", "S 220 never"}, NULL, 1,
	  "T", "4.7.5", NULL, true },
	{ "required, bytes behind STARTTLS", TLS_REQUIRED,
	  {STARTTLS "R 220 go\r\n250 injected\r\n|X", "S 220 never"}, NULL, 1,
	  "T", "4.7.5", NULL, true },
	{ "required, EHLO refused", TLS_REQUIRED,
	  {"S 220 mx|C EHLO|S 502 no|C HELO|S 250 ok|X"}, NULL, 1, "T",
	  "4.7.4", NULL, true },
};

static void
row_check(const struct script_row *row, struct run *run)
{
	cr_expect_str_eq(run->outcomes, row->outcomes, "%s: outcomes are %s",
			 row->name, run->outcomes);
	if (row->status != NULL)
		cr_expect_str_eq(run->status, row->status, "%s: status is %s",
				 row->name, run->status);
	if (row->reply != NULL)
		cr_expect_str_eq(run->reply, row->reply, "%s: reply is '%s'",
				 row->name, run->reply);
	cr_expect_eq(run->has_failed, row->has_failed, "%s: failed", row->name);
	for (size_t i = 0; i < run->hosts_count; i++) {
		cr_expect_str_eq(run->hosts[i].wrong, "", "%s: host %zu: %s",
				 row->name, i, run->hosts[i].wrong);
		text_done(&run->hosts[i].message);
	}
	if (row->host1 != NULL && strcmp(row->host1, "S 220 never") == 0)
		cr_expect_eq(run->hosts[1].connections, 0, "%s", row->name);
}

static void
row_run(const struct script_row *row)
{
	struct run run = {
		.tls = row->tls,
		.recipients = row->recipients,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = row->host1 != NULL ? 2 : 1,
	};

	for (size_t i = 0; i < SCRIPTS_MAX; i++)
		run.hosts[0].scripts[i] = row->host0[i];
	run.hosts[1].scripts[0] = row->host1;
	run_it(&run);
	row_check(row, &run);
}

/* An idle end takes CONNECTION_IDLE_MS: in parts, side by side. */
#define PARTS 4
#define PART(number)                                                           \
	Test(connection, talks_to_all_kinds_of_hosts_##number, .timeout = 60)  \
	{                                                                      \
		for (size_t i = number; i < COUNT(script_rows); i += PARTS)    \
			row_run(&script_rows[i]);                              \
	}
PART(0)
PART(1)
PART(2)
PART(3)

Test(connection, sends_the_prefix_and_stuffs_dots, .timeout = 20)
{
	static const char *const bodies[][2] = {
		{"Subject: x\r\n\r\n.\r\n..a\r\nb.\r\n",
		 "Received: here\r\nSubject: x\r\n\r\n..\r\n...a\r\nb.\r\n"
		 ".\r\n"},
		{"", "Received: here\r\n.\r\n"},
		{"no line end", "Received: here\r\nno line end\r\n.\r\n"},
	};

	for (size_t i = 0; i < 2 * COUNT(bodies); i++) {
		struct run run = {
			.recipients = 1,
			.messages = 1,
			.body = SLICE(bodies[i / 2][0]),
			.in_memory = i % 2 == 0,
			.hosts_count = 1,
			.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY BYE}}},
		};

		run_it(&run);
		cr_expect_str_eq(run.outcomes, "D");
		cr_expect_str_eq(text_string(&run.hosts[0].message),
				 bodies[i / 2][1], "%zu", i);
		text_done(&run.hosts[0].message);
	}
}

Test(connection, keeps_the_conversation_for_the_next_message, .timeout = 20)
{
	struct run run = {
		.recipients = 1,
		.messages = 3,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 1,
		/* The peer closes after two: the third is tried again on a
		 * fresh connection, and nobody is deferred for it. */
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY MAIL RCPT0 BODY
				       "C MAIL|S 421 enough|X",
				       HELLO MAIL RCPT0 BODY BYE}}},
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "DDD", "%s: %s", run.outcomes,
			 run.reply);
	cr_expect_str_eq(run.hosts[0].wrong, "");
	text_done(&run.hosts[0].message);
}

Test(connection, streams_a_large_body_from_the_store, .timeout = 60)
{
	CLEAN(text_done) struct text body = {0}, expected = {0};
	struct run run = {
		.recipients = 1,
		.messages = 1,
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 BODY BYE}}},
	};

	while (body.len < 3 * MIB)
		text_add_string(&body, ".line with a dot\r\n");
	run.body = text_slice(&body);
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "D", "%s", run.reply);
	cr_expect_gt(store_reads, 3 * MIB / BODY_CHUNK - 1);
	text_add_string(&expected, "Received: here\r\n");
	while (expected.len < run.hosts[0].message.len - 3)
		text_add_string(&expected, "..line with a dot\r\n");
	text_add_string(&expected, ".\r\n");
	cr_expect(slice_eq(text_slice(&expected),
			   text_slice(&run.hosts[0].message)));
	text_done(&run.hosts[0].message);
}

/* What ends a conversation because of one message says nothing of the next. */
Test(connection, carries_the_next_message_on_another_connection, .timeout = 20)
{
	static const struct {
		const char *name, *first, *outcomes;
	} rows[] = {
		{ "refused before its end", HELLO MAIL RCPT0
		  "C DATA|S 354 go|C Received|S 554 5.7.1 enough", "FD" },
		{ "421 to RSET", HELLO MAIL
		  "C RCPT|S 550 5.1.1 no|C RSET|S 421 too many|X", "FD" },
		{ "gone at RSET", HELLO MAIL "C RCPT|S 550 5.1.1 no|C RSET|X",
		  "FD" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct run run = {
			.recipients = 1,
			.messages = 2,
			.body = SLICE(header),
			.hosts_count = 1,
			.hosts = {{.scripts = {rows[i].first, "G |" HELLO MAIL
					       RCPT0 BODY BYE}}},
		};

		store_waits = true;
		run_it(&run);
		cr_expect_str_eq(run.outcomes, rows[i].outcomes, "%s: %s %s",
				 rows[i].name, run.outcomes, run.reply);
		cr_expect_str_eq(run.hosts[0].wrong, "", "%s: %s",
				 rows[i].name, run.hosts[0].wrong);
		text_done(&run.hosts[0].message);
	}
}

Test(connection, a_damaged_message_is_not_the_hosts_fault, .timeout = 20)
{
	struct run run = {
		.recipients = 1,
		.messages = 2,
		.body = SLICE(header),
		.hosts_count = 1,
		.hosts = {{.scripts = {HELLO MAIL RCPT0 "C DATA|S 354 go",
				       HELLO MAIL RCPT0 BODY BYE}}},
	};

	store_damaged = 1;
	run_it(&run);
	cr_expect_str_eq(run.outcomes, "TD", "%s %s", run.outcomes, run.reply);
	cr_expect_not(run.has_failed);
	text_done(&run.hosts[0].message);
}

/* --- TLS --- */

#define SECURED STARTTLS "S 220 go|T|C EHLO|S 250 mx|"

static const struct tls_row {
	const char *name;
	enum tls_policy tls;
	const char *host_name;
	bool is_trusted;
	const char *host[SCRIPTS_MAX];
	const char *outcomes, *status;
	bool is_secured;
} tls_rows[] = {
	{ "opportunistic: any certificate", TLS_OPPORTUNISTIC,
	  "other.example.net", false, {SECURED MAIL RCPT0 BODY BYE}, "D",
	  "2.0.0", true },
	{ "none: not even where it is offered", TLS_NONE, "mail.example.com",
	  true, {"S 220 mx|C EHLO|R 250-mx\r\n250 STARTTLS\r\n|" MAIL RCPT0
		 BODY BYE}, "D", "2.0.0", false },
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
};

static void
tls_row_run(const struct tls_row *row, SSL_CTX *server)
{
	struct run run = {
		.tls = row->tls,
		.recipients = 1,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.host_name = row->host_name,
		.hosts_count = 1,
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
	if (row->outcomes[0] != 'D')
		cr_expect_eq(run.hosts[0].message.len, 0, "%s: sent",
			     row->name);
	text_done(&run.hosts[0].message);
}

Test(connection, holds_to_the_tls_policy, .timeout = 60)
{
	CLEAN(text_done) struct text certificate = {0}, key = {0};
	char trusted[] = "/tmp/signet-test-XXXXXX";
	char certificates[] = "/tmp/signet-test-XXXXXX";
	int empty = mkstemp(certificates), full = mkstemp(trusted);
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	BIO *bio;
	X509 *x509;
	EVP_PKEY *pair;

	cr_assert_geq(empty, 0);
	cr_assert_geq(full, 0);
	signal(SIGPIPE, SIG_IGN);
	certificate_make(&certificate, &key);
	cr_assert_eq(write(full, certificate.bytes, certificate.len),
		     (ssize_t)certificate.len);
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

/* --- stopping --- */

/* The second host never greets: what is to be tried there goes back at a stop,
 * and does not hold it up. */
Test(connection, gives_back_what_is_between_two_hosts, .timeout = 20)
{
	struct run run = {
		.recipients = 2,
		.messages = 1,
		.body = SLICE(header),
		.in_memory = true,
		.hosts_count = 2,
		.hosts = {{.scripts = {HELLO MAIL "C RCPT|S 550 5.1.1 no|"
				       RCPT1 "S 421 bye|X"}},
			  {.scripts = {"G |C nothing"}}},
		.stops_after_ms = 500,
	};

	run_it(&run);
	cr_expect_str_eq(run.outcomes, "FN", "%s", run.outcomes);
	cr_expect_not(run.has_failed);
}
