#include "relay/net/stream_private.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "relay/limits.h"

/* Memory that an idle stream keeps for its next reply. */
#define OUTPUT_KEPT 512

static void on_written(uv_write_t *write, int status);

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

void
stream_take_tls_fault(struct stream *stream)
{
	if (stream->has_failed)
		return;
	stream->fault = *tls_fault(stream->tls);
	stream->has_failed = true;
}

/* output -> wire */
void
stream_move_output(struct stream *stream)
{
	/* Of a message behind the handshake, such as a ticket or KeyUpdate, a
	 * part may be there: until the rest is, nothing can be sent. */
	if (stream->output.len == 0 || stream->is_handshaking ||
	    (stream->tls != NULL && !stream->has_failed &&
	     !tls_is_established(stream->tls)))
		return;
	if (stream->tls != NULL) {
		if (stream->has_failed ||
		    tls_send(stream->tls, text_slice(&stream->output),
			     &stream->wire) != TLS_OK)
			stream_take_tls_fault(stream);
	} else if (stream->wire.len == 0) {
		swap(&stream->wire, &stream->output);
	} else {
		text_add(&stream->wire, text_slice(&stream->output));
	}
	forget_sent(&stream->output);
}

/* Output fell to the low mark without the loop's help: it tells soon. */
static void
note_drained(struct stream *stream)
{
	if (!stream->is_above_high ||
	    stream_output_len(stream) > STREAM_OUTPUT_LOW(stream->output_high))
		return;
	stream->is_above_high = false;
	stream->has_drained = true;
	stream_turn_later(stream);
}

/* As uv_try_write(); the last bytes wait for the FIN that follows, to go out
 * with it. */
static int
try_send(struct stream *stream)
{
	uv_buf_t buffer = uv_buf_init(stream->wire.bytes,
				      (unsigned)stream->wire.len);
	uv_os_fd_t descriptor;
	ssize_t sent;

	if (!stream->is_finishing ||
	    uv_fileno(&stream->uv.handle, &descriptor) != 0)
		return uv_try_write(&stream->uv.stream, &buffer, 1);
	do {
		sent = send(descriptor, buffer.base, buffer.len,
			    MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? uv_translate_sys_error(errno) : (int)sent;
}

/* What the kernel takes at once, straight from wire: nearly every reply goes
 * this way, which saves the loop a round and an epoll_ctl(2). */
static bool
send_at_once(struct stream *stream)
{
	int status = try_send(stream);

	if (status < 0 && status != UV_EAGAIN) {
		stream_fail_write(stream, status);
		text_clear(&stream->wire);
	} else if (status > 0 && (size_t)status < stream->wire.len) {
		text_drop_front(&stream->wire, (size_t)status);
	} else if (status > 0) {
		forget_sent(&stream->wire);
	}
	return stream->wire.len == 0;
}

/* wire -> sending, as far as the kernel does not take it right away */
void
stream_send_wire(struct stream *stream)
{
	uv_buf_t buffer;
	int status;

	if (stream->wire.len == 0 || stream->is_sending ||
	    stream->is_connecting || stream->is_closed)
		return;
	if (!stream->is_full && send_at_once(stream)) {
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
		stream_fail_write(stream, status);
	}
}

void
stream_flush(struct stream *stream)
{
	if (stream->is_connecting || stream->is_closed)
		return;
	stream_move_output(stream);
	stream_send_wire(stream);
}

size_t
stream_output_len(const struct stream *stream)
{
	return stream->output.len + stream->wire.len +
	       uv_stream_get_write_queue_size(&stream->uv.stream);
}

size_t
stream_unacknowledged(const struct stream *stream)
{
	uv_os_fd_t descriptor;
	int kept = 0;

	if (uv_fileno(&stream->uv.handle, &descriptor) != 0 ||
	    ioctl(descriptor, TIOCOUTQ, &kept) != 0 || kept < 0)
		kept = 0;
	return stream_output_len(stream) + (size_t)kept;
}

static void
on_written(uv_write_t *write, int status)
{
	struct stream *stream = write->data;

	stream->is_sending = stream->is_full = false;
	if (stream->is_closed)
		return;
	forget_sent(&stream->sending);
	if (status < 0) {
		if (stream->is_finishing) {
			stream_destroy(stream);
			return;
		}
		stream_fail_write(stream, status);
	}
	if (!stream->has_failed)
		stream_flush(stream);
	if (stream->is_finishing) {
		stream_finish_on(stream);
		return;
	}
	note_drained(stream);
	stream_deliver(stream);
}

/* So much is worth a system call of its own, and is too much to be copied. */
#define DIRECT_MIN (16 * KIB)

/* From where they are, behind what waits: gives how many bytes of them the
 * kernel has taken. */
static size_t
send_parts(struct stream *stream, const struct slice *parts, size_t count)
{
	uv_buf_t buffers[1 + STREAM_PARTS_MAX];
	struct text *wire = &stream->wire;
	size_t sent = 0, waited;
	int status;

	stream_move_output(stream);
	waited = wire->len;
	buffers[0] = uv_buf_init(wire->bytes, (unsigned)waited);
	for (size_t i = 0; i < count; i++)
		buffers[1 + i] = uv_buf_init((char *)parts[i].bytes,
					     (unsigned)parts[i].len);
	status = uv_try_write(&stream->uv.stream, buffers + (waited == 0),
			      (unsigned)(count + (waited > 0)));
	if (status < 0 && status != UV_EAGAIN)
		stream_fail_write(stream, status);
	else if (status > 0)
		sent = (size_t)status;
	if (sent < waited) {
		text_drop_front(wire, sent);
		return 0;
	}
	forget_sent(wire);
	return sent - waited;
}

static bool
is_direct(const struct stream *stream, size_t len)
{
	return len >= DIRECT_MIN && stream->tls == NULL &&
	       !stream->is_connecting && !stream->is_sending &&
	       !stream->is_full;
}

bool
stream_write_parts(struct stream *stream, const struct slice *parts,
		   size_t count)
{
	size_t len = 0, sent = 0;

	ASSERT(stream->event != NULL);
	ASSERT(count <= STREAM_PARTS_MAX);
	if (stream->has_failed)
		return true; /* FAILED is told, or will be */
	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	if (is_direct(stream, len)) {
		sent = send_parts(stream, parts, count);
		stream->is_full = sent < len;
		stream->is_above_high = sent < len;
	}
	for (size_t i = 0; i < count; i++) {
		text_add(&stream->output, slice_from(parts[i], sent));
		sent -= sent < parts[i].len ? sent : parts[i].len;
	}
	if (!stream->in_event) {
		stream_flush(stream);
		if (stream->has_failed)
			stream_tell_later(stream);
	}
	if (stream_output_len(stream) > stream->output_high)
		stream->is_above_high = true;
	return !stream->is_above_high;
}

void
stream_bound_output(struct stream *stream, size_t high)
{
	stream->output_high = high;
}

bool
stream_write(struct stream *stream, struct slice bytes)
{
	return stream_write_parts(stream, &bytes, 1);
}
