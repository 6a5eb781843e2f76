/*
 * dialogue - the client's side of an SMTP conversation, for commands: it waits.
 *
 * Who needs more than bytes and replies (TLS) reads `in` and writes `out`
 * himself, between dialogue_flush() and dialogue_fill().
 *
 * Bounds      The connection, each octet sent and each whole reply has wait_ms.
 * Errors      BUSY: it hung up, or took too long; SYSTEM: the connection broke,
 *             or it is no SMTP server.
 */
#ifndef RELAY_NET_DIALOGUE_H
#define RELAY_NET_DIALOGUE_H

#include "relay/net/address.h"
#include "relay/net/reply.h"

struct dialogue {
	/* the caller's, before the first use; zero elsewhere */
	int descriptor;            /* of dialogue_connect(), or -1 */
	uint64_t wait_ms;
	/* its own */
	struct text in, out;       /* unread, unsent */
	struct reply_reader reader;
	struct reply_in reply;     /* the last one */
	bool is_broken;            /* what answers there is no SMTP server */
};

/* from NULL: the kernel's choice. The fault has errno; EINPROGRESS: no answer. */
bool dialogue_connect(const struct address *address,
		      const struct address *from, uint64_t wait_ms,
		      int *descriptor_out, struct fault *fault) MUST_USE;
/* Closes it. */
void dialogue_done(struct dialogue *dialogue);

/* Sends `out`. */
bool dialogue_flush(struct dialogue *dialogue, struct fault *fault) MUST_USE;
/* Waits for more of `in`. */
bool dialogue_fill(struct dialogue *dialogue, struct fault *fault) MUST_USE;
/* Waits for a whole reply. */
bool dialogue_reply(struct dialogue *dialogue, struct fault *fault) MUST_USE;
/* One command, without its CRLF, and the reply to it. */
bool dialogue_command(struct dialogue *dialogue, struct slice command,
		      struct fault *fault) MUST_USE;

/* 2xx */
static inline bool
dialogue_is_good(const struct dialogue *dialogue)
{
	return dialogue->reply.code / 100 == 2;
}

#endif
