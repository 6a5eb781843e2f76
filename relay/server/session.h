/*
 * session - one inbound SMTP conversation (RFC 5321).
 *
 * It knows SMTP and nothing of files, keys or DNS. commands.c holds the table
 * of verbs; here are the states, the one loop that consumes input and the one
 * place that closes.
 *
 * Ownership   A session belongs to its share of the server (server.h), lives
 *             on one loop and frees itself when it ends.
 * Pipelining  One command is in hand at a time; while it waits, reading is
 *             paused and what the client has sent stays in the stream's input.
 *             Replies are corked by the stream.
 * Adding      A new verb is a row in commands.c; one that needs a dialogue of
 *             its own (DATA, BDAT, AUTH) is a state here with its own reader
 *             in session_pump().
 */
#ifndef RELAY_SERVER_SESSION_H
#define RELAY_SERVER_SESSION_H

#include "base/arena.h"
#include "relay/net/stream.h"
#include "relay/net/wire.h"
#include "relay/server/conduct.h"
#include "relay/server/envelope.h"
#include "relay/server/principal.h"
#include "relay/server/share.h"
#include "relay/server/transaction.h"

/*
 * START until EHLO or HELO, then READY. MAIL opens a transaction, the first
 * recipient taken leads to RCPT, DATA to the state of that name; the end of
 * data to COMMIT, where the answer is being made; then READY again. BDAT leads
 * to CHUNK while its octets come, then to BDAT, where the next is waited for,
 * and behind the last one to COMMIT; where it is refused its octets come all
 * the same, and the transaction is over. STARTTLS leads through SECURING back to
 * START (RFC 3207 4.2). AUTH waits in AUTHING for each of its steps, and in the
 * state AUTH for what the client responds. Behind a proxy a session begins in
 * PROXY.
 */
#define SESSION_STATES(X)                                                      \
	X(START)                                                               \
	X(READY)                                                               \
	X(MAIL)                                                                \
	X(RCPT)                                                                \
	X(DATA)                                                                \
	X(CHUNK)                                                               \
	X(BDAT)                                                                \
	X(COMMIT)                                                              \
	X(SECURING)                                                            \
	X(AUTH)                                                                \
	X(AUTHING)                                                             \
	X(PROXY)

#define X(name) SESSION_##name,
enum session_state { SESSION_STATES(X) SESSION_STATES_COUNT };
#undef X

/* How its lines end: told by the first one. */
enum line_ends { LINE_ENDS_UNKNOWN, LINE_ENDS_CRLF, LINE_ENDS_LF };

/* What a lenient listener has forgiven: a bit for each, told once. */
enum legacy {
	LEGACY_LF = 1u << 0,
	LEGACY_TLS = 1u << 1,
	LEGACY_HASTE = 1u << 2,
	LEGACY_AHEAD = 1u << 3,
	LEGACY_NAME = 1u << 4,
	LEGACY_GREETING = 1u << 5,
};

enum step {
	STEP_NEXT,   /* replied; go on with the next line */
	STEP_WAIT,   /* something is under way; session_resume() follows */
	STEP_SECURE, /* replied; the TLS handshake comes next */
	STEP_CLOSE,  /* replied; close once the output is out */
};

/* The BDAT in hand: RFC 3030. */
struct chunk {
	uint64_t size, left; /* octets */
	bool is_last;
	bool is_malformed;   /* only on its way from check to run */
	const struct reply *refusal; /* told behind it; NULL: it is taken */
};

struct session {
	struct list link; /* in the share */
	struct share *share;
	struct loop *loop;
	struct stream *stream;
	/* Of the connection, until terms.h takes over a later one; so are what
	 * follows. */
	struct generation *generation;
	const struct listener_options *listener;
	struct tls_context *tls; /* NULL: no TLS on this listener */
	const struct reply *refusal; /* of MAIL, by a reload; NULL: none */
	enum session_state state;

