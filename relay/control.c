#include "relay/control_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct control {
	uv_pipe_t listener;
	struct control_parts parts;
	struct list clients;
	size_t clients_count, tasks_count;
	bool is_listening; /* the memory goes with the last of all of these */
	bool is_closing;
	uint64_t started_ms; /* clock_now_ms() */
};

struct control_client {
	uv_pipe_t pipe;
	struct alarm deadline;
	struct control *control;
	struct control_task *task; /* under way */
	struct list link;
	char line[CONTROL_LINE_MAX];
	size_t line_len;
	struct text reply;
	uv_write_t write;
};

static void
control_let_go(struct control *control)
{
	if (!control->is_listening && control->clients_count == 0 &&
	    control->tasks_count == 0)
		free(control);
}

/* --- a client --- */

static void
client_gone(struct alarm *alarm)
{
	struct control_client *client =
		CONTAINER(alarm, struct control_client, deadline);
	struct control *control = client->control;

	if (client->task != NULL)
		client->task->client = NULL;
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

static bool
client_is_closing(const struct control_client *client)
{
	return uv_is_closing((const uv_handle_t *)&client->pipe);
}

static void
client_close(struct control_client *client)
{
	if (!client_is_closing(client))
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
client_reply(struct control_client *client)
{
	uv_buf_t buffer = uv_buf_init(client->reply.bytes,
				      (unsigned)client->reply.len);

	alarm_set(&client->deadline, CONTROL_TIMEOUT_MS);
	client->write.data = client;
	if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buffer, 1,
		     client_written) != 0)
		client_close(client);
}

/* --- a request --- */

void
control_task_done(struct control_task *task)
{
	struct control *control = task->control;
	struct control_client *client = task->client;

	control->tasks_count--;
	if (client != NULL) {
		client->task = NULL;
		client->reply = task->reply;
		if (!client_is_closing(client))
			client_reply(client);
	} else {
		text_done(&task->reply);
	}
	free(task);
	control_let_go(control);
}

void
control_task_fail(struct control_task *task, const struct fault *fault)
{
	static const char *const kinds[] = {
		[FAULT_NONE] = "none",	     [FAULT_INPUT] = "input",
		[FAULT_ABSENT] = "absent",   [FAULT_DENIED] = "denied",
		[FAULT_BUSY] = "busy",	     [FAULT_LIMIT] = "limit",
		[FAULT_UNTRUSTED] = "other", [FAULT_SYSTEM] = "system",
	};

	text_clear(&task->reply);
	text_addf(&task->reply, "error %s %s\n", kinds[fault->kind],
		  fault->text);
	control_task_done(task);
}

void
control_task_stopping(struct control_task *task)
{
	control_task_fail(task, &(struct fault){FAULT_BUSY, 0,
						"it is stopping"});
}

bool
control_is_closing(const struct control *control)
{
	return control->is_closing;
}

static uint64_t
client_uid(const struct control_client *client)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);
	uv_os_fd_t descriptor = -1;

	if (uv_fileno((const uv_handle_t *)&client->pipe, &descriptor) != 0 ||
	    getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return (uid_t)-1;
	return peer.uid;
}

static void
task_start(struct control_task *task)
{
	switch (task->request.verb) {
	case CONTROL_STATUS:
		control_status_start(task);
		return;
	case CONTROL_LIST:
	case CONTROL_SHOW:
		control_list_start(task);
		return;
	case CONTROL_RETRY:
	case CONTROL_HOLD:
	case CONTROL_RELEASE:
	case CONTROL_DELETE:
		control_alter_start(task);
		return;
	}
}

/* What it asks for may take longer than a client may: its own time begins
 * again with the answer. */
static void
client_ask(struct control_client *client, size_t len)
{
	struct control *control = client->control;
	struct control_task *task = memory_new(sizeof(*task));
	struct fault fault;

	uv_read_stop((uv_stream_t *)&client->pipe);
	alarm_clear(&client->deadline);
	task->control = control;
	task->client = client;
	client->task = task;
	control->tasks_count++;
	task->parts = &control->parts;
	task->started_ms = control->started_ms;
	task->uid = client_uid(client);
	memcpy(task->line, client->line, len);
	if (control_request_parse(slice_of(task->line, len), &task->request,
				  &fault))
		task_start(task);
	else
		control_task_fail(task, &fault);
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
	ptrdiff_t end;

	(void)buffer;
	if (len < 0) {
		client_close(client);
		return;
	}
	client->line_len += (size_t)len;
	end = slice_find(slice_of(client->line, client->line_len), '\n');
	if (end >= 0)
		client_ask(client, (size_t)end);
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

	ASSERT(uv_pipe_init(&control->parts.main_loop->uv, pipe, 0) == 0);
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
	ASSERT(uv_pipe_init(&control->parts.main_loop->uv, &client->pipe, 0) ==
	       0);
	client->pipe.data = client;
	alarm_init(&client->deadline, control->parts.main_loop,
		   client_expired);
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

/* The process's umask is 077: what that leaves of its mode (0700) opens it to
 * nobody else. */
static int
control_listen(struct control *control)
{
	int status;

	if (unlink(CONTROL_SOCKET) != 0 && errno != ENOENT)
		return -errno;
	status = uv_pipe_bind(&control->listener, CONTROL_SOCKET);
	/* Whoever does not block fails where the backlog is full. */
	if (status == 0)
		status = uv_listen((uv_stream_t *)&control->listener,
				   4 * CONTROL_CLIENTS_MAX,
				   control_on_connection);
	return status;
}

bool
control_new(const struct control_parts *parts, struct control **control_out,
	    struct fault *fault)
{
	struct control *control = memory_new(sizeof(*control));
	int status;

	control->parts = *parts;
	control->started_ms = clock_now_ms();
	list_init(&control->clients);
	control->is_listening = true;
	ASSERT(uv_pipe_init(&parts->main_loop->uv, &control->listener, 0) == 0);
	control->listener.data = control;
	status = control_listen(control);
	if (status != 0) {
		uv_close((uv_handle_t *)&control->listener, control_closed);
		errno = -status; /* as libuv has it on Unix */
		/* as vfat and exfat by FUSE have it */
		return fault_errno(fault, "making its socket '%s'%s",
				   CONTROL_SOCKET,
				   errno == EPERM || errno == ENOSYS ?
					   ", which a file system such as FAT "
					   "cannot have" :
					   "");
	}
	*control_out = control;
	return true;
}

void
control_close(struct control *control)
{
	control->is_closing = true;
	LIST_EACH (item, &control->clients)
		client_close(CONTAINER(item, struct control_client, link));
	/* This removes the name, too. */
	uv_close((uv_handle_t *)&control->listener, control_closed);
}
