#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/net/stream_private.h"
#include "tests/unit/relay/net/ends.h"

static uint16_t
own_port(const struct stream *stream)
{
	struct address address = {.len = sizeof(address.local)};
	int descriptor;

	cr_assert_eq(uv_fileno(&stream->uv.handle, &descriptor), 0);
	cr_assert_eq(getsockname(descriptor, &address.any, &address.len), 0);
	return address_port(&address);
}

Test(stream, talks_and_ends)
{
	start();
	server.answer = SLICE("250 Ok\r\n");
	UNTIL(saw(&client, 'C'));
	stream_write(client.stream, SLICE("NOOP\r\n"));
	UNTIL(client.input.len == 8);
	cr_expect_str_eq(text_string(&server.input), "NOOP\r\n");
	cr_expect_str_eq(text_string(&client.input), "250 Ok\r\n");
	cr_expect_eq(address_port(stream_peer(client.stream)),
		     own_port(server.stream));
	cr_expect_eq(address_port(stream_peer(server.stream)),
		     own_port(client.stream));
	stream_finish(&client.stream);
	UNTIL(saw(&server, 'E'));
	cr_expect_str_eq(server.events, "DE");
	cr_expect_str_eq(client.events, "CD");
	stop();
}

Test(stream, talks_over_tls_and_ends)
{
	start();
	secure_both();
	cr_expect_not_null(stream_tls(server.stream));
	server.answer = SLICE("250 Ok\r\n");
	stream_write(client.stream, SLICE("NOOP\r\n"));
	UNTIL(client.input.len == 8);
	cr_expect_str_eq(text_string(&server.input), "NOOP\r\n");
	stream_finish(&client.stream);
	UNTIL(saw(&server, 'E'));
	cr_expect_str_eq(server.events, "SDE");
	stop();
}

Test(stream, what_was_written_before_tls_goes_in_clear)
{
	start();
	UNTIL(saw(&client, 'C'));
	stream_write(server.stream, SLICE("220 go\r\n"));
	stream_secure_server(server.stream, server_context);
	stream_write(server.stream, SLICE("250 later\r\n"));
	UNTIL(client.input.len == 8);
	secure_client();
	UNTIL(client.input.len == 19);
	cr_expect_str_eq(text_string(&client.input),
			 "220 go\r\n250 later\r\n");
	stop();
}

Test(stream, a_failed_handshake_is_a_failure)
{
	start();
	UNTIL(saw(&client, 'C'));
	stream_secure_server(server.stream, server_context);
	stream_write(client.stream, SLICE("EHLO client.example.com\r\n"));
	UNTIL(saw(&server, 'F'));
	cr_expect_str_eq(server.events, "F");
	cr_expect_eq(strncmp(stream_fault(server.stream)->text, "TLS: ", 5),
		     0, "%s", stream_fault(server.stream)->text);
	turn(5);
	cr_expect_str_eq(server.events, "F");
	stop();
}

Test(stream, leaving_in_the_handshake_is_a_failure)
{
	start();
	UNTIL(saw(&client, 'C'));
	stream_secure_server(server.stream, server_context);
	stream_close(&client.stream);
	UNTIL(saw(&server, 'F'));
	stop();
}

Test(stream, nothing_listens)
{
	struct fault fault = {0};
	struct address address;

	cr_assert(loop_init(&loop, 0, &fault));
	close(listen_somewhere(&address));
	cr_assert(stream_connect(&loop, &(struct stream_way){.to = &address}, on_event, &client,
				 &client.stream, &fault));
	UNTIL(saw(&client, 'F'));
	cr_expect_str_eq(client.events, "F");
	cr_expect_eq(stream_fault(client.stream)->system, ECONNREFUSED);
	stop();
}

