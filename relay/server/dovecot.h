/*
 * dovecot - asks Dovecot's authentication server, over its Unix socket, whether
 * a client is who it says (option auth_dovecot). One connection per loop and
 * socket, for all sessions; the mechanisms' words are passed through.
 *
 *	down → greeting → up → resting
 *
 * A connection that nobody needs any more rests after DOVECOT_KEEP_MS, until
 * somebody asks.
 *
 * Whatever becomes of the connection, whoever waits for an answer gets one, and
 * who is waiting for his client gets it with the next response: it
 * is down, refuses, dies, says what cannot be understood, or says nothing for
 * the time that a question allows. Then it is opened again, later each time.
 *
 * Ownership   dovecot_open() hands over; dovecot_close() ends it and clears the
 *             pointer, when nobody asks any more. A request is the asker's until
 *             the verdict, or dovecot_cancel(), which clears the pointer.
 * Events      answered() comes from the loop, never from inside a call, once for
 *             each step; after a verdict that is not SASL_CHALLENGE the request
 *             is gone.
 * Bounded     DOVECOT_REQUESTS_MAX requests; beyond, who has waited for his
 *             client for longest loses his place. DOVECOT_LINE_MAX octets a line.
 * Thread      The loop's only.
 */
#ifndef RELAY_SERVER_DOVECOT_H
#define RELAY_SERVER_DOVECOT_H

#include "relay/net/address.h"
#include "relay/net/loop.h"
#include "relay/server/sasl_server.h"

struct dovecot;
struct dovecot_request;

/* FAULT_INPUT: the path is too long for a socket. */
bool dovecot_open(struct loop *loop, struct slice path,
		  struct dovecot **dovecot_out, struct fault *fault) MUST_USE;
void dovecot_close(struct dovecot **dovecot);
struct slice dovecot_path(const struct dovecot *dovecot);
/* "PLAIN LOGIN": those that both know. Until Dovecot has said, these. */
void dovecot_mechanisms(const struct dovecot *dovecot, struct text *out);

/* challenge: of SASL_CHALLENGE, not in base64. user: as Dovecot calls him, once
 * it has; a name fit for a log. */
typedef void dovecot_answered_fn(void *owner, enum sasl_verdict verdict,
				 struct slice challenge, struct slice user);

struct dovecot_question {
	struct slice mechanism;
	bool has_initial;
	struct slice initial;         /* a response, not in base64 */
	bool is_secured;
	const struct address *client; /* NULL: one without an address */
	uint64_t timeout_ms;          /* how long Dovecot may say nothing */
	dovecot_answered_fn *answered;
	void *owner;
};

/* FAULT_BUSY: Dovecot cannot be asked now. FAULT_LIMIT: too many ask. */
bool dovecot_ask(struct dovecot *dovecot,
		 const struct dovecot_question *question,
		 struct dovecot_request **request_out,
		 struct fault *fault) MUST_USE;
/* Behind a challenge, also from inside answered(). FAULT_BUSY: the connection, or
 * the place, has gone meanwhile; cancel it. */
bool dovecot_respond(struct dovecot_request *request, struct slice response,
		     struct fault *fault) MUST_USE;
void dovecot_cancel(struct dovecot_request **request);

#endif
