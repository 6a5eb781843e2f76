/*
 * The server whole: real sockets, loops, TLS, spool and store; only what comes
 * behind the store is cut off, and no key signs.
 */
#include <criterion/criterion.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/keyring.h"
#include "relay/limits.h"
#include "relay/net/signing.h"
#include "relay/queue/store.h"
#include "relay/server/server.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

#define LOOPS 2
#define PATIENCE_S 20

static struct loop main_loop, loops[LOOPS];
static struct server *server;
static struct store *store;
static struct options options;
static struct listener_options listener;
static struct network network;
static struct tls_context *contexts[1];
static struct users *users[1];
static struct generation generation;
static struct address address;
static char path[64];
static atomic_uint stored;

/* --- what is cut off --- */

void
schedule_add(struct schedule *schedule, struct list *deliveries)
{
	(void)schedule;
	deliveries_free(deliveries);
	atomic_fetch_add(&stored, 1);
}

void
signing_start(struct signing *signing, struct signing_order *order,
	      struct signature *signatures, size_t count)
{
	(void)signing;
	(void)order;
	(void)signatures;
	cr_assert(false, "%zu signatures without a key", count);
}

void
signing_cancel(struct signing_order *order)
{
	(void)order;
	cr_assert(false);
}

struct generation *
generation_ref(struct generation *used)
{
	__atomic_add_fetch(&used->references, 1, __ATOMIC_SEQ_CST);
	return used;
}

void
generation_unref(struct generation *used)
{
	if (used != NULL)
		__atomic_sub_fetch(&used->references, 1,
				   __ATOMIC_SEQ_CST);
}

/* --- start and end --- */

static int
listen_socket(void)
{
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	cr_assert(address_parse_host(SLICE("127.0.0.1"), 0, &address));
	cr_assert_eq(bind(descriptor, &address.any, address.len), 0);
	cr_assert_eq(listen(descriptor, 512), 0);
	cr_assert_eq(getsockname(descriptor, &address.any, &address.len), 0);
	return descriptor;
}

static void
configure(void)
{
	struct keyring *keyring = keyring_new(&(struct keys_options){0}, NULL,
					      0);

	options.hostname = SLICE("mail.example.net");
	options.listeners = &listener;
	options.listeners_count = 1;
	options.limits = (struct limits_options){
		.max_message_size = 20 * MIB, .max_recipients = 100,
		.max_hops = 100, .max_header_size = 1 * MIB,
		.max_sessions = 64, .command_timeout_ms = MINUTE,
	};
	listener.name = SLICE("apps");
	cr_assert(network_parse(SLICE("127.0.0.0/8"), &network, NULL));
	listener.allow_from = &network;
	listener.allow_from_count = 1;
	generation = (struct generation){
		.options = &options, .listener_tls = contexts,
		.listener_users = users,
		.policy = policy_new(keyring, &options.signing),
		.references = 1};
	keyring_unref(keyring);
}

static void
start(void)
{
	struct fault fault = {0};
	int descriptor = listen_socket();

	configure();
	directory_make(path);
	cr_assert(store_open(path, 0, &store, &fault), "%s", fault.text);
	cr_assert(loop_init(&main_loop, LOOPS_MAX, &fault));
	for (unsigned i = 0; i < LOOPS; i++) {
		cr_assert(loop_init(&loops[i], i, &fault));
		loops[i].generation = &generation;
	}
	cr_assert(server_new(&main_loop, loops, LOOPS, store, NULL, &server,
			     &fault));
	server_listen(server, &generation, &descriptor);
	for (unsigned i = 0; i < LOOPS; i++)
		cr_assert(loop_start(&loops[i], &fault));
	cr_assert(loop_start(&main_loop, &fault));
}

static void
on_stopped(void *owner)
{
	(void)owner;
	for (unsigned i = 0; i < LOOPS; i++)
		loop_stop(&loops[i]);
	loop_stop(&main_loop);
}

static uint64_t grace_ms = 10 * SECOND;

static void
stop_run(struct post *post)
{
	(void)post;
	server_stop(server, grace_ms, on_stopped, NULL);
}

static void
stop_begin(void)
{
	static struct post post;

	loop_post(&main_loop, &post, stop_run);
}

static void
stop_end(void)
{
	loop_join(&main_loop);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_join(&loops[i]);
	store_close(store);
	server_free(server);
	loop_done(&main_loop);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_done(&loops[i]);
	cr_expect_eq(generation.references, 1);
	policy_unref(generation.policy);
	directory_remove(path);
}