Test(stream, paused_input_waits_and_is_bounded)
{
	CLEAN(text_done) struct text many = {0};

	start();
	UNTIL(saw(&client, 'C'));
	stream_pause(server.stream);
	memset(text_room(&many, 8000000), 'x', 8000000);
	text_added(&many, 8000000);
	cr_expect_not(stream_write(client.stream, text_slice(&many)));
	UNTIL(stream_input(server.stream).len >= STREAM_INPUT_MAX);
	turn(50);
	cr_expect_str_eq(server.events, "");
	cr_expect_eq(stream_input(server.stream).len, STREAM_INPUT_MAX);
	stream_finish(&client.stream);
	stream_resume(server.stream);
	cr_expect_str_eq(server.events, "", "not from inside the call");
	UNTIL(saw(&server, 'E'));
	cr_expect_eq(server.input.len, 8000000);
	cr_expect_str_eq(server.events, "DE");
	stop();
}

Test(stream, input_that_is_left_waits_for_more)
{
	start();
	UNTIL(saw(&client, 'C'));
	server.takes_none = true;
	stream_write(client.stream, SLICE("NO"));
	UNTIL(saw(&server, 'D'));
	turn(5);
	cr_expect(slice_eq(stream_input(server.stream), SLICE("NO")));
	stream_consume(server.stream, 1);
	server.takes_none = false;
	stream_write(client.stream, SLICE("OP\r\n"));
	UNTIL(server.input.len == 5);
	cr_expect_str_eq(text_string(&server.input), "OOP\r\n");
	stop();
}

/* More than the kernel takes on both sides, to a client that does not read. */
static size_t
write_too_much(void)
{
	CLEAN(text_done) struct text block = {0};
	size_t written = 0;

	UNTIL(saw(&client, 'C'));
	stream_pause(client.stream);
	memset(text_room(&block, 65536), 'x', 65536);
	text_added(&block, 65536);
	do {
		written += block.len;
		turn(1);
	} while (stream_write(server.stream, text_slice(&block)));
	return written;
}

Test(stream, output_drains)
{
	size_t written;

	start();
	written = write_too_much();
	cr_expect_gt(stream_output_len(server.stream), 0);
	stream_resume(client.stream);
	UNTIL(saw(&server, 'R'));
	cr_expect_leq(stream_output_len(server.stream),
		      STREAM_OUTPUT_LOW(STREAM_OUTPUT_HIGH));
	UNTIL(client.input.len == written);
	stop();
}

Test(stream, knows_what_the_peer_has_not_acknowledged)
{
	size_t written;

	start();
	written = write_too_much();
	cr_expect_gt(stream_unacknowledged(server.stream),
		     stream_output_len(server.stream));
	cr_expect_lt(stream_unacknowledged(server.stream), written);
	stream_resume(client.stream);
	UNTIL(client.input.len == written);
	/* What comes back acknowledges it. */
	stream_write(client.stream, SLICE("250"));
	UNTIL(server.input.len == 3);
	cr_expect_eq(stream_unacknowledged(server.stream), 0);
	stop();
}

Test(stream, after_a_reset_the_peer_gets_no_more)
{
	size_t taken;

	start();
	taken = write_too_much() - stream_output_len(server.stream);
	stream_reset(&server.stream);
	stream_resume(client.stream);
	UNTIL(saw(&client, 'F') || saw(&client, 'E'));
	cr_expect_lt(client.input.len, taken);
	stop();
}

Test(stream, output_drains_below_a_mark_of_its_own)
{
	CLEAN(text_done) struct text block = {0};

	start();
	UNTIL(saw(&client, 'C'));
	stream_bound_output(server.stream, 1000);
	memset(text_room(&block, 1001), 'x', 1001);
	text_added(&block, 1000);
	cr_expect(stream_write(server.stream, text_slice(&block)));
	/* All the kernel takes, so that something stays. */
	stream_pause(client.stream);
	while (stream_write(server.stream, text_slice(&block)))
		turn(1);
	cr_expect_lt(stream_output_len(server.stream), 3000);
	stream_resume(client.stream);
	UNTIL(saw(&server, 'R'));
	cr_expect_leq(stream_output_len(server.stream),
		      STREAM_OUTPUT_LOW(1000));
	stop();
}

