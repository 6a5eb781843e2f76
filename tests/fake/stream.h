/*
 * A stream whose other end is the test: one at a time.
 */
#ifndef TESTS_FAKE_STREAM_H
#define TESTS_FAKE_STREAM_H

#include "relay/net/stream.h"

/* stream_connect() got through. */
void fake_stream_connect(void);
/* The next stream_accept() comes from there. */
void fake_stream_from(const char *address);
bool fake_stream_is_open(void);
/* Arrive in one segment; what cannot be delivered yet waits. */
void fake_stream_send(struct slice bytes);
/* Tells what waits since stream_resume(). True if there was anything. */
bool fake_stream_turn(void);
/* The handshake that was asked for succeeds. */
bool fake_stream_is_handshaking(void);
void fake_stream_secure(void);
/* The certificate that the next client shows: its fingerprint is so many times
 * the first octet, of its key so many times the second one. "signed" by a known
 * authority, "expired", and whom it names. */
void fake_stream_certificate(const char *octets, const char *state,
			     const char *name);
/* Time passes; the deadline is told when it is over. */
void fake_stream_pass(uint64_t ms);
void fake_stream_vanish(void); /* reset by the peer */
void fake_stream_end(void);    /* no more from the peer */
/* What was written since the last call to _forget(). */
struct slice fake_stream_output(void);
void fake_stream_consume(size_t len);
/* Whether the peer reads what it is sent: so it does at first. */
void fake_stream_reads(bool reads);
/* So much of what it has not read it reads now. */
void fake_stream_takes(size_t len);
/* It was left so that the peer gets no more. */
bool fake_stream_was_reset(void);
void fake_stream_forget(void);

#endif