/* --- a client --- */

static int
client_open(void)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int descriptor = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_geq(descriptor, 0);
	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &(int){1},
		   sizeof(int));
	cr_assert_eq(connect(descriptor, &address.any, address.len), 0);
	return descriptor;
}

static void
say(int client, const char *bytes)
{
	cr_assert_eq(send(client, bytes, strlen(bytes), MSG_NOSIGNAL),
		     (ssize_t)strlen(bytes));
}

/* Reads until a last line of a reply is there that begins so. */
static void
hear(int client, const char *code)
{
	CLEAN(text_done) struct text got = {0};
	ssize_t count;

	for (;;) {
		struct slice all = text_slice(&got), line = SLICE_NONE;

		while (slice_split(&all, '\n', &line) && line.len > 3 &&
		       line.bytes[3] == '-')
			;
		if (got.len > 0 && got.bytes[got.len - 1] == '\n' &&
		    line.len > 3 && line.bytes[3] != '-') {
			cr_expect(slice_starts(line, SLICE(code)),
				  "'%s', not %s", text_string(&got), code);
			return;
		}
		count = recv(client, text_room(&got, 4096), 4096, 0);
		cr_assert_gt(count, 0, "no reply %s", code);
		text_added(&got, (size_t)count);
	}
}

static void
hear_end(int client)
{
	char byte;

	cr_expect_eq(recv(client, &byte, 1, 0), 0);
	close(client);
}

/* Up to the end: both stand in it. */
static void
hear_all(int client, const char *one, const char *other)
{
	CLEAN(text_done) struct text got = {0};
	ssize_t count;

	while ((count = recv(client, text_room(&got, 4096), 4096, 0)) > 0)
		text_added(&got, (size_t)count);
	cr_expect_eq(count, 0);
	cr_expect_not_null(strstr(text_string(&got), one), "%s: %s", one,
			   text_string(&got));
	cr_expect_not_null(strstr(text_string(&got), other), "%s: %s", other,
			   text_string(&got));
	close(client);
}

static int
client_greeted(void)
{
	int client = client_open();

	hear(client, "220 ");
	say(client, "EHLO client.example.com\r\n");
	hear(client, "250 ");
	return client;
}

static void
send_message(int client, const char *body)
{
	say(client, "MAIL FROM:<a@example.com>\r\n");
	hear(client, "250 2.1.0");
	say(client, "RCPT TO:<b@example.org>\r\n");
	hear(client, "250 2.1.5");
	say(client, "DATA\r\n");
	hear(client, "354 ");
	say(client, "From: a@example.com\r\n\r\n");
	say(client, body);
	say(client, ".\r\n");
	hear(client, "250 2.0.0 Ok: queued as ");
}

/* --- tests --- */

Test(server, takes_messages)
{
	int client;

	start();
	client = client_greeted();
	for (unsigned i = 0; i < 20; i++)
		send_message(client, "text\r\n");
	say(client, "QUIT\r\n");
	hear(client, "221 ");
	hear_end(client);
	cr_expect_eq(stored, 20);
	cr_expect_eq(fake_log_count("accepted", "a@example.com"), 20);
	stop_begin();
	stop_end();
}

Test(server, takes_large_messages)
{
	CLEAN(text_done) struct text body = {0};
	int client;

	start();
	for (unsigned i = 0; i < 100000; i++)
		text_addf(&body, "line %u of a large message\r\n", i);
	client = client_greeted();
	send_message(client, text_string(&body));
	send_message(client, text_string(&body));
	cr_expect_eq(stored, 2);
	close(client);
	stop_begin();
	stop_end();
}

Test(server, many_at_once_and_each_gets_its_answer)
{
	static const struct {
		const char *words, *code;
	} steps[] = {{"EHLO client.example.com\r\n", "250 "},
		     {"MAIL FROM:<a@example.com>\r\n", "250 2.1.0"},
		     {"RCPT TO:<b@example.org>\r\n", "250 2.1.5"},
		     {"DATA\r\n", "354 "}};
	int clients[60];

	start();
	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = client_open();
	for (size_t i = 0; i < COUNT(clients); i++)
		hear(clients[i], "220 ");
	for (size_t step = 0; step < COUNT(steps); step++) {
		for (size_t i = 0; i < COUNT(clients); i++)
			say(clients[i], steps[step].words);
		for (size_t i = 0; i < COUNT(clients); i++)
			hear(clients[i], steps[step].code);
	}
	for (size_t i = 0; i < COUNT(clients); i++)
		say(clients[i],
		    "From: a@example.com\r\n\r\ntext\r\n.\r\nQUIT\r\n");
	for (size_t i = 0; i < COUNT(clients); i++)
		hear_all(clients[i], "Ok: queued as ", "\r\n221 ");
	cr_expect_eq(stored, COUNT(clients));
	stop_begin();
	stop_end();
}