/* Whatever of it the kernel takes at once: much and little, in one call and in
 * several, while a reader keeps up and while he does not. */
Test(stream, what_is_written_in_parts_arrives_in_order)
{
	for (size_t i = 0; i < 500000; i++)
		text_add_byte(&pouring.all, (char)(i * 2654435761u >> 13));
	for (unsigned way = 0; way < 4; way++) {
		memset(&server, 0, sizeof(server));
		memset(&client, 0, sizeof(client));
		pouring.at = pouring.calls = 0;
		pouring.waits = (way & 1) == 0;
		send_buffer = 20000;
		start();
		UNTIL(saw(&client, 'C'));
		if (way & 2)
			secure_both();
		server.pours = true;
		stream_write(client.stream, SLICE("go"));
		UNTIL(client.input.len >= pouring.all.len);
		cr_expect(slice_eq(text_slice(&client.input),
				   text_slice(&pouring.all)),
			  "way %u", way);
		cr_expect(saw(&server, 'R'), "way %u", way);
		stop();
	}
	text_done(&pouring.all);
	send_buffer = 0;
}

Test(stream, deadline)
{
	start();
	UNTIL(saw(&client, 'C'));
	stream_deadline(server.stream, 10000);
	stream_deadline(server.stream, 1);
	UNTIL(saw(&server, 'X'));
	stream_deadline(client.stream, 1);
	stream_deadline_clear(client.stream);
	stream_deadline(server.stream, 30);
	turn(1);
	uv_run(&loop.uv, UV_RUN_ONCE);
	cr_expect_not(saw(&client, 'X'));
	stop();
}

Test(stream, a_deadline_that_is_moved_back_does_not_come)
{
	start();
	UNTIL(saw(&client, 'C'));
	stream_deadline(server.stream, 1);
	stream_deadline(server.stream, 60000);
	stream_deadline(client.stream, 20);
	UNTIL(saw(&client, 'X'));
	cr_expect_not(saw(&server, 'X'));
	/* and forward again */
	stream_deadline(server.stream, 1);
	UNTIL(saw(&server, 'X'));
	stop();
}

/* Whoever has said that he is done hears the answer, and then the end. */
Test(stream, parting_hands_over_the_answer)
{
	start();
	UNTIL(saw(&client, 'C'));
	stream_write(client.stream, SLICE("QUIT\r\n"));
	UNTIL(server.input.len == 6);
	stream_write(server.stream, SLICE("221 Bye\r\n"));
	stream_part(&server.stream);
	UNTIL(saw(&client, 'E') || saw(&client, 'F'));
	cr_expect_str_eq(text_string(&client.input), "221 Bye\r\n");
	cr_expect_str_eq(client.events, "CDE");
	stop();
}

/* Whoever goes on talking is heard out, or he might miss the answer. */
Test(stream, parting_with_one_who_goes_on)
{
	start();
	UNTIL(saw(&client, 'C'));
	server.takes_none = true;
	stream_write(client.stream, SLICE("QUIT\r\nNOOP\r\n"));
	UNTIL(stream_input(server.stream).len == 12);
	stream_write(server.stream, SLICE("221 Bye\r\n"));
	stream_part(&server.stream);
	UNTIL(saw(&client, 'E'));
	cr_expect_eq(client.input.len, 9);
	/* A reset would come with the first and be seen at the second. */
	stream_write(client.stream, SLICE("NOOP\r\n"));
	stream_write(client.stream, SLICE("NOOP\r\n"));
	turn(2);
	cr_expect_not(saw(&client, 'F'));
	stop();
}

/* More than the kernel takes of it, whose buffers grow to megabytes. */
#define MANY (16 * MIB)

