#include "relay/net/stream_private.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "relay/limits.h"

/* Used only from the callback that asks for it to the one that reads it, with
 * nothing between, and in take_rest(); a loop belongs to one thread. */
static _Thread_local char read_buffer[STREAM_INPUT_MAX];

/* Memory that input may hold beside what it is. */
#define KEPT_SLACK (8 * KIB)

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer);
static void on_turn(uv_timer_t *timer);
static void take_input(struct stream *stream, struct slice bytes);

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

void
stream_destroy(struct stream *stream)
{
	ASSERT(!stream->is_closed);
	stream->is_closed = true;
	stream->event = NULL;
	list_remove(&stream->farewell.link);
	uv_close(&stream->uv.handle, on_handle_closed);
	uv_close((uv_handle_t *)&stream->deadline, on_handle_closed);
	uv_close((uv_handle_t *)&stream->turn, on_handle_closed);
	if (stream->closed != NULL)
		stream->closed(stream->closed_owner);
}

void
stream_on_closed(struct stream *stream, void (*closed)(void *owner),
		 void *owner)
{
	ASSERT(!stream->is_closed);
	ASSERT(stream->closed == NULL);
	stream->closed = closed;
	stream->closed_owner = owner;
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
	/* It may wait for long, with room for a whole record of TLS. */
	if (stream->kept.size - stream->kept.len > KEPT_SLACK)
		text_fit(&stream->kept);
}

void
stream_update_reading(struct stream *stream)
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

void
stream_turn_later(struct stream *stream)
{
	ASSERT(uv_timer_start(&stream->turn, on_turn, 0, 0) == 0);
}

void
stream_tell_later(struct stream *stream)
{
	if (!stream->in_event)
		stream_turn_later(stream);
}

void
stream_fail(struct stream *stream, const char *what, int status)
{
	if (stream->has_failed)
		return;
	fault_set(&stream->fault, FAULT_SYSTEM, "%s: %s", what,
		  uv_strerror(status));
	stream->fault.system = -status;
	stream->has_failed = true;
}

void
stream_fail_write(struct stream *stream, int status)
{
	stream->has_rest |= !stream->has_failed;
	stream_fail(stream, "write", status);
}

static bool
take_flag(bool *flag)
{
	bool was_set = *flag;

	*flag = false;
	return was_set;
}

/* A peer that has had enough says why and closes; with bytes of ours unread that
 * resets the connection, and the next write fails. The kernel still has what
 * was said. */
static void
take_rest(struct stream *stream)
{
	uv_os_fd_t descriptor;
	ssize_t count;

	stream->has_rest = false;
	if (uv_fileno(&stream->uv.handle, &descriptor) != 0)
		return;
	settle_input(stream);
	while (!stream->has_ended && input_len(stream) < STREAM_INPUT_MAX &&
	       (count = recv(descriptor, read_buffer,
			     STREAM_INPUT_MAX - input_len(stream),
			     MSG_DONTWAIT)) > 0) {
		take_input(stream, slice_of(read_buffer, (size_t)count));
		settle_input(stream);
	}
}

/* Before a failure, which is the last thing that is told. */
static bool
next_of_rest(struct stream *stream)
{
	if (stream->failed_told || stream->is_paused || stream->has_connected ||
	    stream->has_secured || stream->is_handshaking)
		return false;
	if (stream->has_rest)
		take_rest(stream);
	return take_flag(&stream->has_data);
}

