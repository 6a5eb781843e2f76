/*
 * What transaction.c (envelope, signing, storing), transaction_bytes.c (what
 * comes, to the verdict), transaction_room.c (what it needs of the store) and
 * second_pass.c (what a message that has to be repaired needs more) share. For
 * them only.
 */
#ifndef RELAY_SERVER_TRANSACTION_PRIVATE_H
#define RELAY_SERVER_TRANSACTION_PRIVATE_H

#include "milter/newline.h"
#include "milter/prepare.h"
#include "relay/net/wire.h"
#include "relay/prepare/pass.h"
#include "relay/prepare/version.h"
#include "relay/server/census.h"
#include "relay/server/roster.h"
#include "relay/server/transaction.h"

/*
 * ENVELOPE, then BYTES; from there to REFUSED: the rest is read and dropped, in
 * constant memory. At the end of data → FINISHING (spool and signer at work;
 * looked at once more where that is due) → STORING (in the store's hands).
 *
 * A message that has to be repaired goes through BYTES once more, fed by its
 * second pass from the spool, into a new message and a new version.
 */
enum phase {
	PHASE_ENVELOPE,
	PHASE_BYTES,
	PHASE_REFUSED,
	PHASE_FINISHING,
	PHASE_STORING,
};

struct transaction {
	struct transaction_setup setup;
	struct arena arena;
	struct message *message;
	struct roster roster;
	enum phase phase;

	struct wire_data wire;
	struct newline newline; /* where the listener normalizes */
	struct text mended;
	struct separator separator;
	struct rewrite rewrite;
	struct rewriter rewriter; /* where `rewrite` has a rule for From */
	struct text rewritten;
	struct version *version; /* the message in the making */
	uint64_t size;           /* of its bytes so far */
	uint64_t announced;      /* by MAIL's SIZE */
	uint64_t reserved;       /* of the store */
	size_t envelope_weight;  /* memory, about */
	size_t held;             /* of the store, for envelope and header */
	bool is_blocked;         /* until it has drained */
	bool is_overgrown;       /* the second pass made too much of it */
	struct prepare_facts facts;
	bool adds_date, adds_message_id;
	struct slice mail_id; /* what Message-ID says, or will; cut */
	/* Of the user who sends it; NULL: he may write as anybody. */
	const struct account_options *account;
	struct slice not_his; /* who it says sends it, and may not; "": nobody */
	size_t from_count; /* From fields, for the account */
	struct slice from; /* the first one's value */

	/* The second pass. */
	struct repair_needs needs;
	struct repair_report report; /* what it did */
	struct pass *pass;
	uint64_t given_size; /* before */
	struct text notes;   /* what was not done, for the log */

	struct changes changes; /* once it is made */
	struct store_put put;
	bool is_expected; /* by the store */

	/* Set in PHASE_REFUSED. */
	const struct reply *refusal;
	struct slice refusal_extra;
	struct text reason;
	bool is_detached, is_telling;
};

/* --- transaction.c --- */

/* A version of transaction->message begins; its header is bounded. */
void transaction_make(struct transaction *transaction, size_t header_max);
/* No more bytes will come, and none will be changed: signed and stored. */
void transaction_finish(struct transaction *transaction);
/* Tells at once; behind the end of data. */
void transaction_give_up(struct transaction *transaction,
			 const struct reply *reply, struct slice extra,
			 struct slice reason);

extern const struct reply transaction_reply_local_error;
extern const struct reply transaction_reply_unsigned;

/* --- transaction_bytes.c --- */

/* The bound of a header, with what was put in. */
size_t transaction_header_max(const struct transaction *transaction);
/* Bytes are still coming: the reply has to wait for their end. */
void transaction_refuse(struct transaction *transaction,
			const struct reply *reply, struct slice extra,
			struct slice reason);

/* --- transaction_room.c --- */

/* That many bytes are to be kept, or kept already: why they cannot be, or
 * NULL. */
const struct reply *transaction_reserve(struct transaction *transaction,
					uint64_t bytes);
/* So much memory is needed for envelope and header; likewise. */
const struct reply *transaction_hold(struct transaction *transaction,
				     size_t weight);
size_t transaction_recipient_weight(const struct recipient *recipient);
void transaction_release(struct transaction *transaction);

extern const struct reply transaction_reply_no_room;

/* --- second_pass.c --- */

/* At the end of data, which has been judged: whether there has to be one.
 * Fills in `needs`. */
bool second_pass_is_due(struct transaction *transaction,
			const struct prepare_bytes *bytes);
/* Once all bytes are spooled. */
void second_pass_start(struct transaction *transaction);

#endif