/* --- dealing --- */

static struct load_to_have {
	struct post post;
	uv_sem_t done;
	bool is_high;
} first_loop;

static struct halt {
	struct post post;
	uv_sem_t go_on;
} second_loop;

/* It is not looked at again. */
static void
load_have(struct post *post)
{
	struct load_to_have *wanted =
		CONTAINER(post, struct load_to_have, post);
	struct load *load = &loops[0].load;

	load->looked_ms = clock_now_ms() + HOUR;
	atomic_store(&load->high_until_ms,
		     wanted->is_high ? load->looked_ms : 0);
	uv_sem_post(&wanted->done);
}

static void
halt_run(struct post *post)
{
	uv_sem_wait(&CONTAINER(post, struct halt, post)->go_on);
}

/* The second loop stands still: who is dealt to it is not greeted. */
static void
start_to_deal(bool first_is_busy)
{
	start();
	cr_assert_eq(uv_sem_init(&second_loop.go_on, 0), 0);
	loop_post(&loops[1], &second_loop.post, halt_run);
	cr_assert_eq(uv_sem_init(&first_loop.done, 0), 0);
	first_loop.is_high = first_is_busy;
	loop_post(&loops[0], &first_loop.post, load_have);
	uv_sem_wait(&first_loop.done);
}

/* All who came before have been dealt by then. */
static void
go_on_with(int waiting)
{
	char byte;

	cr_expect_eq(recv(waiting, &byte, 1, MSG_DONTWAIT), -1);
	uv_sem_post(&second_loop.go_on);
	hear(waiting, "220 ");
	close(waiting);
	stop_begin();
	stop_end();
}

Test(server, a_loop_has_some_before_the_next_has_any)
{
	int waiting;

	start_to_deal(false);
	for (size_t i = 0; i < SESSIONS_AHEAD_MAX; i++)
		client_greeted();
	waiting = client_open();
	client_greeted();
	go_on_with(waiting);
}

Test(server, a_busy_loop_leaves_them_to_the_next)
{
	int waiting = -1;

	start_to_deal(true);
	for (size_t i = 0; i < SESSIONS_AHEAD_MAX; i++)
		waiting = client_open();
	client_greeted();
	go_on_with(waiting);
}

Test(server, one_more_than_max_sessions_is_sent_away)
{
	int clients[4], refused;

	start();
	options.limits.max_sessions = COUNT(clients);
	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = client_greeted();
	refused = client_open();
	hear(refused, "421 4.7.0");
	hear_end(refused);
	say(clients[0], "QUIT\r\n");
	hear(clients[0], "221 ");
	hear_end(clients[0]);
	for (size_t i = 1; i < COUNT(clients); i++)
		close(clients[i]);
	stop_begin();
	stop_end();
}

/* Strangers keep nobody out whom allow_from names. */
Test(server, a_quarter_of_max_sessions_is_not_for_strangers)
{
	struct network others, ours;
	int strangers[3], refused, allowed;

	start();
	options.limits.max_sessions = 4;
	options.limits.max_sessions_per_address = 4;
	cr_assert(network_parse(SLICE("192.0.2.0/24"), &others, NULL));
	network = others;
	for (size_t i = 0; i < COUNT(strangers); i++)
		strangers[i] = client_greeted();
	refused = client_open();
	hear(refused, "421 4.7.0");
	hear_end(refused);
	cr_assert(network_parse(SLICE("127.0.0.0/8"), &ours, NULL));
	network = ours;
	allowed = client_greeted();
	refused = client_open();
	hear(refused, "421 4.7.0");
	hear_end(refused);
	for (size_t i = 0; i < COUNT(strangers); i++)
		close(strangers[i]);
	close(allowed);
	stop_begin();
	stop_end();
}