Test(stream, a_finish_hands_over_all)
{
	CLEAN(text_done) struct text many = {0};

	start();
	UNTIL(saw(&client, 'C'));
	memset(text_room(&many, MANY), 'x', MANY);
	text_added(&many, MANY);
	/* Bytes that we do not read must not cost the peer our last words. */
	stream_write(client.stream, SLICE("more commands\r\n"));
	stream_write(server.stream, text_slice(&many));
	stream_finish(&server.stream);
	UNTIL(saw(&client, 'E') || saw(&client, 'F'));
	cr_expect_eq(client.input.len, MANY);
	cr_expect(saw(&client, 'E'));
	stop();
}

/* How long the loop would sleep once it is to end, with one of its streams
 * finishing and a peer that keeps its own end open. */
static int
end_beside(bool peer_reads, const char *peer_says)
{
	struct fault fault = {0};
	struct address address;
	CLEAN(text_done) struct text many = {0};
	int listener, peer, sleeps_ms;

	cr_assert(loop_init(&loop, 0, &fault));
	listener = listen_somewhere(&address);
	peer = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(peer, &address.any, address.len), 0);
	cr_assert(stream_accept(&loop, accept(listener, NULL, NULL), on_event,
				&server, &server.stream, &fault));
	if (!peer_reads) {
		memset(text_room(&many, MANY), 'x', MANY);
		text_added(&many, MANY);
	}
	text_add_string(&many, "421 4.3.2 bye\r\n");
	stream_write(server.stream, text_slice(&many));
	stream_finish(&server.stream);
	cr_assert_geq(write(peer, peer_says, strlen(peer_says)), 0);
	loop_stop(&loop);
	turn(10);
	sleeps_ms = uv_backend_timeout(&loop.uv);
	if (peer_reads) {
		char words[64] = "";

		cr_expect_eq(recv(peer, words, sizeof(words) - 1, 0), 15);
		cr_expect_str_eq(words, "421 4.3.2 bye\r\n");
	}
	close(peer);
	close(listener);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	loop_done(&loop);
	return sleeps_ms;
}

Test(stream, the_end_of_the_loop_waits_for_no_idle_peer)
{
	cr_expect_leq(end_beside(true, ""), STREAM_HURRY_LOOK_MS);
}

Test(stream, the_end_of_the_loop_hardly_waits_for_one_who_goes_on)
{
	cr_expect_leq(end_beside(true, "NOOP\r\n"), STREAM_HURRY_MS);
}

Test(stream, the_end_of_the_loop_hardly_waits_for_one_who_does_not_read)
{
	cr_expect_leq(end_beside(false, ""), STREAM_HURRY_MS);
}

struct talker {
	int socket;
	size_t heard;
};

/* Says something, and reads only then. */
static void
talk_first(void *argument)
{
	struct talker *talker = argument;
	char bytes[4096];
	ssize_t count;

	usleep(100000);
	cr_assert_eq(write(talker->socket, "NOOP\r\n", 6), 6);
	while ((count = recv(talker->socket, bytes, sizeof(bytes), 0)) > 0)
		talker->heard += (size_t)count;
	close(talker->socket);
}

/* What is said behind a close resets the connection, and so takes away what is
 * still on its way. */
Test(stream, the_end_of_the_loop_takes_no_reply_back)
{
	int small = 4096, listener;
	struct talker talker = {.socket = socket(AF_INET, SOCK_STREAM, 0)};
	struct fault fault = {0};
	struct address address;
	CLEAN(text_done) struct text many = {0};
	uv_thread_t thread;

	cr_assert(loop_init(&loop, 0, &fault));
	listener = listen_somewhere(&address);
	setsockopt(talker.socket, SOL_SOCKET, SO_RCVBUF, &small,
		   sizeof(small));
	cr_assert_eq(connect(talker.socket, &address.any, address.len), 0);
	cr_assert(stream_accept(&loop, accept(listener, NULL, NULL), on_event,
				&server, &server.stream, &fault));
	memset(text_room(&many, 100000), 'x', 100000);
	text_added(&many, 100000);
	text_add_string(&many, "421 4.3.2 bye\r\n");
	stream_write(server.stream, text_slice(&many));
	stream_finish(&server.stream);
	cr_assert_eq(uv_thread_create(&thread, talk_first, &talker), 0);
	loop_stop(&loop);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	uv_thread_join(&thread);
	cr_expect_eq(talker.heard, many.len, "%zu of %zu", talker.heard,
		     many.len);
	close(listener);
	loop_done(&loop);
}

