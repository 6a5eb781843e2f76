#include <errno.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/net/loop.h"
#include "relay/net/stream_private.h"

static struct stream *
stream_new(struct loop *loop, int family, stream_fn *event, void *owner)
{
	struct stream *stream = memory_new(sizeof(*stream));

	ASSERT(event != NULL);
	stream->event = event;
	stream->owner = owner;
	stream->output_high = STREAM_OUTPUT_HIGH;
	list_init(&stream->farewell.link);
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

/* All zero of a TCP client who has gone already. */
static struct address
peer_of(int descriptor)
{
	struct address peer = {.len = sizeof(peer.local)};

	if (getpeername(descriptor, &peer.any, &peer.len) != 0)
		return (struct address){0};
	address_unmap(&peer);
	return peer;
}

bool
stream_accept(struct loop *loop, int descriptor, stream_fn *event, void *owner,
	      struct stream **stream_out, struct fault *fault)
{
	struct address peer = peer_of(descriptor);
	struct stream *stream;
	int status;

	stream = stream_new(loop, peer.any.sa_family, event, owner);
	stream->peer_address = peer;
	if (peer.any.sa_family == AF_UNIX)
		status = uv_pipe_open(&stream->uv.local, descriptor);
	else
		status = uv_tcp_open(&stream->uv.tcp, descriptor);
	if (status != 0) {
		close(descriptor);
		stream_destroy(stream);
		return fault_set(fault, FAULT_SYSTEM, "accepted socket: %s",
				 uv_strerror(status));
	}
	if (peer.any.sa_family != AF_UNIX)
		uv_tcp_nodelay(&stream->uv.tcp, 1);
	stream_update_reading(stream);
	*stream_out = stream;
	return true;
}

static void
on_connected(uv_connect_t *connect, int status)
{
	struct stream *stream = connect->handle->data;

	if (stream->is_closed)
		return;
	stream->is_connecting = false;
	if (status < 0) {
		stream_fail(stream, "connect", status);
	} else {
		stream->has_connected = true;
		if (stream->uv.handle.type == UV_TCP)
			uv_tcp_nodelay(&stream->uv.tcp, 1);
	}
	stream_deliver(stream);
}

/* The port is chosen with the peer, by connect(): else all connections from
 * this address would share one range of ports, whoever they go to. 0, or why
 * not, as libuv has it. */
static int
take_source(struct stream *stream, const struct address *from)
{
	int descriptor = socket(from->any.sa_family,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, status;

	if (descriptor < 0)
		return uv_translate_sys_error(errno);
	(void)setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
			 sizeof(on));
	if (bind(descriptor, &from->any, from->len) != 0) {
		status = uv_translate_sys_error(errno);
		close(descriptor);
		return status;
	}
	/* A socket of our own making, to a handle without one. */
	ASSERT(uv_tcp_open(&stream->uv.tcp, descriptor) == 0);
	return 0;
}

static void
source_fail(struct stream *stream, const struct address *from, int status)
{
	char text[ADDRESS_TEXT_SIZE];

	stream_fail(stream, "bind", status);
	address_write_host(from, text);
	fault_set(&stream->fault, FAULT_SYSTEM, "bind %s: %s", text,
		  status == UV_EADDRNOTAVAIL
			  ? "this machine does not have that address now"
			  : uv_strerror(status));
	/* Without the address another host may do, of the other family; without
	 * descriptors none will. */
	if (status != UV_EADDRNOTAVAIL)
		stream->fault.system = -status;
}

bool
stream_connect(struct loop *loop, const struct stream_way *way,
	       stream_fn *event, void *owner, struct stream **stream_out,
	       struct fault *fault)
{
	const struct address *to = way->to;
	struct stream *stream;
	int status = 0;

	if (to->any.sa_family != AF_UNIX && to->any.sa_family != AF_INET &&
	    to->any.sa_family != AF_INET6)
		return fault_set(fault, FAULT_INPUT,
				 "no address to connect to");
	stream = stream_new(loop, to->any.sa_family, event, owner);
	stream->peer_address = *to;
	stream->is_connecting = true;
	if (way->from != NULL)
		status = take_source(stream, way->from);
	if (status != 0)
		source_fail(stream, way->from, status);
	else if (to->any.sa_family == AF_UNIX)
		uv_pipe_connect(&stream->request.connect, &stream->uv.local,
				to->local.sun_path, on_connected);
	else
		status = uv_tcp_connect(&stream->request.connect,
					&stream->uv.tcp, &to->any,
					on_connected);
	if (status != 0) {
		/* No callback follows: the loop tells it. */
		stream_fail(stream, "connect", status);
		stream_tell_later(stream);
	}
	*stream_out = stream;
	return true;
}
