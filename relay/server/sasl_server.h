/*
 * sasl_server - the server's side of one authentication (RFC 4422): PLAIN (RFC
 * 4616), LOGIN, SCRAM-SHA-256 (RFC 5802, RFC 7677) and, for who has shown a
 * certificate already, EXTERNAL (RFC 4422 A), by GNU SASL.
 *
 * Takes responses and gives challenges, both as bytes; knows of no socket and
 * no reply code. What a stranger may learn is whether a pair of name and
 * password is right, and not which names there are: an unknown one takes as
 * long, and is given a salt of its own (but see offenders.h).
 *
 * Ownership   sasl_server_open() hands over; sasl_server_close() clears the
 *             pointer. The users must live as long.
 * Thread      One at a time; a step may take tens of milliseconds.
 */
#ifndef RELAY_SERVER_SASL_SERVER_H
#define RELAY_SERVER_SASL_SERVER_H

#include "relay/users.h"

struct sasl_server;

enum sasl_verdict {
	SASL_CHALLENGE, /* a response is expected */
	SASL_IN,        /* sasl_server_user() is who he says */
	SASL_REFUSED,   /* name or password are wrong */
	SASL_MALFORMED, /* the response is not what the mechanism has */
	SASL_TROUBLE,   /* on our side */
};

/* "PLAIN LOGIN", and SCRAM-SHA-256 where all have keys for it: what EHLO says
 * behind AUTH. Clients by Cyrus SASL take the strongest, and try no other. */
const char *sasl_server_mechanisms(const struct users *users);
#define SASL_EXTERNAL "EXTERNAL"
/* LOGIN has no RFC; devices compare these words. */
#define SASL_LOGIN_NAME "Username:"
#define SASL_LOGIN_PASSWORD "Password:"

struct sasl_setup {
	struct slice mechanism;    /* one that is known */
	const struct users *users; /* NULL for EXTERNAL */
	struct slice certified;    /* of EXTERNAL: who he is; copied */
	/* Whether nothing is tried with the name: then no password is hashed,
	 * and it is SASL_TROUBLE. NULL: it is. */
	bool (*waits)(const void *owner, struct slice name);
	const void *owner;
};

/* FAULT_SYSTEM. */
bool sasl_server_open(const struct sasl_setup *setup,
		      struct sasl_server **server_out,
		      struct fault *fault) MUST_USE;
void sasl_server_close(struct sasl_server **server);

/* has_response false: AUTH came without an initial response. The challenge is
 * appended as it is, not in base64. */
enum sasl_verdict sasl_server_step(struct sasl_server *server,
				   bool has_response, struct slice response,
				   struct text *challenge_out) MUST_USE;
/* Behind the first response that names somebody; else empty. */
struct slice sasl_server_user(const struct sasl_server *server);

#endif
