/*
 * outcome - turns a reply or a trouble on the way into a recipient's fate.
 *
 * The one place that does: the client of delivery/ says at which stage of a
 * conversation which reply came, or what went wrong on the way to one, and is
 * told what becomes of whom. RFC 5321 4.2, RFC 3463. Pure.
 */
#ifndef RELAY_QUEUE_OUTCOME_H
#define RELAY_QUEUE_OUTCOME_H

#include "relay/net/reply.h"

/* Fate of a recipient in one delivery. NONE: nothing said yet, go on. */
enum outcome { OUTCOME_NONE, OUTCOME_DELIVERED, OUTCOME_DEFERRED,
	       OUTCOME_FAILED };

/* What the peer was answering. */
enum outcome_stage {
	STAGE_GREETING,
	STAGE_EHLO,        /* HELO too, where EHLO was refused */
	STAGE_STARTTLS,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,        /* 354 is expected */
	STAGE_END_OF_DATA, /* the final reply, also of BDAT LAST */
};

/* Whom it concerns. */
enum outcome_scope {
	SCOPE_RECIPIENT,   /* the one of this RCPT */
	SCOPE_MESSAGE,     /* every recipient of the transaction without a fate;
			      the connection may go on to the next message */
	SCOPE_HOST,        /* nothing about the message: leave this connection;
			      the same recipients may go to the next host */
	SCOPE_DESTINATION, /* no host of the destination will do better */
};

#define OUTCOME_STATUS_SIZE 12 /* "5.123.123" and its NUL */

struct fate {
	enum outcome outcome;      /* once no host is left to try */
	enum outcome_scope scope;
	bool may_try_next_host;    /* this transaction, at once */
	char status[OUTCOME_STATUS_SIZE]; /* RFC 3463; "" with NONE */
	const char *words;         /* of a trouble; "" for a reply */
	bool is_damage;            /* the stored message cannot be sent; once
				      its sender was told, it is kept */
};

/* Positive replies: NONE (go on) at every stage but END_OF_DATA, which gives
 * DELIVERED. The class of `status` always fits the outcome's. */
struct fate outcome_of_reply(enum outcome_stage stage,
			     const struct reply_in *reply);

/* What goes wrong without a reply. Once the end of the data was sent the
 * message may have been taken: then the caller must not go to the next host at
 * the first attempt, whatever the table says. What one host lacks another of the
 * same domain may have. Name, outcome, scope, next host, status, words. Details
 * ("192.0.2.1:25: connection refused") are the caller's to put behind the
 * words. */
#define OUTCOME_TROUBLES(X)                                                    \
	X(NO_NAME, FAILED, DESTINATION, false, "5.1.2",                        \
	  "the domain does not exist")                                         \
	X(NULL_MX, FAILED, DESTINATION, false, "5.1.10",                       \
	  "the domain accepts no mail (null MX)")                              \
	X(NO_HOST, FAILED, DESTINATION, false, "5.4.4",                        \
	  "the domain has no mail host with an address")                       \
	X(BAD_NAME, FAILED, DESTINATION, false, "5.1.2",                       \
	  "the domain cannot be looked up")                                    \
	X(LOOP, FAILED, DESTINATION, false, "5.4.6",                           \
	  "mail for the domain loops back to this relay")                      \
	X(NO_PRIMARY, DEFERRED, DESTINATION, false, "4.4.4",                   \
	  "no mail host better than this relay can be found")                  \
	X(OWN_NEXT_HOP, DEFERRED, DESTINATION, false, "4.4.6",                 \
	  "the next hop that the configuration names is this relay")           \
	X(REFUSED_ADDRESS, FAILED, DESTINATION, false, "5.7.1",                \
	  "delivery.refuse_addresses forbids every address of the domain")     \
	X(DNS, DEFERRED, DESTINATION, false, "4.4.3",                          \
	  "the DNS gave no answer")                                            \
	X(NO_CONNECTION, DEFERRED, HOST, true, "4.4.1",                        \
	  "cannot connect")                                                    \
	X(CONNECTION_LOST, DEFERRED, HOST, true, "4.4.2",                      \
	  "the connection was lost")                                           \
	X(TIMED_OUT, DEFERRED, HOST, true, "4.4.2",                            \
	  "the peer took too long")                                            \
	X(BROKEN_REPLY, DEFERRED, HOST, true, "4.5.0",                         \
	  "the peer does not speak SMTP")                                      \
	X(NO_TLS, DEFERRED, HOST, true, "4.7.4",                               \
	  "the peer does not offer STARTTLS, which is required")               \
	X(TLS_FAILED, DEFERRED, HOST, true, "4.7.5",                           \
	  "the TLS handshake failed")                                          \
	X(TLS_UNTRUSTED, DEFERRED, HOST, true, "4.7.5",                        \
	  "the peer's certificate is not trusted")                             \
	X(NO_AUTH, DEFERRED, HOST, true, "4.7.8",                              \
	  "cannot log in")                          \
	X(NO_8BITMIME, FAILED, MESSAGE, true, "5.6.3",                         \
	  "the message is 8-bit and the peer does not offer 8BITMIME")         \
	X(NO_SMTPUTF8, FAILED, MESSAGE, true, "5.6.7",                         \
	  "the addresses need SMTPUTF8, which the peer does not offer")        \
	X(TOO_BIG, FAILED, MESSAGE, true, "5.3.4",                             \
	  "the message is larger than the peer takes")                         \
	X(EXPIRED, FAILED, MESSAGE, false, "4.4.7",                            \
	  "the message could not be delivered in time")                        \
	X(UNSIGNED, DEFERRED, MESSAGE, false, "4.7.5",                         \
	  "the message could not be signed again")                             \
	X(LOCAL, DEFERRED, MESSAGE, false, "4.3.0",                            \
	  "trouble on this relay")                                             \
	X(DAMAGED, FAILED, MESSAGE, false, "5.3.0",                            \
	  "the message was damaged in the queue of this relay")

#define OUTCOME_TROUBLE(name, outcome, scope, next, status, words)             \
	TROUBLE_##name,
enum outcome_trouble { OUTCOME_TROUBLES(OUTCOME_TROUBLE) };
#undef OUTCOME_TROUBLE

struct fate outcome_of_trouble(enum outcome_trouble trouble);
/* The same of a host that is not the best: where a better one did not
 * take it now, what this one lacks is no reason to give up. */
struct fate outcome_of_lack(enum outcome_trouble trouble, bool has_better_host);

/* "delivered", "deferred", "bounced": the log event's name. */
const char *outcome_event(enum outcome outcome);

/* Appends a reply as one line "550 5.1.1 No such user": what a recipient's
 * result, the log and reports show. Printable; line ends become spaces. */
void outcome_write_reply(struct text *out, const struct reply_in *reply);

/* An enhanced status code of RFC 3463 at the start of text ("5.1.1", followed
 * by a space or the end); "" where there is none. */
struct slice outcome_find_status(struct slice text);

/* Whether the text is a peer's reply, "550 5.1.1 …", and not words of ours. */
bool outcome_is_reply(struct slice text);

#endif
