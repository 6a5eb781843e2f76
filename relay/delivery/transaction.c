#include "relay/delivery/client_private.h"
#include "relay/queue/dsn.h"

/* --- results --- */

void
client_set_recipient(struct client *client, unsigned i, const struct fate *fate,
		     struct slice words)
{
	struct recipient_result result;

	client_result(client, fate, words, &result);
	attempt_set(client->attempt, i, &result);
	client->attempt->accepted[i] = false;
}

void
client_set_accepted(struct client *client, const struct fate *fate,
		    struct slice words)
{
	struct transaction *transaction = &client->transaction;

	for (unsigned i = 0; i < transaction->count; i++) {
		unsigned recipient = transaction->recipients[i];

		if (client->attempt->accepted[recipient])
			client_set_recipient(client, recipient, fate, words);
	}
	transaction->accepted = 0;
}

void
client_set_message(struct client *client, const struct fate *fate,
		   struct slice words)
{
	struct recipient_result result;

	client_result(client, fate, words, &result);
	attempt_fill(client->attempt, &result);
	client->transaction.accepted = 0;
}

static void
message_set_reply(struct client *client, const struct fate *fate,
		  const struct reply_in *reply)
{
	CLEAN(text_done) struct text words = {0};

	outcome_write_reply(&words, reply);
	client_set_message(client, fate, text_slice(&words));
}

const struct recipient *
client_recipient(const struct client *client, size_t i)
{
	const struct delivery *delivery = client->attempt->delivery;
	unsigned index = delivery->recipients[i].index;

	ASSERT(index < delivery->message->recipients_count);
	return &delivery->message->recipients[index];
}

struct message *
client_message(const struct client *client)
{
	return client->version != NULL ? client->version
				       : client->attempt->delivery->message;
}

/* --- MAIL, RCPT, DATA --- */

/* Everybody who has no result yet, as far as they fit. */
static void
recipients_choose(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct attempt *attempt = client->attempt;

	ASSERT(client->rcpt_max > 0);
	ASSERT(client->rcpt_max <= TRANSACTION_RECIPIENTS_MAX);
	strip_done(&transaction->strip);
	*transaction = (struct transaction){.at_line_start = true};
	for (size_t i = 0; i < attempt->delivery->recipients_count &&
			   transaction->count < client->rcpt_max;
	     i++) {
		if (attempt->results[i].outcome != OUTCOME_NONE)
			continue;
		attempt->accepted[i] = false;
		transaction->recipients[transaction->count++] = (unsigned)i;
	}
	ASSERT(transaction->count > 0);
}

static void
rcpt_write(const struct client *client, unsigned i, struct text *out)
{
	const struct recipient *rcpt =
		client_recipient(client, client->transaction.recipients[i]);

	text_add_string(out, "RCPT TO:");
	transaction_write_path(client, out, rcpt->address);
	if (client->has_dsn)
		dsn_write_rcpt(out, rcpt, client->transaction.is_utf8);
	text_add_string(out, "\r\n");
}

static void
mail_write(const struct client *client, struct text *out)
{
	const struct message *message = client_message(client);

	text_add_string(out, "MAIL FROM:");
	transaction_write_path(client, out, message->reverse_path);
	if (client->has_size)
		text_addf(out, " SIZE=%llu",
			  (unsigned long long)message_size(message));
	if (client->has_8bitmime &&
	    (message->body.has_8bit || message->declared_8bit))
		text_add_string(out, " BODY=8BITMIME");
	if (client->transaction.is_utf8)
		text_add_string(out, " SMTPUTF8");
	if (client->has_dsn)
		dsn_write_mail(out, message);
	text_add_string(out, "\r\n");
}

void
mail_send(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	CLEAN(text_done) struct text out = {0};

	recipients_choose(client);
	client->mails++;
	/* BDAT begins with the size, which what is left out changes. */
	transaction->is_chunked = client->has_chunking &&
				  client->settings.sign == ROUTE_SIGN_KEEP;
	transaction->is_utf8 =
		client->has_smtputf8 && transaction_is_utf8(client);
	mail_write(client, &out);
	/* RFC 2920: the whole envelope in one write. */
	transaction->is_ahead = client->has_pipelining;
	if (transaction->is_ahead) {
		for (unsigned i = 0; i < transaction->count; i++)
			rcpt_write(client, i, &out);
		if (!transaction->is_chunked)
			text_add_string(&out, "DATA\r\n");
	}
	stream_write(client->stream, text_slice(&out));
}

