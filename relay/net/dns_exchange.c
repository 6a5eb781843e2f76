#include <stdlib.h>

#include "relay/limits.h"
#include "relay/net/dns_exchange.h"

/* Length, then the packet. */
#define TCP_HEAD 2
#define PACKET_MAX 65535
/* More than DNS_EDNS_SIZE; a longer datagram is dropped. */
#define READ_SIZE (4 * KIB)

struct dns_exchange {
	const struct dns_exchange_events *events;
	void *owner;
	bool is_tcp;
	bool is_over; /* waits for its handles to close */
	const char *start_error;
	unsigned open_handles;
	union {
		uv_handle_t any;
		uv_udp_t udp;
		uv_tcp_t tcp;
		uv_stream_t stream;
	} socket;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	struct text out, in;
};

static void
exchange_closed(uv_handle_t *handle)
{
	struct dns_exchange *exchange = handle->data;

	ASSERT(exchange->open_handles > 0);
	if (--exchange->open_handles > 0)
		return;
	text_done(&exchange->out);
	text_done(&exchange->in);
	free(exchange);
}

static void
exchange_end(struct dns_exchange *exchange)
{
	ASSERT(!exchange->is_over);
	exchange->is_over = true;
	if (exchange->open_handles > 1)
		uv_close(&exchange->socket.any, exchange_closed);
	uv_close((uv_handle_t *)&exchange->timer, exchange_closed);
}

void
dns_exchange_cancel(struct dns_exchange *exchange)
{
	exchange_end(exchange);
}

static void
exchange_fail(struct dns_exchange *exchange, const char *reason)
{
	exchange_end(exchange);
	exchange->events->failed(exchange->owner, reason);
}

/* Whether the owner took it. The owner may have cancelled us while looking at
 * it. */
static bool
exchange_offer(struct dns_exchange *exchange, struct slice packet)
{
	bool is_taken = exchange->events->packet(exchange->owner, packet);

	if (is_taken && !exchange->is_over)
		exchange_end(exchange);
	return is_taken;
}

static void
exchange_timer(uv_timer_t *timer)
{
	struct dns_exchange *exchange = timer->data;

	exchange_fail(exchange, exchange->start_error != NULL
					? exchange->start_error
					: "time-out");
}

/* One buffer is enough: each packet is looked at before the next is read. */
static void
buffer_give(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct dns_exchange *exchange = handle->data;
	size_t size = READ_SIZE;

	(void)suggested;
	if (!exchange->is_tcp)
		text_clear(&exchange->in);
	*buffer = uv_buf_init(text_room(&exchange->in, size),
			      (unsigned)size);
}

static void
udp_received(uv_udp_t *udp, ssize_t count, const uv_buf_t *buffer,
	     const struct sockaddr *from, unsigned flags)
{
	struct dns_exchange *exchange = udp->data;

	if (exchange->is_over)
		return;
	if (count < 0) {
		exchange_fail(exchange, count == UV_ECONNREFUSED
						? "connection refused"
						: "network error");
		return;
	}
	if (from == NULL || (flags & UV_UDP_PARTIAL) != 0)
		return;
	exchange_offer(exchange, slice_of(buffer->base, (size_t)count));
}

static const char *
udp_start(struct dns_exchange *exchange, struct loop *loop,
	  const struct address *resolver)
{
	uv_udp_t *udp = &exchange->socket.udp;
	uv_buf_t buffer = uv_buf_init(exchange->out.bytes,
				      (unsigned)exchange->out.len);

	if (uv_udp_init_ex(&loop->uv, udp, resolver->any.sa_family) != 0)
		return "no socket";
	udp->data = exchange;
	exchange->open_handles++;
	if (uv_udp_connect(udp, &resolver->any) != 0)
		return "resolver cannot be reached";
	if (uv_udp_recv_start(udp, buffer_give, udp_received) != 0)
		return "cannot read from the socket";
	if (uv_udp_try_send(udp, &buffer, 1, NULL) < 0)
		return "resolver cannot be reached";
	return NULL;
}

static void
tcp_received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct dns_exchange *exchange = stream->data;
	const uint8_t *head;
	size_t len;

	(void)buffer;
	if (exchange->is_over || count == 0)
		return;
	if (count < 0) {
		exchange_fail(exchange, "connection lost");
		return;
	}
	text_added(&exchange->in, (size_t)count);
	if (exchange->in.len < TCP_HEAD)
		return;
	head = (const uint8_t *)exchange->in.bytes;
	len = (size_t)head[0] << 8 | head[1];
	if (exchange->in.len < TCP_HEAD + len)
		return;
	if (!exchange_offer(exchange,
			    slice_of(exchange->in.bytes + TCP_HEAD, len)))
		exchange_fail(exchange, "answer to another question");
}

static void
tcp_written(uv_write_t *request, int status)
{
	struct dns_exchange *exchange = request->data;

	if (status != 0 && !exchange->is_over)
		exchange_fail(exchange, "connection lost");
}

static void
tcp_connected(uv_connect_t *request, int status)
{
	struct dns_exchange *exchange = request->data;
	uv_buf_t buffer = uv_buf_init(exchange->out.bytes,
				      (unsigned)exchange->out.len);

	if (exchange->is_over)
		return;
	exchange->write.data = exchange;
	if (status != 0 ||
	    uv_read_start(&exchange->socket.stream, buffer_give,
			  tcp_received) != 0 ||
	    uv_write(&exchange->write, &exchange->socket.stream, &buffer, 1,
		     tcp_written) != 0)
		exchange_fail(exchange, "no connection over TCP");
}

static const char *
tcp_start(struct dns_exchange *exchange, struct loop *loop,
	  const struct address *resolver)
{
	uv_tcp_t *tcp = &exchange->socket.tcp;

	if (uv_tcp_init(&loop->uv, tcp) != 0)
		return "no socket";
	tcp->data = exchange;
	exchange->open_handles++;
	exchange->connect.data = exchange;
	if (uv_tcp_connect(&exchange->connect, tcp, &resolver->any,
			   tcp_connected) != 0)
		return "no connection over TCP";
	return NULL;
}

struct dns_exchange *
dns_exchange_start(struct loop *loop, const struct address *resolver,
		   bool is_tcp, struct slice packet,
		   const struct dns_exchange_events *events, void *owner)
{
	struct dns_exchange *exchange = memory_new(sizeof(*exchange));

	ASSERT(packet.len <= PACKET_MAX);
	exchange->events = events;
	exchange->owner = owner;
	exchange->is_tcp = is_tcp;
	uv_timer_init(&loop->uv, &exchange->timer);
	exchange->timer.data = exchange;
	exchange->open_handles = 1;
	if (is_tcp) {
		text_add_byte(&exchange->out, (char)(packet.len >> 8));
		text_add_byte(&exchange->out, (char)(packet.len & 0xff));
	}
	text_add(&exchange->out, packet);
	exchange->start_error = is_tcp ? tcp_start(exchange, loop, resolver)
				       : udp_start(exchange, loop, resolver);
	/* What fails here is told from the loop too. */
	uv_timer_start(&exchange->timer, exchange_timer,
		       exchange->start_error != NULL ? 0 : DNS_TIMEOUT_MS, 0);
	return exchange;
}
