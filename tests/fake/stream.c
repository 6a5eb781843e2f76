#include "tests/fake/stream.h"

#include <stdlib.h>

#include "relay/limits.h"
#include "tests/fake/clock.h"

struct stream {
	stream_fn *event;
	void *owner;
	struct text input;
	bool is_paused, has_data, has_ended, is_handshaking, is_secured;
	bool in_event, is_above_high;
	size_t output_high, waiting; /* of what the peer has not read */
	uint64_t deadline_ms;
	struct address peer;
	struct fault fault;
};

static struct stream *current;
static bool is_deaf, was_reset;
static struct text output;
static struct address next_peer;
static struct {
	char octets[3], state[16], name[64];
} certificate;

void
fake_stream_from(const char *address)
{
	ASSERT(address_parse_host(SLICE(address), 40000, &next_peer));
}

bool
stream_accept(struct loop *loop, int descriptor, stream_fn *event, void *owner,
	      struct stream **stream_out, struct fault *fault)
{
	struct stream *stream;

	(void)loop;
	if (descriptor < 0)
		return fault_set(fault, FAULT_SYSTEM, "no descriptor");
	ASSERT(current == NULL);
	stream = memory_new(sizeof(*stream));
	stream->event = event;
	stream->owner = owner;
	stream->peer = next_peer;
	stream->output_high = STREAM_OUTPUT_HIGH;
	current = stream;
	*stream_out = stream;
	return true;
}

bool
stream_connect(struct loop *loop, const struct stream_way *way,
	       stream_fn *event, void *owner, struct stream **stream_out,
	       struct fault *fault)
{
	next_peer = *way->to;
	return stream_accept(loop, 0, event, owner, stream_out, fault);
}

bool
fake_stream_is_open(void)
{
	return current != NULL;
}

static void
tell(enum stream_event event)
{
	struct stream *stream = current;

	ASSERT(!stream->in_event);
	if (!is_deaf && !stream->is_above_high)
		stream->waiting = 0;
	stream->in_event = true;
	stream->event(stream->owner, event);
	if (current == stream)
		stream->in_event = false;
}

void
fake_stream_send(struct slice bytes)
{
	if (current == NULL)
		return;
	text_add(&current->input, bytes);
	current->has_data = true;
	fake_stream_turn();
}

bool
fake_stream_turn(void)
{
	if (current == NULL)
		return false;
	if (current->is_above_high && !is_deaf) {
		current->is_above_high = false;
		current->waiting = 0;
		tell(STREAM_DRAINED);
		return true;
	}
	if (current->is_paused || current->is_handshaking)
		return false;
	if (current->has_data && current->input.len > 0) {
		current->has_data = false;
		tell(STREAM_DATA);
		return true;
	}
	if (current->has_ended) {
		current->has_ended = false;
		tell(STREAM_ENDED);
		return true;
	}
	return false;
}

void
fake_stream_pass(uint64_t ms)
{
	fake_clock_pass(ms);
	if (current == NULL || current->deadline_ms == 0 ||
	    clock_now_ms() < current->deadline_ms)
		return;
	current->deadline_ms = 0;
	tell(STREAM_EXPIRED);
}

void
fake_stream_vanish(void)
{
	if (current == NULL)
		return;
	fault_set(&current->fault, FAULT_SYSTEM, "connection reset by peer");
	tell(STREAM_FAILED);
}

void
fake_stream_end(void)
{
	if (current == NULL)
		return;
	current->has_ended = true;
	fake_stream_turn();
}

void
fake_stream_connect(void)
{
	tell(STREAM_CONNECTED);
}

bool
fake_stream_is_handshaking(void)
{
	return current != NULL && current->is_handshaking;
}

void
fake_stream_secure(void)
{
	current->is_handshaking = false;
	current->is_secured = true;
	tell(STREAM_SECURED);
	fake_stream_turn();
}

struct slice
fake_stream_output(void)
{
	return text_slice(&output);
}

void
fake_stream_consume(size_t len)
{
	text_drop_front(&output, len);
}

void
fake_stream_reads(bool reads)
{
	is_deaf = !reads;
}

void
fake_stream_takes(size_t len)
{
	ASSERT(len <= current->waiting);
	current->waiting -= len;
}

bool
fake_stream_was_reset(void)
{
	return was_reset;
}

void
fake_stream_forget(void)
{
	is_deaf = was_reset = false;
	text_done(&output);
	memset(&certificate, 0, sizeof(certificate));
}

void
fake_stream_certificate(const char *octets, const char *state,
			const char *name)
{
	snprintf(certificate.octets, sizeof(certificate.octets), "%s", octets);
	snprintf(certificate.state, sizeof(certificate.state), "%s", state);
	snprintf(certificate.name, sizeof(certificate.name), "%s", name);
}

/* --- the interface --- */

void
stream_secure_server(struct stream *stream, struct tls_context *context)
{
	ASSERT(context != NULL);
	ASSERT(stream->input.len == 0);
	stream->is_handshaking = true;
}