/* What is said of a parameter and not of an address: RFC 5321 4.1.1.11. */
static bool
refuses_parameters(const struct reply_in *reply)
{
	return reply->code == 555 || reply->code == 504 ||
	       (reply->code == 501 &&
		(reply->status.len == 0 ||
		 slice_starts(reply->status, SLICE("5.5."))));
}

/* Who offers DSN and does not know its parameters: the message may do without
 * them. Replies to what is ahead may still come, so not on this connection. */
static enum client_state
end_without_dsn(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);

	client->end.is_dsn_trouble = true;
	return client_end_reply(client, &fate, reply);
}

void
transaction_take_back(struct client *client)
{
	for (size_t i = 0; i < client->attempt->delivery->recipients_count; i++)
		client->attempt->accepted[i] = false;
	client->transaction.accepted = 0;
}

/* RFC 5321 5.1 has the sender try all hosts until one takes it; a permanent no
 * is the site's. */
bool
client_passes_on(struct client *client, const struct fate *fate)
{
	client->end.is_passing =
		fate->may_try_next_host && client->settings.has_other_host;
	if (client->end.is_passing)
		transaction_take_back(client);
	return client->end.is_passing;
}

/* 421 is the end of what came before. Others say "too many messages on this
 * connection" with a code for now, behind those that they have taken: 452 4.5.3
 * of OpenSMTPD. */
bool
mail_ends_connection(const struct client *client, const struct reply_in *reply)
{
	return reply->code == 421 ||
	       (reply->code / 100 == 4 && client->has_taken);
}

enum client_state
mail_replied(struct client *client, const struct reply_in *reply)
{
	const struct message *message = client_message(client);
	struct fate fate = outcome_of_reply(STAGE_MAIL, reply);
	bool is_end = mail_ends_connection(client, reply);

	if (fate.outcome == OUTCOME_NONE)
		return CLIENT_RCPT;
	if (client->has_dsn && refuses_parameters(reply) &&
	    (message->ret != RET_NOT_SAID || message->envid.len > 0))
		return end_without_dsn(client, reply);
	client->end.is_worn = is_end && client_is_between(client);
	if (reply->code == 421)
		return client_end_sent_away(client, &fate, reply);
	if (is_end || fate.scope == SCOPE_HOST ||
	    client_passes_on(client, &fate))
		return client_end_reply(client, &fate, reply);
	message_set_reply(client, &fate, reply);
	/* The answers to what is ahead are still to come. */
	return client->transaction.is_ahead ? CLIENT_RCPT : CLIENT_IDLE;
}

void
rcpt_send(struct client *client)
{
	CLEAN(text_done) struct text out = {0};

	if (client->transaction.is_ahead)
		return;
	rcpt_write(client, client->transaction.next, &out);
	stream_write(client->stream, text_slice(&out));
}

/* RFC 5321 4.5.3.1.10: the surplus goes in another transaction. Only where this
 * one has somebody, so that each makes progress; and a full mailbox may use the
 * same codes with a status of its own. */
static bool
rcpt_is_surplus(const struct client *client, const struct reply_in *reply)
{
	return client->transaction.accepted > 0 &&
	       (reply->code == 452 || reply->code == 552) &&
	       (reply->status.len == 0 ||
		slice_ends_nocase(reply->status, SLICE(".5.3")));
}

/* With BDAT nothing is asked before the octets go. */
static enum client_state
rcpts_replied_chunked(struct client *client)
{
	client->transaction.is_ahead = false;
	return client->transaction.accepted > 0 ? CLIENT_BODY : CLIENT_RSET;
}

