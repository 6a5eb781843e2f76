#include "relay/net/stream.h"

#include <stdlib.h>
#include <unistd.h>

#include "relay/limits.h"

/*
 * Bytes on their way out pass three places: `output` holds what the owner
 * wrote (plain), `wire` what is to be sent (plain or encrypted), `sending` what
 * libuv has in hand: one write at a time, so that whatever comes meanwhile goes
 * out together in the next one.
 *
 * Bytes on their way in are read into a buffer that all streams of a thread
 * share, and are shown to the owner right there; only what the owner leaves is
 * copied to `kept`. So an idle stream holds no buffer.
 *
 * Pausing is lazy: reading goes on until STREAM_INPUT_MAX wait, since a peer
 * who waits for our reply sends nothing, and stopping would cost a system call.
 */
struct stream {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t local;
	} uv;
	uv_timer_t deadline, turn;
	union {
		uv_connect_t connect;
		uv_shutdown_t shutdown;
	} request;
	uv_write_t write;
	unsigned open_handles;

	stream_fn *event; /* NULL: closed or finishing */
	void *owner;

	struct slice borrowed;
	struct text kept;
	size_t kept_used;
	struct text output, wire, sending;
	struct tls *tls;

	/* What is still to be told. */
	bool has_failed, has_connected, has_secured, has_drained, has_expired;
	bool has_data, has_ended;
	bool failed_told, ended_told;

	bool in_event, is_paused, is_reading, is_connecting, is_sending;
	bool is_handshaking, is_above_high;
	bool is_finishing, is_shutting_down, is_shut_down, is_closed;

	struct address peer_address, local_address;
	struct fault fault;
};

/* Used only from the callback that asks for it to the one that reads it, with
 * nothing between; a loop belongs to one thread. */
static _Thread_local char read_buffer[STREAM_INPUT_MAX];

/* Memory that an idle stream keeps for its next reply. */
#define OUTPUT_KEPT 512

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer);
static void on_turn(uv_timer_t *timer);
static void finish_on(struct stream *stream);

/* --- the end --- */

static void
on_handle_closed(uv_handle_t *handle)
{
	struct stream *stream = handle->data;

	ASSERT(stream->open_handles > 0);
	if (--stream->open_handles > 0)
		return;
	text_done(&stream->kept);
	text_done(&stream->output);
	text_done(&stream->wire);
	text_done(&stream->sending);
	tls_free(stream->tls);
	free(stream);
}

static void
stream_destroy(struct stream *stream)
{
	ASSERT(!stream->is_closed);
	stream->is_closed = true;
	stream->event = NULL;
	uv_close(&stream->uv.handle, on_handle_closed);
	uv_close((uv_handle_t *)&stream->deadline, on_handle_closed);
	uv_close((uv_handle_t *)&stream->turn, on_handle_closed);
}

/* --- input, as the owner sees it --- */

static size_t
kept_len(const struct stream *stream)
{
	return stream->kept.len - stream->kept_used;
}

struct slice
stream_input(const struct stream *stream)
{
	if (kept_len(stream) > 0)
		return slice_from(text_slice(&stream->kept),
				  stream->kept_used);
	return stream->borrowed;
}

static size_t
input_len(const struct stream *stream)
{
	return stream_input(stream).len;
}

/* Room at the end of kept, without what has been used of it. */
static void
kept_compact(struct stream *stream)
{
	text_drop_front(&stream->kept, stream->kept_used);
	stream->kept_used = 0;
}

/* Before the shared buffer goes back. */
static void
settle_input(struct stream *stream)
{
	if (kept_len(stream) == 0) {
		stream->kept_used = 0;
		if (stream->borrowed.len == 0)
			text_done(&stream->kept);
		else
			text_clear(&stream->kept);
	}
	text_add(&stream->kept, stream->borrowed);
	stream->borrowed = SLICE_NONE;
}

static void
update_reading(struct stream *stream)
{
	bool wanted = !stream->has_ended && !stream->has_failed &&
		      !stream->is_connecting &&
		      input_len(stream) < STREAM_INPUT_MAX;

	if (wanted == stream->is_reading || stream->is_closed)
		return;
	stream->is_reading = wanted;
	if (wanted)
		ASSERT(uv_read_start(&stream->uv.stream, on_alloc, on_read) ==
		       0);
	else
		uv_read_stop(&stream->uv.stream);
}

/* --- events --- */

static void
tell_later(struct stream *stream)
{
	if (!stream->in_event)
		ASSERT(uv_timer_start(&stream->turn, on_turn, 0, 0) == 0);
}

