/*
 * What client.c (the conversation: states and events), client_end.c (what brings
 * it to an end), client_expiry.c (its time), client_greeting.c (the greeting,
 * EHLO, HELO and what the peer says of itself), client_tls.c (STARTTLS: RFC
 * 3207), client_auth.c (logging in: RFC 4954), transaction_fit.c (whether the
 * peer can take a message), transaction.c (its envelope), client_body.c (its
 * bytes, to the final reply) and transaction_abort.c (where that is cut off)
 * share. For them only.
 */
#ifndef RELAY_DELIVERY_CLIENT_PRIVATE_H
#define RELAY_DELIVERY_CLIENT_PRIVATE_H

#include "relay/delivery/client.h"
#include "relay/delivery/sasl.h"
#include "relay/delivery/strip.h"
#include "relay/login.h"
#include "relay/prepare/convert.h"

enum client_state {
	CLIENT_CONNECTING,
	CLIENT_GREETING,
	CLIENT_EHLO,
	CLIENT_HELO,
	CLIENT_STARTTLS,
	CLIENT_HANDSHAKE,
	CLIENT_AUTH,
	CLIENT_PROVING,
	CLIENT_IDLE,
	CLIENT_CONVERTING,
	CLIENT_MAIL,
	CLIENT_RCPT,
	CLIENT_DATA,
	CLIENT_BODY,
	CLIENT_END_OF_DATA,
	CLIENT_RSET,
	CLIENT_QUIT,
	CLIENT_OVER,
	CLIENT_STATES,
};

/* RFC 5321 4.5.3.1.8: so many are always taken in one transaction. */
#define TRANSACTION_RECIPIENTS_MAX 100

/* What has to come before more of the body is sent: a read of it, or the turn of
 * others. Outlives the client where that goes first. */
struct body_read {
	struct store_read_body read;
	struct post turn;
	struct client *client; /* NULL: nobody waits for it any more */
};

struct transaction {
	/* Recipients of this transaction, by their index in the attempt. */
	unsigned recipients[TRANSACTION_RECIPIENTS_MAX];
	unsigned count, next; /* next: whose RCPT is answered next */
	unsigned accepted;
	bool is_chunked;      /* BDAT, not DATA */
	bool is_utf8;         /* MAIL says SMTPUTF8 */
	bool is_ahead;        /* commands up to DATA, or to the last RCPT, are
				 written already */
	bool is_empty;        /* 354 although nobody was accepted */
	bool is_foretold;     /* a reply had begun before the end was sent */
	/* the body */
	uint64_t offset;      /* of the stored bytes */
	uint64_t written;     /* all octets so far, as they go out */
	uint64_t noted;       /* of them, when the time began, the peer had */
	uint64_t until_ms;
	bool has_prefix, at_line_start;
	bool has_end;         /* what follows the last byte is sent, too */
	struct strip strip;   /* as settings.sign has it */
	struct body_read *reading;
};

struct client {
	struct client_settings settings;
	struct stream *stream;
	enum client_state state;
	bool in_event;
	struct reply_reader reader;
	/* what the peer said of itself */
	bool has_pipelining, has_8bitmime, has_starttls, has_size;
	bool has_smtputf8, has_dsn, has_chunking;
	uint64_t size_max; /* 0: no fixed limit */
	uint64_t rcpt_max; /* in one transaction */
	uint64_t mail_max; /* on this connection; 0: no limit */
	unsigned mechanisms; /* of AUTH: sasl_mechanism() */
	unsigned mails;      /* so far */
	bool is_greeted;
	bool leaves_tls_out; /* although it was offered */
	bool has_read_tls;   /* a whole reply over it */
	/* while it logs in */
	struct sasl *sasl;    /* NULL while it is the proof's */
	struct text challenge;
	struct text response; /* to be said; cleansed */
	struct auth_proof *proof;
	bool has_said_auth;
	bool was_ready;
	bool has_taken;      /* a message */
	unsigned carried;
	struct attempt *attempt;
	bool has_better_host;  /* for it */
	unsigned transactions; /* of it, that are over */
	bool has_answered, is_of_message;
	bool is_cut_off;       /* in the middle of its message: reset, so that
				  the kernel does not send the rest */
	/* The attempt's message as this peer takes it; NULL: as it is. */
	struct message *version;
	const struct changes *changes; /* in its arena */
	struct convert *convert;
	struct transaction transaction;
	struct client_end end;
	struct text end_words;
	char end_status[OUTCOME_STATUS_SIZE];
	struct text host_name;
	char address[ADDRESS_TEXT_SIZE];
	char tls[128];
	const char *certificate; /* in words; "": no TLS */
	bool is_resumed;
};

/* --- client.c --- */

/* The transaction is over, and has brought results: where that leads to. */
enum client_state client_transaction_over(struct client *client);
/* Waits for the answer to RSET, or to MAIL, of a message of which a transaction
 * is over and has brought results, and more are to come. Who goes then, or
 * sends us away, has had enough of this connection. */
bool client_is_between(const struct client *client);
/* The one road to another state. */
void client_enter(struct client *client, enum client_state state);
void client_command(struct client *client, const char *verb,
		    struct slice argument);
/* What the state is for, in words for logs and reports, and how long it may
 * take. */
const char *client_doing(const struct client *client);
uint64_t client_timeout_ms(const struct client *client);
/* Says QUIT where nothing is in hand. Nobody is told any more; and what its owner
 * has lent it, the configuration among that, may go. */
void client_quit_alone(struct client *client, client_fn *event);
/* After client_enter() outside of a stream event. */
void client_settle(struct client *client);
void client_result(const struct client *client, const struct fate *fate,
		   struct slice words, struct recipient_result *result_out);

