/*
 * transaction - one message on its way in: from MAIL to the answer behind the
 * end of data.
 *
 *	transaction_new → transaction_recipient for each RCPT
 *	                → transaction_data: from here on, bytes
 *	                → transaction_read, or transaction_chunk and
 *	                  transaction_chunk_end, until TRANSACTION_ENDED: the
 *	                  verdict comes by finished(), once; or until
 *	                  TRANSACTION_REFUSED: transaction_refusal() says why
 *
 * The bytes stream once: line discipline, header, signing stage and spool in
 * one pass. Whatever is wrong with them is remembered and told at the end of
 * data, so that the conversation stays in step. Signing and the spool's last
 * part go on side by side, then the store makes the message durable; only then
 * is it accepted. A message that has to be repaired (options, section prepare)
 * is read from the spool once more and signed as it then is.
 *
 * Ownership   Holds a reference of its generation: a reload never mixes two.
 *             transaction_cancel() ends it in any state; a message that the
 *             store already has in hand is then finished without an owner,
 *             since it may be durable.
 * Events      From the loop, never from inside a call.
 */
#ifndef RELAY_SERVER_TRANSACTION_H
#define RELAY_SERVER_TRANSACTION_H

#include "milter/rewrite.h"
#include "relay/net/reply.h"
#include "relay/queue/schedule.h"
#include "relay/server/claims.h"
#include "relay/server/envelope.h"
#include "relay/server/trace.h"

struct citizen;
struct transaction;

/* The reply that ends it; extra as in reply_write(). The transaction is gone
 * when the call returns. */
typedef void transaction_finished_fn(void *owner, const struct reply *reply,
				     struct slice extra, struct slice reason);
/* There is room again: call transaction_read(). */
typedef void transaction_drained_fn(void *owner);

struct transaction_setup {
	struct loop *loop;
	struct store *store;
	struct schedule *schedule;
	struct citizen *citizen;       /* the client's; a reference is taken */
	struct generation *generation; /* a reference is taken */
	struct slice listener;         /* its name; copied */
	struct slice user;             /* who has authenticated, or ""; copied */
	struct slice user_by;          /* and how; copied */
	struct trace trace;            /* slices copied */
	const struct claims *origin;   /* by XFORWARD, or NULL; copied */
	bool normalizes;               /* bare CR and LF are made CRLF */
	/* Copied; what it points to outlives the transaction's bytes. */
	const struct rewrite *rewrite;
	transaction_finished_fn *finished;
	transaction_drained_fn *drained;
	void *owner;
};

struct transaction *transaction_new(const struct transaction_setup *setup,
				    const struct envelope_mail *mail);
void transaction_cancel(struct transaction **transaction);

void transaction_recipient(struct transaction *transaction,
			   const struct recipient *recipient); /* copied */
size_t transaction_recipients(const struct transaction *transaction);
/* The same one already (roster.h). */
bool transaction_has_recipient(const struct transaction *transaction,
			       const struct recipient *recipient);
const struct message *
transaction_message(const struct transaction *transaction);
/* What its header has said by now of Message-ID; "": nothing. */
struct slice transaction_mail_id(const struct transaction *transaction);
const struct options *
transaction_options(const struct transaction *transaction);

/* What is answered where the store lacks something; NULL: it does not. */
const struct reply *transaction_lack(enum store_lack lack);
/* One recipient more would need memory that there is not; NULL: there is. */
const struct reply *
transaction_lacks_memory(const struct transaction *transaction,
			 const struct recipient *recipient);
/* The same for this message, before its bytes come. */
const struct reply *transaction_room(const struct transaction *transaction);

enum transaction_bytes {
	TRANSACTION_DATA, /* dots are stuffed; CRLF.CRLF is the end */
	TRANSACTION_BDAT, /* RFC 3030: as they are; the end is by count */
};
void transaction_data(struct transaction *transaction,
		      enum transaction_bytes bytes);

enum transaction_status {
	TRANSACTION_MORE,    /* all is taken */
	TRANSACTION_BLOCKED, /* wait for drained() */
	TRANSACTION_ENDED,   /* end of data; finished() will come */
	TRANSACTION_REFUSED, /* end of data; cancel it */
};
enum transaction_status transaction_read(struct transaction *transaction,
					 struct slice input, size_t *used_out);
/* Takes all of it: MORE or BLOCKED. */
enum transaction_status transaction_chunk(struct transaction *transaction,
					  struct slice bytes);
/* When it is not blocked. MORE: the next chunk may come. */
enum transaction_status
transaction_chunk_end(struct transaction *transaction, bool is_last);
/* Lives as long as the transaction. */
void transaction_refusal(const struct transaction *transaction,
			 const struct reply **reply_out,
			 struct slice *extra_out, struct slice *reason_out);

#endif