Test(stream, reset_by_the_peer_is_a_failure_even_when_paused)
{
	struct linger now = {.l_onoff = 1};
	struct fault fault = {0};
	struct address address;
	int listener, peer;

	cr_assert(loop_init(&loop, 0, &fault));
	listener = listen_somewhere(&address);
	peer = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(peer, &address.any, address.len), 0);
	cr_assert(stream_accept(&loop, accept(listener, NULL, NULL), on_event,
				&server, &server.stream, &fault));
	stream_pause(server.stream);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	close(listener);
	UNTIL(saw(&server, 'F'));
	stop();
}

/* Nobody knows any more who he was. */
Test(stream, client_who_has_gone_is_a_failure_too)
{
	struct linger now = {.l_onoff = 1};
	struct fault fault = {0};
	struct address address;
	struct pollfd accepted = {0};
	int listener, peer;

	cr_assert(loop_init(&loop, 0, &fault));
	listener = listen_somewhere(&address);
	peer = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(peer, &address.any, address.len), 0);
	accepted.fd = accept(listener, NULL, NULL);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer);
	/* Until the reset is there. */
	cr_assert_eq(poll(&accepted, 1, -1), 1);
	cr_assert(stream_accept(&loop, accepted.fd, on_event, &server,
				&server.stream, &fault));
	close(listener);
	UNTIL(saw(&server, 'F'));
	cr_expect_eq(stream_peer(server.stream)->len, 0);
	stop();
}

/* A server that refuses a message in the midst of it and hangs up: its words are
 * there, although the next write finds a connection that was reset. */
static void
refuse_and_reset(const char *words)
{
	struct fault fault = {0};
	struct address address;
	int listener, peer;

	signal(SIGPIPE, SIG_IGN);
	cr_assert(loop_init(&loop, 0, &fault));
	listener = listen_somewhere(&address);
	cr_assert(stream_connect(&loop, &(struct stream_way){.to = &address},
				 on_event, &client, &client.stream, &fault));
	peer = accept(listener, NULL, NULL);
	UNTIL(saw(&client, 'C'));
	stream_write(client.stream, SLICE("unread\r\n"));
	cr_assert_eq(write(peer, words, strlen(words)),
		     (ssize_t)strlen(words));
	close(peer);
	close(listener);
}

Test(stream, what_was_said_before_a_reset_is_told_before_the_failure)
{
	refuse_and_reset("552 5.3.4 too big\r\n");
	stream_write(client.stream, SLICE("more\r\n"));
	turn_until(&client, 'F');
	turn(3);
	cr_expect_str_eq(client.events, "CDF");
	cr_expect_str_eq(text_string(&client.input), "552 5.3.4 too big\r\n");
	stop();
}

Test(stream, nothing_said_before_a_reset_is_only_a_failure)
{
	refuse_and_reset("");
	stream_write(client.stream, SLICE("more\r\n"));
	turn_until(&client, 'F');
	turn(3);
	cr_expect_str_eq(client.events, "CF");
	stop();
}

/* Records that are none, more of them than are read at once (for some input is
 * there already), and a reset: our next write fails, and so does what is left to
 * read. */
Test(stream, garbage_before_a_reset_is_only_a_failure)
{
	static char garbage[4 * STREAM_INPUT_MAX], input[4000];
	struct linger now = {.l_onoff = 1};
	uv_os_fd_t peer;

	signal(SIGPIPE, SIG_IGN);
	start();
	secure_both();
	server.takes_none = true;
	stream_write(client.stream, slice_of(input, sizeof(input)));
	UNTIL(stream_input(server.stream).len == sizeof(input));
	turn(20);
	cr_assert_eq(uv_fileno(&client.stream->uv.handle, &peer), 0);
	memset(garbage, 0xff, sizeof(garbage));
	while (send(peer, garbage, sizeof(garbage), MSG_DONTWAIT) > 0)
		;
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	stream_close(&client.stream);
	stream_write(server.stream, SLICE("250 Ok\r\n"));
	UNTIL(saw(&server, 'F'));
	cr_expect_str_eq(server.events, "SDF");
	stop();
}

