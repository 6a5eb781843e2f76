#include "relay/net/stream_private.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "relay/limits.h"

static void
on_shut_down(uv_shutdown_t *shutdown, int status)
{
	struct stream *stream = shutdown->handle->data;

	if (stream->is_closed)
		return;
	stream->is_shut_down = true;
	if (status < 0)
		stream->has_ended = true; /* nobody is there to wait for */
	stream_finish_on(stream);
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

void
stream_finish_on(struct stream *stream)
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
		stream_send_wire(stream);
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

/* Whether bytes of the peer are there, which a close would answer with a reset. */
static bool
has_unread(const struct stream *stream)
{
	uv_os_fd_t descriptor;
	char byte;

	return uv_fileno(&stream->uv.handle, &descriptor) == 0 &&
	       recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Whether all that was said has come to the peer's kernel, and so whatever he
 * had sent before has come here. */
static bool
has_arrived(const struct stream *stream)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uv_os_fd_t descriptor;

	return uv_fileno(&stream->uv.handle, &descriptor) != 0 ||
	       getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
	       (info.tcpi_state != TCP_ESTABLISHED &&
		info.tcpi_state != TCP_FIN_WAIT1);
}

void
stream_hurry(struct stream *stream)
{
	if (uv_now(stream->deadline.loop) >= stream->hurry_until_ms ||
	    (stream->is_shut_down && has_arrived(stream) &&
	     !has_unread(stream)))
		stream_destroy(stream);
	else
		stream_deadline_start(stream, STREAM_HURRY_LOOK_MS);
}

/* The loop waits for nobody else. */
static void
on_hurry(struct farewell *farewell)
{
	struct stream *stream = CONTAINER(farewell, struct stream, farewell);

	stream->hurry_until_ms = uv_now(stream->deadline.loop) +
				 STREAM_HURRY_MS;
	stream_hurry(stream);
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
	stream_deadline_start(finished, STREAM_FINISH_MS);
	stream_flush(finished);
	if (finished->is_parting && finished->wire.len == 0 &&
	    !finished->is_sending) {
		stream_destroy(finished);
		return;
	}
	stream_update_reading(finished);
	stream_finish_on(finished);
	if (!finished->is_closed)
		loop_farewell(finished->deadline.loop->data,
			      &finished->farewell, on_hurry);
}

void
stream_part(struct stream **stream)
{
	/* Behind what it has said the peer's close_notify is still to come. */
	(*stream)->is_parting =
		(*stream)->tls == NULL && stream_input(*stream).len == 0;
	stream_finish(stream);
}