/* Nobody sends a handshake here: `tls` in a dialogue says that it is done. What
 * has come of it is not for the session to see. */
void
stream_secure_server_begun(struct stream *stream, struct tls_context *context)
{
	text_clear(&stream->input);
	stream_secure_server(stream, context);
}

void
stream_secure_client(struct stream *stream, const struct tls_client *client)
{
	ASSERT(client->server_name.len > 0);
	ASSERT(stream->input.len == 0);
	stream->is_handshaking = true;
}

bool
stream_take_session(struct stream *stream, struct text *session_out)
{
	(void)stream;
	(void)session_out;
	return false;
}

const struct tls *
stream_tls(const struct stream *stream)
{
	return stream->is_secured ? (const struct tls *)stream : NULL;
}

bool
tls_is_legacy(const struct tls *tls)
{
	(void)tls;
	return false;
}

bool
tls_satisfies(const struct tls *tls, const struct tls_context *context)
{
	ASSERT(tls != NULL && context != NULL);
	return strcmp(certificate.state, "old") != 0;
}

const char *
tls_version(const struct tls *tls)
{
	(void)tls;
	return "TLSv1.3";
}

const char *
tls_cipher(const struct tls *tls)
{
	(void)tls;
	return "TLS_AES_256_GCM_SHA384";
}

bool
tls_peer_fingerprints(const struct tls *tls,
		      uint8_t certificate_out[TLS_FINGERPRINT],
		      uint8_t key_out[TLS_FINGERPRINT])
{
	ASSERT(tls != NULL);
	memset(certificate_out, certificate.octets[0], TLS_FINGERPRINT);
	memset(key_out, certificate.octets[1], TLS_FINGERPRINT);
	return certificate.octets[0] != 0;
}

const char *
tls_peer_time_fault(const struct tls *tls)
{
	ASSERT(tls != NULL);
	return strcmp(certificate.state, "expired") == 0 ? "expired" : NULL;
}

const char *
tls_peer_chain_fault(const struct tls *tls, const struct tls_context *context)
{
	ASSERT(tls != NULL && context != NULL);
	return strcmp(certificate.state, "signed") == 0 ? NULL : "unknown CA";
}

bool
tls_peer_name(const struct tls *tls, struct text *name_out)
{
	ASSERT(tls != NULL);
	text_add_string(name_out, certificate.name);
	return certificate.name[0] != 0;
}

struct slice
stream_input(const struct stream *stream)
{
	return text_slice(&stream->input);
}

void
stream_consume(struct stream *stream, size_t count)
{
	ASSERT(stream == current);
	text_drop_front(&stream->input, count);
}

bool
stream_write(struct stream *stream, struct slice bytes)
{
	ASSERT(stream == current);
	text_add(&output, bytes);
	stream->waiting += bytes.len;
	if (stream->waiting > stream->output_high)
		stream->is_above_high = true;
	return !stream->is_above_high;
}

void
stream_bound_output(struct stream *stream, size_t high)
{
	stream->output_high = high;
}

bool
stream_write_parts(struct stream *stream, const struct slice *parts,
		   size_t count)
{
	bool has_room = true;

	ASSERT(count <= STREAM_PARTS_MAX);
	for (size_t i = 0; i < count; i++)
		has_room = stream_write(stream, parts[i]);
	return has_room;
}

void
stream_deadline(struct stream *stream, uint64_t timeout_ms)
{
	ASSERT(timeout_ms > 0);
	stream->deadline_ms = clock_now_ms() + timeout_ms;
}

void
stream_deadline_clear(struct stream *stream)
{
	stream->deadline_ms = 0;
}

size_t
stream_output_len(const struct stream *stream)
{
	ASSERT(stream == current);
	return output.len;
}

size_t
stream_unacknowledged(const struct stream *stream)
{
	return stream->waiting;
}

void
stream_pause(struct stream *stream)
{
	stream->is_paused = true;
}

void
stream_resume(struct stream *stream)
{
	if (!stream->is_paused)
		return;
	stream->is_paused = false;
	stream->has_data = true;
}

const struct fault *
stream_fault(const struct stream *stream)
{
	return &stream->fault;
}

const struct address *
stream_peer(const struct stream *stream)
{
	return &stream->peer;
}

void
stream_close(struct stream **stream)
{
	struct stream *closed = TAKE(*stream);

	ASSERT(closed == current);
	current = NULL;
	text_done(&closed->input);
	free(closed);
}

void
stream_reset(struct stream **stream)
{
	was_reset = true;
	stream_close(stream);
}

/* Nobody asks here. */
void
stream_on_closed(struct stream *stream, void (*closed)(void *owner),
		 void *owner)
{
	(void)stream;
	(void)closed;
	(void)owner;
	abort();
}

void
stream_finish(struct stream **stream)
{
	stream_close(stream);
}

void
stream_part(struct stream **stream)
{
	stream_close(stream);
}