/* --- client_end.c --- */

/* The end, for a reply or for trouble on the way. */
enum client_state client_end_reply(struct client *client,
				   const struct fate *fate,
				   const struct reply_in *reply);
enum client_state client_end_trouble(struct client *client,
				     enum outcome_trouble trouble,
				     struct slice detail);
/* The end, since the peer takes no more on one connection. */
enum client_state client_end_worn(struct client *client);
/* 421 to what the message, or we, have said: none of it is the peer's any more;
 * client->end says so, and the connection what follows. */
enum client_state client_end_sent_away(struct client *client,
				       const struct fate *fate,
				       const struct reply_in *reply);
/* The stream has failed. */
void client_failed(struct client *client);

/* --- client_expiry.c --- */

/* What the state may take, within the settings' deadline, begins now. */
void client_expiry_start(struct client *client);
/* It is over. */
void client_expired(struct client *client);

/* --- client_greeting.c --- */

enum client_state greeting_replied(struct client *client,
				   const struct reply_in *reply);
/* What came is no reply, or more than one. */
enum client_state greeting_broken(struct client *client);
/* Why it may not come, for who reads the log; or "". */
struct slice greeting_hint(const struct client *client);
void ehlo_send(struct client *client);
enum client_state ehlo_replied(struct client *client,
			       const struct reply_in *reply);
void helo_send(struct client *client);
enum client_state helo_replied(struct client *client,
			       const struct reply_in *reply);
/* As safe as it is going to be: where that leads to. */
enum client_state client_safe_enough(struct client *client);

/* --- client_tls.c --- */

void starttls_send(struct client *client);
enum client_state starttls_replied(struct client *client,
				   const struct reply_in *reply);
void handshake_start(struct client *client);
void handshake_done(struct client *client);
/* Those that the peer has given since; in any state. */
void sessions_keep(struct client *client);
bool client_is_securing(const struct client *client);
/* Whether the attempt in hand may get through without TLS, now that the
 * connection is lost. */
bool client_doubts_tls(const struct client *client);
/* Whether the reply is that of one who wants TLS, which was left out. */
bool client_misses_tls(const struct client *client,
		       const struct reply_in *reply);
enum client_state client_end_for_tls(struct client *client,
				     const struct reply_in *reply);

/* --- client_auth.c --- */

/* The state that logging in begins with, or the end. */
enum client_state auth_begin(struct client *client);
void auth_send(struct client *client);
void prove_send(struct client *client);
enum client_state auth_replied(struct client *client,
			       const struct reply_in *reply);
void auth_done(struct client *client);

/* --- transaction_fit.c --- */

/* The state that carrying the attempt begins with. IDLE: the peer will not take
 * this message; every recipient has a result. OVER: nor will it, but another host
 * may; client->end says so. */
enum client_state transaction_begin(struct client *client);
void convert_send(struct client *client);
/* Whether an address of it is outside ASCII, or the header said to be UTF-8:
 * RFC 6531. */
bool transaction_is_utf8(const struct client *client);
/* In angle brackets; without SMTPUTF8 its domain is in A-labels. */
void transaction_write_path(const struct client *client, struct text *out,
			    struct slice address);

/* --- transaction.c --- */

void mail_send(struct client *client);
/* Said to MAIL it is of what came before, and not of the message. */
bool mail_ends_connection(const struct client *client,
			  const struct reply_in *reply);
enum client_state mail_replied(struct client *client,
			       const struct reply_in *reply);
void rcpt_send(struct client *client);
enum client_state rcpt_replied(struct client *client,
			       const struct reply_in *reply);
void data_send(struct client *client);
enum client_state data_replied(struct client *client,
			       const struct reply_in *reply);
/* Nobody of it is the peer's any more: they are without a result. */
void transaction_take_back(struct client *client);
void transaction_done(struct client *client);
/* The message as this peer is to get it. */
struct message *client_message(const struct client *client);
/* Both by the index in the attempt. */
const struct recipient *client_recipient(const struct client *client, size_t i);
void client_set_recipient(struct client *client, unsigned i,
			  const struct fate *fate, struct slice words);
/* The same for everybody whom the transaction has accepted so far. */
void client_set_accepted(struct client *client, const struct fate *fate,
			 struct slice words);
/* For all of the message that are still without a result. */
void client_set_message(struct client *client, const struct fate *fate,
			struct slice words);
/* Refused for now, or never answered, by a host that is not the last: the next
 * one is to be asked for whoever is without a result; client->end says so. */
bool client_passes_on(struct client *client, const struct fate *fate);

/* --- transaction_abort.c --- */

/* Whether what may have been taken is sent once more, at once. */
bool transaction_may_repeat(const struct client *client);
/* Lost in the middle: whom nothing is known of may be tried again. */
void transaction_abort(struct client *client, const struct fate *fate,
		       struct slice words);

/* --- client_body.c --- */

void body_send(struct client *client);
enum client_state body_replied(struct client *client,
			       const struct reply_in *reply);
void end_send(struct client *client);
enum client_state end_replied(struct client *client,
			      const struct reply_in *reply);
/* It is being sent, or has been. */
bool body_is_under_way(const struct client *client);
/* Gives the peer so much time, from now on and from when it has taken a good
 * part of the message. */
void body_allow(struct client *client, uint64_t timeout_ms);
/* Whether it still has some. */
bool body_goes_on(struct client *client, uint64_t timeout_ms);
/* How far the peer has come, for who reads the log. */
void body_hint(const struct client *client, struct text *out);
/* Whether the kernel would go on sending what is given up here. */
bool body_is_on_its_way(const struct client *client);
/* A read that goes on is nobody's any more. */
void body_done(struct client *client);

#endif