	struct text helo;
	struct address client;   /* AF_UNSPEC: XCLIENT, or the proxy, does not know */
	struct citizen *citizen; /* its address's, once that is known */
	struct text client_name; /* by XCLIENT */
	struct noted *noted;     /* by XFORWARD: front.h */
	bool is_proxied;         /* the client is whom a proxy has named */
	bool is_fronted;         /* by XCLIENT: TLS is the front's own */
	struct address front;    /* then: who has said so first */
	bool is_allowed;  /* may relay by its address */
	bool is_expelled; /* might, before a reload */
	bool is_counted; /* by the citizen */
	bool is_counted_stranger;
	bool is_esmtp, is_secured;
	enum line_ends line_ends;
	struct wire_lf lf;     /* of a message whose lines end so */
	unsigned legacy;       /* told already */
	bool has_more;         /* bytes behind the command in hand */
	bool has_quit;
	bool is_skipping_line; /* the rest of one that was too long */
	bool is_waiting;       /* behind STEP_WAIT */
	bool is_clogged;       /* too many replies wait for the client */
	struct conduct conduct;
	uint64_t messages; /* begun */
	uint64_t data_until_ms;     /* of an open transaction, too */
	uint64_t stranger_until_ms; /* as long as he is nobody */
	uint64_t data_octets;  /* of DATA, so far */
	struct chunk chunk;
	bool is_discarding; /* MAIL or a chunk was refused: what the client has
			       sent behind it is no error of its own */
	struct transaction *transaction;

	struct auth *auth;          /* in AUTH and AUTHING */
	struct principal principal; /* once authenticated */
};

/* Takes the connected socket and a reference of the generation. The session
 * ends by itself and tells its share (share_session_ended()). */
void session_start(struct share *share, int descriptor,
		   struct generation *generation, size_t listener);
/* 421 to who sends no message now; that may come to its end, then 421. */
void session_stop(struct session *session);
/* After that: whoever has not come to the end of his message is cut off. What
 * waits for its answer gets it: otherwise it would be sent again. */
void session_give_up(struct session *session);

/* For commands*.c, authentication.c and welcome.c. */
/* The event `legacy`, once for each. */
void session_legacy(struct session *session, enum legacy what);
/* The event of a client who is sent away. */
void session_lost(const struct session *session, const char *reason);
void session_enter(struct session *session, enum session_state state);
enum step session_reply(struct session *session, const struct reply *reply,
			struct slice extra);
/* A refusal, of which not every number is borne (conduct.h). */
enum step session_refuse(struct session *session, const struct reply *reply,
			 struct slice extra);
/* The same of what was pipelined behind a command that was refused. */
enum step session_refuse_behind(struct session *session,
				const struct reply *reply);
/* Replies to a command that leads nowhere. */
enum step session_reply_idle(struct session *session,
			     const struct reply *reply, struct slice extra);
/* As session_refuse() for mail or a recipient, which is an event. argument: what the
 * client gave, a recipient where a transaction is open, else the sender. */
enum step session_reject(struct session *session, const struct reply *reply,
			 struct slice extra, struct slice argument,
			 struct slice reason);
/* Behind STEP_WAIT: goes on as the step says. The session may be gone then. */
void session_resume(struct session *session, enum step step);
void session_reset(struct session *session); /* as RSET does */
/* Who gets another identity here, by the generation that is current; lives as
 * long as that and the session do. */
struct rewrite session_rewrite(const struct session *session);
void session_begin(struct session *session, const struct envelope_mail *mail);
const struct options *session_options(const struct session *session);
/* Nobody: allow_from does not name him, and he has not logged in. */
bool session_is_stranger(const struct session *session);
/* The generation in force, which a reload may have made since the client
 * connected: what a client asks for from now on goes by that. */
struct generation *session_now(const struct session *session);
extern const struct reply session_reply_closing;
/* Who the client is was told anew: if nobody, how long he may stay begins now. */
void session_be_patient(struct session *session);
/* Octets have come, or a recipient: how long the rest may now take. */
void session_progressed(struct session *session, uint64_t until_ms);
uint64_t session_command_timeout(const struct session *session);
/* Takes what there is of input, as far as it can; the session may be gone
 * afterwards. */
void session_pump(struct session *session);

#endif