static bool
next_event(struct stream *stream, enum stream_event *event_out)
{
	if (stream->has_failed && next_of_rest(stream)) {
		*event_out = STREAM_DATA;
	} else if (stream->has_failed) {
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

void
stream_deliver(struct stream *stream)
{
	enum stream_event event;

	ASSERT(!stream->in_event);
	stream->in_event = true;
	do {
		while (stream->event != NULL && next_event(stream, &event))
			stream->event(stream->owner, event);
		if (stream->event != NULL)
			stream_flush(stream);
	} while (stream->event != NULL && stream->has_failed &&
		 !stream->failed_told);
	stream->in_event = false;
	if (stream->event == NULL) {
		stream->borrowed = SLICE_NONE;
		return;
	}
	settle_input(stream);
	stream_update_reading(stream);
}

static void
on_turn(uv_timer_t *timer)
{
	struct stream *stream = timer->data;

	if (stream->event != NULL)
		stream_deliver(stream);
}

static void on_deadline(uv_timer_t *timer);

static void
deadline_watch(struct stream *stream)
{
	uint64_t now_ms = uv_now(stream->deadline.loop);

	stream->timer_ms = stream->deadline_ms;
	ASSERT(uv_timer_start(&stream->deadline, on_deadline,
			      stream->deadline_ms > now_ms
				      ? stream->deadline_ms - now_ms
				      : 0,
			      0) == 0);
}

void
stream_deadline_start(struct stream *stream, uint64_t timeout_ms)
{
	stream->deadline_ms = uv_now(stream->deadline.loop) + timeout_ms;
	if (!uv_is_active((uv_handle_t *)&stream->deadline) ||
	    stream->deadline_ms < stream->timer_ms)
		deadline_watch(stream);
}

static void
on_deadline(uv_timer_t *timer)
{
	struct stream *stream = timer->data;

	if (stream->deadline_ms == 0)
		return;
	if (stream->deadline_ms > uv_now(timer->loop)) {
		deadline_watch(stream);
		return;
	}
	stream->deadline_ms = 0;
	if (stream->is_finishing) {
		if (stream->hurry_until_ms != 0)
			stream_hurry(stream);
		else
			stream_destroy(stream);
		return;
	}
	stream->has_expired = true;
	stream_deliver(stream);
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
		/* Nothing behind it means anything, whatever is there to read. */
		stream->has_ended = true;
		/* The alert, as far as the kernel takes it. */
		stream_send_wire(stream);
		stream_take_tls_fault(stream);
		break;
	}
}

static void
take_input(struct stream *stream, struct slice bytes)
{
	if (stream->tls != NULL)
		take_encrypted(stream, bytes);
	else
		take_plain(stream, bytes);
}

static void
take_end(struct stream *stream, int status)
{
	/* libuv has stopped reading by itself, or is to. */
	stream->is_reading = false;
	uv_read_stop(&stream->uv.stream);
	if (status != UV_EOF)
		stream_fail(stream, "read", status);
	else if (stream->is_handshaking)
		stream_fail(stream, "closed during the TLS handshake", status);
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
		stream_finish_on(stream);
		return;
	}
	if (count < 0)
		take_end(stream, (int)count);
	else
		take_input(stream, slice_of(buffer->base, (size_t)count));
	stream_deliver(stream);
}

/* --- what the owner asks for --- */

static void
secure(struct stream *stream, struct tls *tls)
{
	ASSERT(stream->event != NULL);
	ASSERT(stream->tls == NULL);
	ASSERT(input_len(stream) == 0);
	stream_move_output(stream);
	stream->tls = tls;
	stream->is_handshaking = true;
	stream->has_data = false;
}

void
stream_secure_server(struct stream *stream, struct tls_context *context)
{
	secure(stream, tls_new_server(context));
	if (!stream->in_event)
		stream_flush(stream);
}

void
stream_secure_server_begun(struct stream *stream, struct tls_context *context)
{
	CLEAN(text_done) struct text begun = {0};

	text_add(&begun, stream_input(stream));
	stream_consume(stream, begun.len);
	secure(stream, tls_new_server(context));
	if (begun.len > 0)
		take_encrypted(stream, text_slice(&begun));
	if (!stream->in_event)
		stream_flush(stream);
	stream_tell_later(stream);
}

void
stream_secure_client(struct stream *stream, const struct tls_client *client)
{
	secure(stream, tls_new_client(client));
	if (tls_send(stream->tls, SLICE_NONE, &stream->wire) != TLS_OK)
		stream_take_tls_fault(stream);
	if (!stream->in_event)
		stream_flush(stream);
	if (stream->has_failed)
		stream_tell_later(stream);
}

const struct tls *
stream_tls(const struct stream *stream)
{
	return stream->is_handshaking ? NULL : stream->tls;
}

bool
stream_take_session(struct stream *stream, struct text *session_out)
{
	return stream->tls != NULL && !stream->is_handshaking &&
	       tls_take_session(stream->tls, session_out);
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
		stream_update_reading(stream);
	}
}

void
stream_deadline(struct stream *stream, uint64_t timeout_ms)
{
	ASSERT(stream->event != NULL);
	ASSERT(timeout_ms > 0);
	stream->has_expired = false;
	stream_deadline_start(stream, timeout_ms);
}

void
stream_deadline_clear(struct stream *stream)
{
	ASSERT(stream->event != NULL);
	stream->has_expired = false;
	stream->deadline_ms = 0;
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
		stream_tell_later(stream);
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

void
stream_close(struct stream **stream)
{
	struct stream *closed = TAKE(*stream);

	ASSERT(closed->event != NULL);
	stream_destroy(closed);
}

void
stream_reset(struct stream **stream)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	uv_os_fd_t descriptor;

	if (uv_fileno(&(*stream)->uv.handle, &descriptor) == 0)
		(void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once,
				 sizeof(at_once));
	stream_close(stream);
}
