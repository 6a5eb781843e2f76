/*
 * client - one outbound SMTP conversation (RFC 5321) with one address of a
 * host.
 *
 * It connects, greets, secures the connection as the policy says, logs in, and
 * then carries attempts, one after the other, until it is told to quit or something
 * ends it. What the peer does not take as it is, it has converted
 * (relay/prepare/convert.h). It knows nothing of other hosts, of retries or of
 * the queue's order.
 *
 * Ownership   client_open() hands a client out; client_quit() and
 *             client_close() hand it back and clear the pointer. After
 *             CLIENT_ENDED it is gone too.
 * Events      Come from the loop. client_carry(), client_quit() may be called
 *             from inside READY and CARRIED; nothing from inside ENDED.
 * Thread      The loop's only.
 */
#ifndef RELAY_DELIVERY_CLIENT_H
#define RELAY_DELIVERY_CLIENT_H

#include "relay/delivery/attempt.h"
#include "relay/delivery/hosts.h"
#include "relay/delivery/peers.h"
#include "relay/net/stream.h"

struct client;
struct login;

enum client_event {
	CLIENT_READY,   /* greeted and secured: carry something, or quit */
	CLIENT_CARRIED, /* the attempt has a result for each recipient, or
			   goes_on() was against the next transaction; it is
			   the owner's again, and the client ready */
	CLIENT_ENDED,   /* over; client_end() says why. An attempt in hand is
			   the owner's again; recipients without a result may
			   be tried elsewhere. */
};
typedef void client_fn(void *owner, enum client_event event);

/* How a conversation ended; valid during CLIENT_ENDED. */
struct client_end {
	struct recipient_result result; /* for whom it leaves without one */
	bool was_ready;         /* got as far as CLIENT_READY */
	bool has_answered;      /* the attempt in hand had a reply */
	bool is_tls_trouble;    /* with TLS left out it may work */
	bool is_tls_doubt;      /* so it may for the attempt in hand, which is
				   not its first: the host went in the midst */
	bool is_idle_end;       /* nothing was in hand: no trouble */
	bool is_of_message;     /* the attempt in hand brought it about: the
				   next may go to the same host */
	bool is_unreached;      /* nothing came back to the attempt to connect */
	bool is_silent;         /* it was waited for, in vain, before READY */
	bool is_local;          /* nothing against the host: this relay could
				   not have reached another, either */
	bool wants_tls;         /* which was left out; it may work again */
	bool is_of_login;       /* the password was refused: no other host
				   of the route need be asked */
	bool is_passing;        /* MAIL was refused for now, what followed for a
				   trouble of the host's own, or it lacks what
				   the message needs: nothing against it, but
				   another may take it */
	bool is_lacking;        /* that is it: where no other takes the message
				   this host may yet take some of it, and say
				   so of the rest */
	bool is_sent_away;      /* 421 from MAIL to the final reply: for the
				   message's sake, or ours */
	bool is_of_recipient;   /* to RCPT, and that one has his result: the
				   others may be taken */
	bool is_worn;           /* the host takes no more messages on one
				   connection: it will on another. It said so,
				   left after a transaction of the attempt in
				   hand and before the next, or said a yes that
				   is no whole reply */
	bool is_chunk_trouble;  /* BDAT was offered, but not known; with DATA it
				   may work */
	bool is_dsn_trouble;    /* likewise DSN; without its parameters it may */
};

struct client_settings {
	struct loop *loop;
	struct store *store;
	const struct host *host;   /* must live until READY or ENDED */
	enum route_sign sign;
	struct source_options source; /* lives as long; helo never empty */
	enum tls_policy tls;
	struct tls_terms terms;    /* its names live as long */
	struct peers *peers;
	enum without_8bitmime without_8bitmime;
	bool implicit_tls;         /* from the start; `tls` is then at least
				      required */
	struct login *login;       /* NULL: none; lives as long */
	bool in_clear;             /* TLS has failed before, and may be left
				      out */
	bool is_hurried;           /* has CONNECT_HURRY_MS to connect */
	bool has_other_host;       /* not tried yet, nor failing */
	bool without_bdat;         /* not known there, although offered */
	bool without_dsn;          /* likewise */
	uint64_t deadline_ms;      /* clock_now_ms(): nothing is waited for
				      beyond it; 0: none */
	struct tls_context *tls_context;
	/* After a transaction that leaves recipients of the attempt over, of
	 * which `transactions` are done: whether the next follows. NULL: it
	 * does. */
	bool (*goes_on)(void *owner, unsigned transactions);
	client_fn *event;
	void *owner;
};

/* The same for who asks for the same of TLS: where it fails for one it does for
 * the other. */
uint64_t client_tls_terms(enum tls_policy policy,
			  const struct tls_terms *terms);

bool client_open(const struct client_settings *settings,
		 struct client **client_out, struct fault *fault) MUST_USE;
/* Whether it may carry something now. False after READY or CARRIED means that
 * ENDED will follow. */
bool client_is_ready(const struct client *client);
enum client_carrying {
	CLIENT_CARRIES,    /* the attempt is lent until CARRIED or ENDED */
	CLIENT_REFUSES,    /* this peer takes none of it as it is: the attempt is
			      complete, and no event follows */
	CLIENT_PASSES_ON,  /* the same, but another host may: client_end() says
			      why, the attempt is as it was, the client ready */
};
/* has_better_host: one that did not take it now, and may have what this one
 * lacks. */
enum client_carrying client_carry(struct client *client,
				  struct attempt *attempt,
				  bool has_better_host) MUST_USE;
bool client_is_carrying(const struct client *client);
/* So far: attempts, or where one takes several transactions, those. */
unsigned client_carried(const struct client *client);
/* No further attempt: the host takes no more on one connection. */
bool client_is_worn(const struct client *client);
const struct client_end *client_end(const struct client *client);
/* While nothing is carried: whose it is from now on. */
void client_pass_on(struct client *client, client_fn *event, void *owner,
		    bool has_other_host);
/* While nothing is carried: says QUIT and goes by itself; no event follows. */
void client_quit(struct client **client);
/* Before quitting, or in ENDED: is called once the connection is closed, which
 * may be before the client is gone, but not from inside this or ENDED. */
void client_on_closed(struct client *client, void (*closed)(void *owner),
		      void *owner);
/* In any state, at once; no event follows. */
void client_close(struct client **client);
/* While it carries something: the same, and the attempt is the owner's again. */
void client_break_off(struct client **client, struct slice why);

#endif