static void
fail(struct stream *stream, const char *what, int status)
{
	if (stream->has_failed)
		return;
	fault_set(&stream->fault, FAULT_SYSTEM, "%s: %s", what,
		  uv_strerror(status));
	stream->fault.system = -status;
	stream->has_failed = true;
}

static bool
take_flag(bool *flag)
{
	bool was_set = *flag;

	*flag = false;
	return was_set;
}

static bool
next_event(struct stream *stream, enum stream_event *event_out)
{
	if (stream->has_failed) {
		*event_out = STREAM_FAILED;
		if (stream->failed_told)
			return false;
		stream->failed_told = true;
	} else if (take_flag(&stream->has_connected)) {
		*event_out = STREAM_CONNECTED;
	} else if (take_flag(&stream->has_secured)) {
		*event_out = STREAM_SECURED;
	} else if (take_flag(&stream->has_drained)) {
		*event_out = STREAM_DRAINED;
	} else if (!stream->is_paused && stream->has_data) {
		stream->has_data = false;
		*event_out = STREAM_DATA;
	} else if (!stream->is_paused && stream->has_ended &&
		   !stream->ended_told) {
		stream->ended_told = true;
		*event_out = STREAM_ENDED;
	} else if (take_flag(&stream->has_expired)) {
		*event_out = STREAM_EXPIRED;
	} else {
		return false;
	}
	return true;
}

/* --- output --- */

static void
swap(struct text *a, struct text *b)
{
	struct text held = *a;

	*a = *b;
	*b = held;
}

static void
forget_sent(struct text *sent)
{
	if (sent->size > OUTPUT_KEPT)
		text_done(sent);
	else
		text_clear(sent);
}

static void
take_tls_fault(struct stream *stream)
{
	if (stream->has_failed)
		return;
	stream->fault = *tls_fault(stream->tls);
	stream->has_failed = true;
}

/* output -> wire */
static void
move_output(struct stream *stream)
{
	if (stream->output.len == 0 || stream->is_handshaking)
		return;
	if (stream->tls != NULL) {
		if (stream->has_failed ||
		    tls_send(stream->tls, text_slice(&stream->output),
			     &stream->wire) != TLS_OK)
			take_tls_fault(stream);
	} else if (stream->wire.len == 0) {
		swap(&stream->wire, &stream->output);
	} else {
		text_add(&stream->wire, text_slice(&stream->output));
	}
	forget_sent(&stream->output);
}

static void on_written(uv_write_t *write, int status);

/* Output fell to the low mark without the loop's help: it tells soon. */
static void
note_drained(struct stream *stream)
{
	if (!stream->is_above_high ||
	    stream_output_len(stream) > STREAM_OUTPUT_LOW)
		return;
	stream->is_above_high = false;
	stream->has_drained = true;
	ASSERT(uv_timer_start(&stream->turn, on_turn, 0, 0) == 0);
}

/* What the kernel takes at once, straight from wire: nearly every reply goes
 * this way, which saves the loop a round and an epoll_ctl(2). */
static bool
send_at_once(struct stream *stream)
{
	uv_buf_t buffer = uv_buf_init(stream->wire.bytes,
				      (unsigned)stream->wire.len);
	int status = uv_try_write(&stream->uv.stream, &buffer, 1);

	if (status < 0 && status != UV_EAGAIN) {
		fail(stream, "write", status);
		text_clear(&stream->wire);
	} else if (status > 0 && (size_t)status < stream->wire.len) {
		text_drop_front(&stream->wire, (size_t)status);
	} else if (status > 0) {
		forget_sent(&stream->wire);
	}
	return stream->wire.len == 0;
}

/* wire -> sending, as far as the kernel does not take it right away */
static void
send_wire(struct stream *stream)
{
	uv_buf_t buffer;
	int status;

	if (stream->wire.len == 0 || stream->is_sending ||
	    stream->is_connecting || stream->is_closed)
		return;
	if (send_at_once(stream)) {
		note_drained(stream);
		return;
	}
	swap(&stream->sending, &stream->wire);
	buffer = uv_buf_init(stream->sending.bytes,
			     (unsigned)stream->sending.len);
	status = uv_write(&stream->write, &stream->uv.stream, &buffer, 1,
			  on_written);
	if (status == 0) {
		stream->is_sending = true;
	} else {
		/* No callback follows. */
		forget_sent(&stream->sending);
		fail(stream, "write", status);
	}
}

static void
flush(struct stream *stream)
{
	if (stream->is_connecting || stream->is_closed)
		return;
	move_output(stream);
	send_wire(stream);
}

