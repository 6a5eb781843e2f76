#include "tests/unit/relay/net/ends.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay/net/certificate.h"

struct pouring pouring;

static void
pour(struct end *end)
{
	static const size_t sizes[] = {1,     0, 60000, 7,     16384, 16000,
				       16383, 3, 90000, 20000, 16000};
	bool has_room = true;

	while (pouring.at < pouring.all.len && (has_room || !pouring.waits)) {
		size_t count = 1 + pouring.calls++ / 16 % 5;
		struct slice parts[5];

		for (size_t i = 0; i < count; i++) {
			size_t size = sizes[(pouring.calls * 3 + i) %
					    COUNT(sizes)];

			if (pouring.calls < 16)
				size = 16000;
			parts[i] = slice_sub(text_slice(&pouring.all),
					     pouring.at, size);
			pouring.at += parts[i].len;
		}
		has_room = stream_write_parts(end->stream, parts, count);
	}
}

static const char letters[] = {
	[STREAM_CONNECTED] = 'C', [STREAM_DATA] = 'D', [STREAM_DRAINED] = 'R',
	[STREAM_SECURED] = 'S', [STREAM_ENDED] = 'E', [STREAM_EXPIRED] = 'X',
	[STREAM_FAILED] = 'F',
};

void
on_event(void *owner, enum stream_event event)
{
	struct end *end = owner;

	cr_assert_not_null(end->stream, "an event after the end");
	if (end->events_count + 1 < sizeof(end->events) &&
	    (event != STREAM_DATA || end->events_count == 0 ||
	     end->events[end->events_count - 1] != 'D'))
		end->events[end->events_count++] = letters[event];
	if (event == STREAM_DATA && !end->takes_none) {
		struct slice input = stream_input(end->stream);

		text_add(&end->input, input);
		stream_consume(end->stream, input.len);
		stream_write(end->stream, end->answer);
	}
	if (end->pours && (event == STREAM_DATA || event == STREAM_DRAINED))
		pour(end);
	if (end->when_it_comes == CLOSE && event == end->then)
		stream_close(&end->stream);
	else if (end->when_it_comes == FINISH && event == end->then)
		stream_finish(&end->stream);
}

struct loop loop;
struct end server, client;
int send_buffer;
struct text certificate, key;
struct tls_context *server_context, *client_context;

int
listen_somewhere(struct address *address)
{
	int descriptor = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert(address_parse_host(SLICE("127.0.0.1"), 0, address));
	cr_assert_eq(bind(descriptor, &address->any, address->len), 0);
	cr_assert_eq(listen(descriptor, 8), 0);
	cr_assert_eq(getsockname(descriptor, &address->any, &address->len),
		     0);
	return descriptor;
}

void
start(void)
{
	struct fault fault = {0};
	struct address address;
	int listener, socket;

	cr_assert(loop_init(&loop, 0, &fault));
	listener = listen_somewhere(&address);
	cr_assert(stream_connect(&loop, &(struct stream_way){.to = &address}, on_event, &client,
				 &client.stream, &fault));
	socket = accept(listener, NULL, NULL);
	if (send_buffer > 0)
		cr_assert_eq(setsockopt(socket, SOL_SOCKET, SO_SNDBUF,
					&send_buffer, sizeof(send_buffer)),
			     0);
	cr_assert(stream_accept(&loop, socket, on_event, &server,
				&server.stream, &fault),
		  "%s", fault.text);
	close(listener);
	certificate_make(&certificate, &key);
	cr_assert(tls_context_server(text_slice(&certificate), &server_context,
				     &fault) &&
		  tls_context_key(server_context, text_slice(&key), &fault));
	cr_assert(tls_context_client(&client_context, &fault));
}

void
turn(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		uv_run(&loop.uv, UV_RUN_NOWAIT);
}

bool
saw(const struct end *end, char letter)
{
	return strchr(end->events, letter) != NULL;
}

void
turn_until(const struct end *end, char letter)
{
	while (!saw(end, letter))
		turn(1);
}

void
stop(void)
{
	if (server.stream != NULL)
		stream_close(&server.stream);
	if (client.stream != NULL)
		stream_close(&client.stream);
	loop_stop(&loop);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	loop_done(&loop);
	tls_context_free(server_context);
	tls_context_free(client_context);
	text_done(&certificate);
	text_done(&key);
	text_done(&server.input);
	text_done(&client.input);
}

void
secure_client(void)
{
	stream_secure_client(client.stream,
			     &(struct tls_client){
				     .context = client_context,
				     .server_name = SLICE("mail.example.com"),
				     .min = TLS_1_2,
				     .security_level = -1});
}

void
secure_both(void)
{
	UNTIL(saw(&client, 'C'));
	stream_secure_server(server.stream, server_context);
	secure_client();
	UNTIL(saw(&client, 'S') && saw(&server, 'S'));
}
