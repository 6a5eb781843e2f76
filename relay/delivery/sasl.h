/*
 * sasl - our side of one authentication at a next hop (RFC 4954, RFC 4422):
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), PLAIN (RFC 4616) or LOGIN, the first of
 * them that the peer offers; where it refuses that one as such, the next.
 *
 * Takes challenges and gives responses, in base64 as they travel; knows of no
 * socket and no reply code. The only file that knows GNU SASL.
 *
 * Ownership   sasl_open() hands over; sasl_close() clears the pointer. The user
 *             and the password are copied.
 * Errors      No fault and no word of it names the password, or what is made
 *             of it.
 * Time        A response with the proof of SCRAM-SHA-256 takes as long as the
 *             peer's count of iterations says: a few ms for the usual 4096, a
 *             tenth of a second for SASL_ITERATIONS_MAX. More is refused. No
 *             loop may wait for it (sasl_takes_long()).
 */
#ifndef RELAY_DELIVERY_SASL_H
#define RELAY_DELIVERY_SASL_H

#include "base/fault.h"
#include "base/slice.h"

/* RFC 7677 4: at least 4096. Less would let whoever poses as the peer try out
 * passwords at little cost. */
#define SASL_ITERATIONS_MIN 4096
#define SASL_ITERATIONS_MAX 100000

struct sasl;

/* A bit for a mechanism that we know, by its name in EHLO; else 0. */
unsigned sasl_mechanism(struct slice name);

/* With the best of the mechanisms (bits of the above). FAULT_ABSENT: none. */
bool sasl_open(unsigned mechanisms, struct slice user, struct slice password,
	       struct sasl **sasl_out, struct fault *fault) MUST_USE;
void sasl_close(struct sasl **sasl);

const char *sasl_name(const struct sasl *sasl);
/* Whether its first response needs no challenge, and can stand behind AUTH. */
bool sasl_begins(const struct sasl *sasl);
/* The response to a challenge, both in base64, appended. The fault says what is
 * wrong with the challenge: then nothing more may be said. Cleanse `response`
 * (secret_cleanse). */
bool sasl_respond(struct sasl *sasl, struct slice challenge,
		  struct text *response, struct fault *fault) MUST_USE;
/* Whether the next response takes so long that no loop may wait for it. */
bool sasl_takes_long(const struct sasl *sasl);
/* Whether the peer may now say that we are in: all has been said that the
 * mechanism has to say, and with SCRAM-SHA-256 the peer has proven that it knows
 * the password, too. */
bool sasl_is_complete(const struct sasl *sasl);

#endif