static void
deliver(struct stream *stream)
{
	enum stream_event event;

	ASSERT(!stream->in_event);
	stream->in_event = true;
	do {
		while (stream->event != NULL && next_event(stream, &event))
			stream->event(stream->owner, event);
		if (stream->event != NULL)
			flush(stream);
	} while (stream->event != NULL && stream->has_failed &&
		 !stream->failed_told);
	stream->in_event = false;
	if (stream->event == NULL) {
		stream->borrowed = SLICE_NONE;
		return;
	}
	settle_input(stream);
	update_reading(stream);
}

static void
on_turn(uv_timer_t *timer)
{
	struct stream *stream = timer->data;

	if (stream->event != NULL)
		deliver(stream);
}

static void
on_deadline(uv_timer_t *timer)
{
	struct stream *stream = timer->data;

	if (stream->is_finishing) {
		stream_destroy(stream);
		return;
	}
	stream->has_expired = true;
	deliver(stream);
}

size_t
stream_output_len(const struct stream *stream)
{
	return stream->output.len + stream->wire.len +
	       uv_stream_get_write_queue_size(&stream->uv.stream);
}

static void
on_written(uv_write_t *write, int status)
{
	struct stream *stream = write->data;

	stream->is_sending = false;
	if (stream->is_closed)
		return;
	forget_sent(&stream->sending);
	if (status < 0) {
		if (stream->is_finishing) {
			stream_destroy(stream);
			return;
		}
		fail(stream, "write", status);
	}
	if (!stream->has_failed)
		flush(stream);
	if (stream->is_finishing) {
		finish_on(stream);
		return;
	}
	note_drained(stream);
	deliver(stream);
}

/* --- input, as it comes --- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct stream *stream = handle->data;
	size_t len = sizeof(read_buffer), waiting = kept_len(stream);

	(void)suggested;
	if (!stream->is_finishing) {
		ASSERT(waiting < STREAM_INPUT_MAX);
		len = STREAM_INPUT_MAX - waiting;
	}
	*buffer = uv_buf_init(read_buffer, (unsigned)len);
}

static void
take_plain(struct stream *stream, struct slice bytes)
{
	if (kept_len(stream) > 0) {
		kept_compact(stream);
		text_add(&stream->kept, bytes);
	} else {
		stream->borrowed = bytes;
	}
	stream->has_data = true;
}

static void
take_encrypted(struct stream *stream, struct slice bytes)
{
	enum tls_status status;
	size_t before;

	kept_compact(stream);
	before = stream->kept.len;
	status = tls_receive(stream->tls, bytes, &stream->kept, &stream->wire);
	if (stream->is_handshaking && tls_is_established(stream->tls)) {
		stream->is_handshaking = false;
		stream->has_secured = true;
	}
	if (stream->kept.len > before)
		stream->has_data = true;
	switch (status) {
	case TLS_OK:
		break;
	case TLS_CLOSED:
		stream->has_ended = true;
		break;
	case TLS_FAILED:
		/* The alert, as far as the kernel takes it. */
		send_wire(stream);
		take_tls_fault(stream);
		break;
	}
}

static void
take_end(struct stream *stream, int status)
{
	/* libuv has stopped reading by itself, or is to. */
	stream->is_reading = false;
	uv_read_stop(&stream->uv.stream);
	if (status != UV_EOF)
		fail(stream, "read", status);
	else if (stream->is_handshaking)
		fail(stream, "closed during the TLS handshake", status);
	else
		stream->has_ended = true;
}

static void
on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
	struct stream *stream = handle->data;

	if (count == 0)
		return;
	if (stream->is_finishing) {
		if (count < 0)
			take_end(stream, (int)count);
		finish_on(stream);
		return;
	}
	if (count < 0)
		take_end(stream, (int)count);
	else if (stream->tls != NULL)
		take_encrypted(stream, slice_of(buffer->base, (size_t)count));
	else
		take_plain(stream, slice_of(buffer->base, (size_t)count));
	deliver(stream);
}

/* --- making one --- */

static struct stream *
stream_new(struct loop *loop, int family, stream_fn *event, void *owner)
{
	struct stream *stream = memory_new(sizeof(*stream));

	ASSERT(event != NULL);
	stream->event = event;
	stream->owner = owner;
	if (family == AF_UNIX)
		ASSERT(uv_pipe_init(&loop->uv, &stream->uv.local, 0) == 0);
	else
		ASSERT(uv_tcp_init(&loop->uv, &stream->uv.tcp) == 0);
	ASSERT(uv_timer_init(&loop->uv, &stream->deadline) == 0);
	ASSERT(uv_timer_init(&loop->uv, &stream->turn) == 0);
	stream->open_handles = 3;
	stream->uv.handle.data = stream;
	stream->deadline.data = stream;
	stream->turn.data = stream;
	stream->write.data = stream;
	return stream;
}