Test(stream, a_failure_does_not_wait_for_who_has_paused)
{
	refuse_and_reset("552 5.3.4 too big\r\n");
	stream_pause(client.stream);
	stream_write(client.stream, SLICE("more\r\n"));
	turn_until(&client, 'F');
	turn(3);
	cr_expect_str_eq(client.events, "CF");
	stop();
}

Test(stream, who_closes_at_what_was_said_hears_of_no_failure)
{
	refuse_and_reset("552 5.3.4 too big\r\n");
	client.when_it_comes = FINISH;
	client.then = STREAM_DATA;
	stream_write(client.stream, SLICE("more\r\n"));
	turn_until(&client, 'D');
	turn(3);
	cr_expect_str_eq(client.events, "CD");
	stop();
}

Test(stream, local_sockets)
{
	struct fault fault = {0};
	char text[ADDRESS_TEXT_SIZE];
	int pair[2];

	cr_assert(loop_init(&loop, 0, &fault));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
		     0);
	cr_assert(stream_accept(&loop, pair[0], on_event, &server,
				&server.stream, &fault));
	cr_assert(stream_accept(&loop, pair[1], on_event, &client,
				&client.stream, &fault));
	stream_write(client.stream, SLICE("x"));
	UNTIL(server.input.len == 1);
	address_write(stream_peer(server.stream), text);
	cr_expect_str_eq(text, "unix:");
	stop();
}

/* Both ways out, from inside each event that an end can see. */
Test(stream, ends_in_every_state)
{
	static const enum stream_event events[] = {
		STREAM_CONNECTED, STREAM_DATA, STREAM_SECURED, STREAM_ENDED,
		STREAM_EXPIRED, STREAM_FAILED,
	};

	for (size_t i = 0; i < COUNT(events) * 4; i++) {
		bool with_tls = i % 2 != 0;

		memset(&server, 0, sizeof(server));
		memset(&client, 0, sizeof(client));
		start();
		client.when_it_comes = i / 2 % 2 == 0 ? CLOSE : FINISH;
		client.then = events[i / 4];
		server.answer = SLICE("250 Ok\r\n");
		for (unsigned j = 0; j < 3; j++)
			turn(1);
		if (with_tls && client.stream != NULL) {
			stream_secure_server(server.stream, server_context);
			secure_client();
		}
		if (client.stream != NULL)
			stream_write(client.stream, SLICE("NOOP\r\n"));
		for (unsigned j = 0; j < 12 && client.stream != NULL; j++) {
			stream_deadline(client.stream, 2);
			uv_run(&loop.uv, UV_RUN_ONCE);
			if (j == 6 && server.stream != NULL)
				stream_finish(&server.stream);
		}
		stop();
	}
}

Test(stream, closing_at_each_turn_of_the_loop)
{
	for (unsigned turns = 0; turns < 24; turns++) {
		memset(&server, 0, sizeof(server));
		memset(&client, 0, sizeof(client));
		start();
		server.answer = SLICE("250 Ok\r\n");
		stream_write(client.stream, SLICE("NOOP\r\n"));
		for (unsigned j = 0; j < turns; j++) {
			turn(1);
			if (saw(&client, 'C') && client.input.len == 8 &&
			    stream_tls(client.stream) == NULL && j == 10) {
				stream_secure_server(server.stream,
						     server_context);
				secure_client();
			}
		}
		if (turns % 2 == 0)
			stream_finish(&client.stream);
		else
			stream_close(&client.stream);
		stop();
	}
}