/* Nor do those keep a stranger out as long as there are places. */
Test(server, a_stranger_finds_a_place_beside_clients_of_allow_from)
{
	struct network others;
	int allowed[3], stranger, refused;

	start();
	options.limits.max_sessions = 4;
	options.limits.max_sessions_per_address = 4;
	for (size_t i = 0; i < COUNT(allowed); i++)
		allowed[i] = client_greeted();
	cr_assert(network_parse(SLICE("192.0.2.0/24"), &others, NULL));
	network = others;
	stranger = client_greeted();
	refused = client_open();
	hear(refused, "421 4.7.0");
	hear_end(refused);
	close(stranger);
	for (size_t i = 0; i < COUNT(allowed); i++)
		close(allowed[i]);
	stop_begin();
	stop_end();
}

Test(server, without_descriptors_clients_are_sent_away)
{
	struct rlimit before, none;
	int clients[3], spare, first;

	start();
	/* Behind this no thread opens or closes anything for its start. */
	first = client_greeted();
	send_message(first, "text\r\n");
	for (size_t i = 0; i < COUNT(clients); i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		cr_assert_geq(clients[i], 0);
	}
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	spare = dup(0);
	close(spare);
	none.rlim_cur = (rlim_t)spare;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (dup(0) >= 0)
		;
	for (size_t i = 0; i < COUNT(clients); i++)
		cr_assert_eq(connect(clients[i], &address.any, address.len),
			     0);
	for (size_t i = 0; i < COUNT(clients); i++)
		hear(clients[i], "421 4.7.0");
	/* Not before: our own ends are descriptors of this process too. */
	for (size_t i = 0; i < COUNT(clients); i++)
		hear_end(clients[i]);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	clients[0] = client_greeted();
	close(clients[0]);
	close(first);
	stop_begin();
	stop_end();
}

Test(server, a_stop_tells_the_idle_and_lets_data_end)
{
	int idle, busy;

	start();
	idle = client_greeted();
	busy = client_greeted();
	say(busy, "MAIL FROM:<a@example.com>\r\n");
	hear(busy, "250 ");
	say(busy, "RCPT TO:<b@example.org>\r\n");
	hear(busy, "250 ");
	say(busy, "DATA\r\n");
	hear(busy, "354 ");
	stop_begin();
	hear(idle, "421 4.3.2");
	hear_end(idle);
	say(busy, "From: a@example.com\r\n\r\ntext\r\n.\r\n");
	hear_all(busy, "Ok: queued as", "\r\n421 4.3.2");
	stop_end();
	cr_expect_eq(stored, 1);
}

/* What is silent there says nothing of a message. */
Test(server, a_stop_does_not_wait_for_who_has_yet_to_send)
{
	int clients[2];

	start();
	for (size_t i = 0; i < COUNT(clients); i++) {
		clients[i] = client_greeted();
		say(clients[i], "MAIL FROM:<a@example.com>\r\n");
		hear(clients[i], "250 ");
	}
	say(clients[1], "RCPT TO:<b@example.org>\r\n");
	hear(clients[1], "250 ");
	grace_ms = HOUR;
	stop_begin();
	for (size_t i = 0; i < COUNT(clients); i++) {
		hear(clients[i], "421 4.3.2");
		hear_end(clients[i]);
	}
	stop_end();
	cr_expect_eq(stored, 0);
}

Test(server, a_stop_waits_no_longer_than_the_grace)
{
	int busy;

	start();
	busy = client_greeted();
	say(busy, "MAIL FROM:<a@example.com>\r\n");
	hear(busy, "250 ");
	say(busy, "RCPT TO:<b@example.org>\r\n");
	hear(busy, "250 ");
	say(busy, "DATA\r\n");
	hear(busy, "354 ");
	grace_ms = 50;
	stop_begin();
	stop_end();
	close(busy);
	cr_expect_eq(stored, 0);
}

struct listening {
	struct post post;
	int descriptor;
};

static void
listen_run(struct post *post)
{
	struct listening *listening =
		CONTAINER(post, struct listening, post);

	server_listen(server, &generation, &listening->descriptor);
}

Test(server, a_reload_listens_anew_and_keeps_who_is_there)
{
	static struct listening listening;
	struct address first;
	int client, another;

	start();
	client = client_greeted();
	first = address;
	listening.descriptor = listen_socket();
	loop_post(&main_loop, &listening.post, listen_run);
	another = client_greeted();
	cr_expect_not(address_eq(&first, &address));
	send_message(client, "text\r\n");
	send_message(another, "text\r\n");
	close(client);
	close(another);
	stop_begin();
	stop_end();
}