static void
learn_peer(struct stream *stream, int descriptor)
{
	struct address *peer = &stream->peer_address;

	peer->len = sizeof(peer->local);
	if (getpeername(descriptor, &peer->any, &peer->len) != 0)
		*peer = (struct address){0};
	address_unmap(peer);
}

bool
stream_accept(struct loop *loop, int descriptor, stream_fn *event, void *owner,
	      struct stream **stream_out, struct fault *fault)
{
	struct address local = {.len = sizeof(local.local)};
	struct stream *stream;
	int status;

	if (getsockname(descriptor, &local.any, &local.len) != 0) {
		fault_errno(fault, "accepted socket");
		close(descriptor);
		return false;
	}
	stream = stream_new(loop, local.any.sa_family, event, owner);
	if (local.any.sa_family == AF_UNIX)
		status = uv_pipe_open(&stream->uv.local, descriptor);
	else
		status = uv_tcp_open(&stream->uv.tcp, descriptor);
	if (status != 0) {
		close(descriptor);
		stream_destroy(stream);
		return fault_set(fault, FAULT_SYSTEM, "accepted socket: %s",
				 uv_strerror(status));
	}
	if (local.any.sa_family != AF_UNIX)
		uv_tcp_nodelay(&stream->uv.tcp, 1);
	address_unmap(&local);
	stream->local_address = local;
	learn_peer(stream, descriptor);
	update_reading(stream);
	*stream_out = stream;
	return true;
}

static void
learn_local(struct stream *stream)
{
	struct address *local = &stream->local_address;
	uv_os_fd_t descriptor;

	local->len = sizeof(local->local);
	if (uv_fileno(&stream->uv.handle, &descriptor) != 0 ||
	    getsockname(descriptor, &local->any, &local->len) != 0)
		*local = (struct address){0};
	address_unmap(local);
}

static void
on_connected(uv_connect_t *connect, int status)
{
	struct stream *stream = connect->handle->data;

	if (stream->is_closed)
		return;
	stream->is_connecting = false;
	if (status < 0) {
		fail(stream, "connect", status);
	} else {
		stream->has_connected = true;
		learn_local(stream);
		if (stream->uv.handle.type == UV_TCP)
			uv_tcp_nodelay(&stream->uv.tcp, 1);
	}
	deliver(stream);
}

bool
stream_connect(struct loop *loop, const struct address *to, stream_fn *event,
	       void *owner, struct stream **stream_out, struct fault *fault)
{
	struct stream *stream;
	int status = 0;

	if (to->any.sa_family != AF_UNIX && to->any.sa_family != AF_INET &&
	    to->any.sa_family != AF_INET6)
		return fault_set(fault, FAULT_INPUT,
				 "no address to connect to");
	stream = stream_new(loop, to->any.sa_family, event, owner);
	stream->peer_address = *to;
	stream->is_connecting = true;
	if (to->any.sa_family == AF_UNIX)
		uv_pipe_connect(&stream->request.connect, &stream->uv.local,
				to->local.sun_path, on_connected);
	else
		status = uv_tcp_connect(&stream->request.connect,
					&stream->uv.tcp, &to->any,
					on_connected);
	if (status != 0) {
		/* No callback follows: the loop tells it. */
		fail(stream, "connect", status);
		tell_later(stream);
	}
	*stream_out = stream;
	return true;
}

/* --- what the owner asks for --- */

static void
secure(struct stream *stream, struct tls *tls)
{
	ASSERT(stream->event != NULL);
	ASSERT(stream->tls == NULL);
	ASSERT(input_len(stream) == 0);
	move_output(stream);
	stream->tls = tls;
	stream->is_handshaking = true;
	stream->has_data = false;
}

void
stream_secure_server(struct stream *stream, struct tls_context *context)
{
	secure(stream, tls_new(context, true, SLICE_NONE));
	if (!stream->in_event)
		flush(stream);
}

void
stream_secure_client(struct stream *stream, struct tls_context *context,
		     struct slice server_name)
{
	secure(stream, tls_new(context, false, server_name));
	if (tls_send(stream->tls, SLICE_NONE, &stream->wire) != TLS_OK)
		take_tls_fault(stream);
	if (!stream->in_event)
		flush(stream);
	if (stream->has_failed)
		tell_later(stream);
}

const struct tls *
stream_tls(const struct stream *stream)
{
	return stream->is_handshaking ? NULL : stream->tls;
}

