#include "relay/control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct control {
	uv_pipe_t listener;
	struct loop *loop;
	struct store *store;
	struct schedule *schedule;
	uint64_t started_ms; /* clock_now_ms() */
	struct list clients;
	size_t clients_count;
	bool is_listening; /* the memory goes with the last of all of these */
};

struct control_client {
	uv_pipe_t pipe;
	struct alarm deadline;
	struct control *control;
	struct list link;
	char line[CONTROL_LINE_MAX];
	size_t line_len;
	struct text reply;
	uv_write_t write;
};

/* --- status --- */

static void
status_write(const struct control *control, bool as_json, struct text *out)
{
	struct store_counters store;
	struct schedule_counters outcomes;

	store_count(control->store, &store);
	schedule_count(control->schedule, &outcomes);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"pid", (uint64_t)getpid()},
		{"uptime", (clock_now_ms() - control->started_ms) / SECOND},
		{"accepted", store.puts},
		{"delivered", outcomes.delivered},
		{"deferred", outcomes.deferred},
		{"bounced", outcomes.bounced},
		{"queued", store.due},
		{"held", store.deliveries > store.due
				 ? store.deliveries - store.due
				 : 0},
		{"damaged", store.damaged},
	};

	text_addf(out, as_json ? "{\"version\": \"%s\"" : "version: %s\n",
		  SIGNET_VERSION);
	for (size_t i = 0; i < COUNT(rows); i++)
		text_addf(out, "%s%s%s%llu%s", as_json ? ", \"" : "",
			  rows[i].name, as_json ? "\": " : ": ",
			  (unsigned long long)rows[i].value,
			  as_json ? "" : "\n");
	if (as_json)
		text_add_string(out, "}\n");
}

static void
request_answer(const struct control *control, struct slice request,
	       struct text *out)
{
	bool as_json = slice_eq(request, SLICE("status json"));

	if (!as_json && !slice_eq(request, SLICE("status text"))) {
		text_add_string(out, "error unknown request\n");
		return;
	}
	text_add_string(out, "ok\n");
	status_write(control, as_json, out);
}

/* --- a client --- */

static void
control_let_go(struct control *control)
{
	if (!control->is_listening && control->clients_count == 0)
		free(control);
}

static void
client_gone(struct alarm *alarm)
{
	struct control_client *client =
		CONTAINER(alarm, struct control_client, deadline);
	struct control *control = client->control;

	list_remove(&client->link);
	control->clients_count--;
	text_done(&client->reply);
	free(client);
	control_let_go(control);
}

static void
client_pipe_closed(uv_handle_t *handle)
{
	struct control_client *client = handle->data;

	alarm_close(&client->deadline, client_gone);
}

static void
client_close(struct control_client *client)
{
	if (!uv_is_closing((uv_handle_t *)&client->pipe))
		uv_close((uv_handle_t *)&client->pipe, client_pipe_closed);
}

static void
client_expired(struct alarm *alarm)
{
	client_close(CONTAINER(alarm, struct control_client, deadline));
}

static void
client_written(uv_write_t *write, int status)
{
	(void)status;
	client_close(write->data);
}

static void
client_answer(struct control_client *client, struct slice request)
{
	uv_buf_t buffer;

	uv_read_stop((uv_stream_t *)&client->pipe);
	request_answer(client->control, request, &client->reply);
	buffer = uv_buf_init(client->reply.bytes,
			     (unsigned)client->reply.len);
	client->write.data = client;
	if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buffer, 1,
		     client_written) != 0)
		client_close(client);
}

static void
client_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct control_client *client = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(client->line + client->line_len,
			      (unsigned)(sizeof(client->line) -
					 client->line_len));
}

/* A full buffer without a line's end comes as UV_ENOBUFS. */
static void
client_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
	struct control_client *client = stream->data;
	struct slice line;
	ptrdiff_t end;

	(void)buffer;
	if (len < 0) {
		client_close(client);
		return;
	}
	client->line_len += (size_t)len;
	line = slice_of(client->line, client->line_len);
	end = slice_find(line, '\n');
	if (end >= 0)
		client_answer(client, slice_sub(line, 0, (size_t)end));
}

/* --- the listener --- */

static void
refused_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Takes the connection off the backlog and drops it. */
static void
client_refuse(struct control *control)
{
	uv_pipe_t *pipe = memory_new(sizeof(*pipe));

	ASSERT(uv_pipe_init(&control->loop->uv, pipe, 0) == 0);
	if (uv_accept((uv_stream_t *)&control->listener,
		      (uv_stream_t *)pipe) != 0) {
		/* Nothing was there any more. */
	}
	uv_close((uv_handle_t *)pipe, refused_closed);
}

static void
control_on_connection(uv_stream_t *listener, int status)
{
	struct control *control = listener->data;
	struct control_client *client;

	if (status < 0)
		return;
	if (control->clients_count == CONTROL_CLIENTS_MAX) {
		client_refuse(control);
		return;
	}
	client = memory_new(sizeof(*client));
	client->control = control;
	list_add_last(&control->clients, &client->link);
	control->clients_count++;
	ASSERT(uv_pipe_init(&control->loop->uv, &client->pipe, 0) == 0);
	client->pipe.data = client;
	alarm_init(&client->deadline, control->loop, client_expired);
	alarm_set(&client->deadline, CONTROL_TIMEOUT_MS);
	if (uv_accept(listener, (uv_stream_t *)&client->pipe) != 0 ||
	    uv_read_start((uv_stream_t *)&client->pipe, client_allocate,
			  client_on_read) != 0)
		client_close(client);
}

static void
control_closed(uv_handle_t *handle)
{
	struct control *control = handle->data;

	control->is_listening = false;
	control_let_go(control);
}

/* The name comes with its last mode: the process's umask is 077, and what it
 * leaves (0700) opens it to nobody else. */
static int
control_listen(struct control *control)
{
	int status;

	if (unlink(CONTROL_SOCKET) != 0 && errno != ENOENT)
		return -errno;
	status = uv_pipe_bind(&control->listener, CONTROL_SOCKET);
	if (status == 0 && chmod(CONTROL_SOCKET, 0600) != 0)
		status = -errno;
	/* Whoever does not block fails where the backlog is full. */
	if (status == 0)
		status = uv_listen((uv_stream_t *)&control->listener,
				   4 * CONTROL_CLIENTS_MAX,
				   control_on_connection);
	return status;
}

bool
control_new(struct loop *main_loop, struct store *store,
	    struct schedule *schedule, struct control **control_out,
	    struct fault *fault)
{
	struct control *control = memory_new(sizeof(*control));
	int status;

	control->loop = main_loop;
	control->store = store;
	control->schedule = schedule;
	control->started_ms = clock_now_ms();
	list_init(&control->clients);
	control->is_listening = true;
	ASSERT(uv_pipe_init(&main_loop->uv, &control->listener, 0) == 0);
	control->listener.data = control;
	status = control_listen(control);
	if (status != 0) {
		uv_close((uv_handle_t *)&control->listener, control_closed);
		return fault_set(fault, FAULT_SYSTEM,
				 CONTROL_SOCKET " in the state directory: %s",
				 uv_strerror(status));
	}
	*control_out = control;
	return true;
}

void
control_close(struct control *control)
{
	LIST_EACH (item, &control->clients)
		client_close(CONTAINER(item, struct control_client, link));
	/* This removes the name, too. */
	uv_close((uv_handle_t *)&control->listener, control_closed);
}
