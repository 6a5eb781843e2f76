/*
 * stream - one TCP connection, plain or TLS, seen as a few kinds of event.
 *
 * Turns libuv callbacks and TLS states into events delivered one at a time to
 * one function. No other module of relay/ touches a uv_stream_t, so everything
 * above is tested with tests/fake/stream.c linked in place of stream.c.
 *
 * Ownership   stream_accept() and stream_connect() hand a stream to the
 *             caller; stream_close() and stream_finish() hand it back and clear
 *             the caller's pointer. No event arrives after that. The memory is
 *             freed once libuv has reported every embedded handle closed.
 * Bytes       stream_input() stays valid until the next stream_consume() or
 *             return to the loop. What is written is copied, unless the kernel
 *             takes it right away. What is written while an event is being
 *             handled is sent in one go when the handler returns (corked), but
 *             for much at once, which goes as soon as it is written.
 * Events      Come from the loop, never from inside a call to stream_*().
 *             After STREAM_DATA was delivered and part of the input was left,
 *             no further event comes until more bytes arrive or stream_resume()
 *             is called (which then delivers STREAM_DATA from the loop if input
 *             is there).
 * Errors      Peer trouble is STREAM_FAILED plus stream_fault(), never a
 *             return value. Calling anything on a closed stream is a bug.
 * Thread      The loop's only.
 */
#ifndef RELAY_NET_STREAM_H
#define RELAY_NET_STREAM_H

#include "base/fault.h"
#include "base/slice.h"
#include "relay/net/address.h"
#include "relay/net/loop.h"
#include "relay/net/tls.h"

enum stream_event {
	STREAM_CONNECTED, /* stream_connect() got through */
	STREAM_DATA,      /* stream_input() has grown */
	STREAM_DRAINED,   /* output fell to the low mark: produce more */
	STREAM_SECURED,   /* the TLS handshake is complete */
	STREAM_ENDED,     /* the peer will send no more (all input delivered) */
	STREAM_EXPIRED,   /* the deadline passed */
	STREAM_FAILED,    /* stream_fault() says why; also a failed handshake.
			     What the peer had said before a write failed comes
			     first, unless the stream is paused */
};

struct stream;
typedef void stream_fn(void *owner, enum stream_event event);

/* Takes a connected, nonblocking socket (TCP or Unix). */
bool stream_accept(struct loop *loop, int descriptor, stream_fn *event,
		   void *owner, struct stream **stream_out,
		   struct fault *fault) MUST_USE;
struct stream_way {
	const struct address *to;
	const struct address *from; /* of to's family, no port; NULL: the
				       kernel's choice */
};
/* CONNECTED or FAILED follows, also where the machine does not have `from`; the
 * deadline is the caller's to set. */
bool stream_connect(struct loop *loop, const struct stream_way *way,
		    stream_fn *event, void *owner, struct stream **stream_out,
		    struct fault *fault) MUST_USE;

/* Handshake; SECURED or FAILED follows. Asserts that no input is waiting: who
 * calls has made sure (RFC 3207 4.2, injection). Output already written goes
 * out in clear first. The context is kept alive by the caller's generation
 * reference or by SSL's own count. */
void stream_secure_server(struct stream *stream, struct tls_context *context);
void stream_secure_client(struct stream *stream,
			  const struct tls_client *client);
/* The same where the input that waits is the handshake's beginning: behind what
 * a proxy says before it. */
void stream_secure_server_begun(struct stream *stream,
				struct tls_context *context);
const struct tls *stream_tls(const struct stream *stream); /* NULL: plain */
/* As tls_take_session(); false also where there is no TLS. */
bool stream_take_session(struct stream *stream, struct text *session_out);

struct slice stream_input(const struct stream *stream);
void stream_consume(struct stream *stream, size_t count);

/* Takes the bytes. False once the queue is above its high mark, or the kernel
 * has taken only a part of much at once: the bytes are kept, but the caller
 * must now wait for STREAM_DRAINED. */
bool stream_write(struct stream *stream, struct slice bytes);
/* Another high mark than STREAM_OUTPUT_HIGH. */
void stream_bound_output(struct stream *stream, size_t high);
/* The same of several, one behind the other; at most STREAM_PARTS_MAX. */
#define STREAM_PARTS_MAX 64
bool stream_write_parts(struct stream *stream, const struct slice *parts,
			size_t count);
/* Bytes queued here or in libuv and not yet taken by the kernel. */
size_t stream_output_len(const struct stream *stream);
/* Those, and what the kernel has of them until the peer's has acknowledged it. */
size_t stream_unacknowledged(const struct stream *stream);

/* The single deadline; a new call replaces it. 0 is not allowed. */
void stream_deadline(struct stream *stream, uint64_t timeout_ms);
void stream_deadline_clear(struct stream *stream);

void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

const struct fault *stream_fault(const struct stream *stream);
const struct address *stream_peer(const struct stream *stream);

/* Called once the descriptor is closed, from inside whatever closes it; outlasts
 * the stream's other events. Once for each stream. */
void stream_on_closed(struct stream *stream, void (*closed)(void *owner),
		      void *owner);

/* Goes at once; what the kernel has taken by then it goes on sending. */
void stream_close(struct stream **stream);
/* The same, but the peer gets no more. */
void stream_reset(struct stream **stream);
/* Writes out what is queued, sends close_notify, shuts down and closes, within
 * STREAM_FINISH_MS, or STREAM_HURRY_MS once the loop is to end. */
void stream_finish(struct stream **stream);
/* The same where the peer has said that it is done, and so need not be waited
 * for: the kernel does the rest. */
void stream_part(struct stream **stream);

#endif