void
stream_consume(struct stream *stream, size_t count)
{
	ASSERT(stream->event != NULL);
	ASSERT(count <= input_len(stream));
	if (kept_len(stream) > 0)
		stream->kept_used += count;
	else
		stream->borrowed = slice_from(stream->borrowed, count);
	if (!stream->in_event) {
		settle_input(stream);
		update_reading(stream);
	}
}

bool
stream_write(struct stream *stream, struct slice bytes)
{
	ASSERT(stream->event != NULL);
	if (stream->has_failed)
		return true; /* FAILED is told, or will be */
	text_add(&stream->output, bytes);
	if (!stream->in_event) {
		flush(stream);
		if (stream->has_failed)
			tell_later(stream);
	}
	if (stream_output_len(stream) > STREAM_OUTPUT_HIGH)
		stream->is_above_high = true;
	return !stream->is_above_high;
}

void
stream_deadline(struct stream *stream, uint64_t timeout_ms)
{
	ASSERT(stream->event != NULL);
	ASSERT(timeout_ms > 0);
	stream->has_expired = false;
	ASSERT(uv_timer_start(&stream->deadline, on_deadline, timeout_ms, 0) ==
	       0);
}

void
stream_deadline_clear(struct stream *stream)
{
	ASSERT(stream->event != NULL);
	stream->has_expired = false;
	uv_timer_stop(&stream->deadline);
}

void
stream_pause(struct stream *stream)
{
	ASSERT(stream->event != NULL);
	stream->is_paused = true;
}

void
stream_resume(struct stream *stream)
{
	ASSERT(stream->event != NULL);
	if (!stream->is_paused)
		return;
	stream->is_paused = false;
	stream->has_data = input_len(stream) > 0;
	if (stream->has_data || (stream->has_ended && !stream->ended_told))
		tell_later(stream);
}

const struct fault *
stream_fault(const struct stream *stream)
{
	return &stream->fault;
}

const struct address *
stream_peer(const struct stream *stream)
{
	return &stream->peer_address;
}

const struct address *
stream_local(const struct stream *stream)
{
	return &stream->local_address;
}

void
stream_close(struct stream **stream)
{
	struct stream *closed = TAKE(*stream);

	ASSERT(closed->event != NULL);
	stream_destroy(closed);
}

static void
on_shut_down(uv_shutdown_t *shutdown, int status)
{
	struct stream *stream = shutdown->handle->data;

	if (stream->is_closed)
		return;
	stream->is_shut_down = true;
	if (status < 0)
		stream->has_ended = true; /* nobody is there to wait for */
	finish_on(stream);
}

/* With nothing queued, without a round of the loop for it. */
static void
shut_down(struct stream *stream)
{
	uv_os_fd_t descriptor;

	stream->is_shut_down = true;
	if (stream->has_failed ||
	    uv_fileno(&stream->uv.handle, &descriptor) != 0 ||
	    shutdown(descriptor, SHUT_WR) != 0 || stream->has_ended)
		stream_destroy(stream);
}

/* The next step of a finish: the rest of the output, close_notify, our FIN,
 * then the peer's. Closing before that, with bytes of the peer unread, would
 * reset the connection and could take our last reply with it. */
static void
finish_on(struct stream *stream)
{
	int status;

	if (stream->is_closed)
		return;
	if (stream->has_failed || (stream->is_shut_down && stream->has_ended)) {
		stream_destroy(stream);
		return;
	}
	if (stream->is_sending || stream->is_shutting_down)
		return;
	stream->is_shutting_down = true;
	if (stream->tls != NULL) {
		tls_finish(stream->tls, &stream->wire);
		send_wire(stream);
	}
	if (!stream->is_sending) {
		shut_down(stream);
		return;
	}
	/* libuv shuts down behind the write that is queued. */
	status = uv_shutdown(&stream->request.shutdown, &stream->uv.stream,
			     on_shut_down);
	if (status != 0)
		stream_destroy(stream);
}

void
stream_finish(struct stream **stream)
{
	struct stream *finished = TAKE(*stream);

	ASSERT(finished->event != NULL);
	finished->event = NULL;
	if (finished->has_failed || finished->is_connecting) {
		stream_destroy(finished);
		return;
	}
	finished->is_finishing = true;
	finished->is_paused = false;
	finished->borrowed = SLICE_NONE;
	finished->kept_used = finished->kept.len;
	uv_timer_stop(&finished->turn);
	ASSERT(uv_timer_start(&finished->deadline, on_deadline,
			      STREAM_FINISH_MS, 0) == 0);
	flush(finished);
	update_reading(finished);
	finish_on(finished);
}
