/*
 * stream_private - what stream.c, stream_open.c, stream_output.c and
 * stream_finish.c share of a stream.
 */
#ifndef RELAY_NET_STREAM_PRIVATE_H
#define RELAY_NET_STREAM_PRIVATE_H

#include "relay/net/stream.h"
#include "relay/net/tls.h"

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
	/* By the loop's clock; 0: none. The timer comes no later, and looks. */
	uint64_t deadline_ms, timer_ms;
	uint64_t hurry_until_ms; /* likewise; 0: the loop is not to end */
	union {
		uv_connect_t connect;
		uv_shutdown_t shutdown;
	} request;
	uv_write_t write;
	unsigned open_handles;
	struct farewell farewell; /* of its loop, while it is finishing */

	stream_fn *event; /* NULL: closed or finishing */
	void *owner;
	void (*closed)(void *owner); /* NULL: nobody asks */
	void *closed_owner;

	struct slice borrowed;
	struct text kept;
	size_t kept_used;
	struct text output, wire, sending;
	size_t output_high;
	struct tls *tls;

	/* What is still to be told. */
	bool has_failed, has_connected, has_secured, has_drained, has_expired;
	bool has_data, has_ended;
	bool failed_told, ended_told;
	bool has_rest; /* a write failed: what the peer said before may still
			  be there to be read */

	bool in_event, is_paused, is_reading, is_connecting, is_sending;
	bool is_handshaking, is_above_high;
	bool is_full; /* the kernel has just taken less than it was given */
	bool is_finishing, is_parting, is_shutting_down, is_shut_down, is_closed;

	struct address peer_address;
	struct fault fault;
};

/* Closes the handles; the memory goes with the last of them. */
void stream_destroy(struct stream *stream);
/* Starts or stops reading, as the owner and the room for input want it. */
void stream_update_reading(struct stream *stream);
/* Notes what is to be told with STREAM_FAILED. */
void stream_fail(struct stream *stream, const char *what, int status);
/* The same of a write: what the peer has said before is told first. */
void stream_fail_write(struct stream *stream, int status);
/* Has the loop deliver what is to be told, soon; the second one unless that is
 * being done. */
void stream_turn_later(struct stream *stream);
void stream_tell_later(struct stream *stream);
/* Tells the owner all that is to be told; only from a callback of libuv. */
void stream_deliver(struct stream *stream);
/* Nearly every deadline is moved back before it comes: the timer, which costs
 * more to set, is then left as it is. */
void stream_deadline_start(struct stream *stream, uint64_t timeout_ms);

/* --- stream_finish.c --- */

/* The next step of a finish: the rest of the output, close_notify, our FIN,
 * then the peer's. Closing before that, with bytes of the peer unread, would
 * reset the connection and could take our last reply with it. */
void stream_finish_on(struct stream *stream);
/* Who has our last words and says nothing need not be waited for: an idle
 * client may keep its end open for hours. What he said before he had them would
 * be answered with a reset, which could take them back. */
void stream_hurry(struct stream *stream);

/* --- stream_output.c --- */

/* output -> wire -> the kernel, as far as that is possible now. */
void stream_flush(struct stream *stream);
void stream_move_output(struct stream *stream);
void stream_send_wire(struct stream *stream);
void stream_take_tls_fault(struct stream *stream);

#endif