/* Neither has he a result, nor some of the others. */
static bool
has_others(const struct attempt *attempt, unsigned recipient)
{
	size_t open = 0;

	for (size_t i = 0; i < attempt->delivery->recipients_count; i++)
		open += attempt->results[i].outcome == OUTCOME_NONE;
	return open > 1 && attempt->results[recipient].outcome == OUTCOME_NONE;
}

/* 421 may be meant for one mailbox, whose server is away: it would keep the mail
 * from all others of the message, each time. */
static enum client_state
end_at_rcpt(struct client *client, unsigned recipient, const struct fate *fate,
	    const struct reply_in *reply)
{
	CLEAN(text_done) struct text words = {0};

	if (reply->code != 421)
		return client_end_reply(client, fate, reply);
	if (!client->settings.has_other_host &&
	    has_others(client->attempt, recipient)) {
		outcome_write_reply(&words, reply);
		client_set_recipient(client, recipient, fate,
				     text_slice(&words));
		client->end.is_of_recipient = true;
	}
	return client_end_sent_away(client, fate, reply);
}

enum client_state
rcpt_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	unsigned recipient = transaction->recipients[transaction->next++];
	struct attempt *attempt = client->attempt;
	struct fate fate = outcome_of_reply(STAGE_RCPT, reply);
	const struct recipient *rcpt = client_recipient(client, recipient);
	bool is_last = transaction->next == transaction->count;

	if (fate.scope == SCOPE_HOST)
		return end_at_rcpt(client, recipient, &fate, reply);
	if (client->has_dsn && refuses_parameters(reply) &&
	    attempt->results[recipient].outcome == OUTCOME_NONE &&
	    (rcpt->notify != 0 || rcpt->orcpt.len > 0))
		return end_without_dsn(client, reply);
	if (attempt->results[recipient].outcome != OUTCOME_NONE) {
		/* MAIL was refused; this only follows from it. */
	} else if (fate.outcome == OUTCOME_NONE) {
		attempt->accepted[recipient] = true;
		transaction->accepted++;
	} else if (rcpt_is_surplus(client, reply)) {
		/* The next transactions need not find out again, where it is
		 * certain. */
		if (reply->status.len > 0)
			client->rcpt_max = transaction->accepted;
	} else if (fate.may_try_next_host && client->settings.has_other_host) {
		/* For the next host; but first come those whom this one takes,
		 * or refuses for good. */
		if (is_last && transaction->accepted == 0 &&
		    client_passes_on(client, &fate))
			return client_end_reply(client, &fate, reply);
	} else {
		CLEAN(text_done) struct text words = {0};

		outcome_write_reply(&words, reply);
		client_set_recipient(client, recipient, &fate,
				     text_slice(&words));
	}
	if (!is_last)
		return CLIENT_RCPT;
	if (transaction->is_chunked)
		return rcpts_replied_chunked(client);
	if (transaction->is_ahead || transaction->accepted > 0)
		return CLIENT_DATA;
	return CLIENT_RSET;
}

void
data_send(struct client *client)
{
	if (!client->transaction.is_ahead)
		stream_write(client->stream, SLICE("DATA\r\n"));
}

enum client_state
data_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	struct fate fate = outcome_of_reply(STAGE_DATA, reply);
	CLEAN(text_done) struct text words = {0};

	transaction->is_ahead = false;
	if (fate.outcome == OUTCOME_NONE) {
		/* RFC 2920 3.1: a 354 to nobody is answered with an empty
		 * message. */
		transaction->is_empty = transaction->accepted == 0;
		return transaction->is_empty ? CLIENT_END_OF_DATA : CLIENT_BODY;
	}
	if (transaction->accepted > 0 && reply->code == 421)
		return client_end_sent_away(client, &fate, reply);
	if (transaction->accepted > 0 &&
	    (fate.scope == SCOPE_HOST || client_passes_on(client, &fate)))
		return client_end_reply(client, &fate, reply);
	outcome_write_reply(&words, reply);
	client_set_accepted(client, &fate, text_slice(&words));
	return CLIENT_RSET;
}

void
transaction_done(struct client *client)
{
	body_done(client);
	convert_cancel(&client->convert);
	if (client->version != NULL)
		message_unref(TAKE(client->version));
	client->changes = NULL;
}
