#include <stdlib.h>

#include "relay/delivery/client_private.h"

/* --- results --- */

static void
recipient_set(struct client *client, unsigned i, const struct fate *fate,
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
			recipient_set(client, recipient, fate, words);
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

/* --- before: is there a point in it? --- */

static bool
path_is_clean(struct slice path)
{
	for (size_t i = 0; i < path.len; i++)
		if ((unsigned char)path.bytes[i] < 0x20 ||
		    path.bytes[i] == 0x7f)
			return false;
	return true;
}

/* The session lets none of these in; a damaged record must not either: what
 * follows a line end would be a command of its own. */
static bool
message_is_clean(const struct attempt *attempt)
{
	const struct delivery *delivery = attempt->delivery;
	const struct message *message = delivery->message;

	if (!path_is_clean(message->reverse_path))
		return false;
	for (size_t i = 0; i < delivery->recipients_count; i++)
		if (!path_is_clean(
			    message->recipients[delivery->recipients[i].index]
				    .address))
			return false;
	return true;
}

struct message *
client_message(const struct client *client)
{
	return client->version != NULL ? client->version
				       : client->attempt->delivery->message;
}

static bool
is_too_big(const struct client *client)
{
	return client->has_size && client->size_max > 0 &&
	       message_size(client_message(client)) > client->size_max;
}

static enum client_state
begin_not(struct client *client, enum outcome_trouble trouble,
	  struct slice detail)
{
	struct fate fate = outcome_of_trouble(trouble);
	CLEAN(text_done) struct text words = {0};

	text_add_string(&words, fate.words);
	if (detail.len > 0)
		text_addf(&words, "; %.*s", SLICE_ARG(detail));
	client_set_message(client, &fate, text_slice(&words));
	return CLIENT_IDLE;
}

enum client_state
transaction_begin(struct client *client)
{
	const struct message *message = client->attempt->delivery->message;

	if (!message_is_clean(client->attempt))
		return begin_not(client, TROUBLE_DAMAGED, SLICE_NONE);
	if (message->body.has_8bit && !client->has_8bitmime) {
		switch (client->settings.without_8bitmime) {
		case WITHOUT_8BITMIME_CONVERT:
			return CLIENT_CONVERTING;
		case WITHOUT_8BITMIME_BOUNCE: /* RFC 6152 3 */
			return begin_not(client, TROUBLE_NO_8BITMIME,
					 SLICE_NONE);
		case WITHOUT_8BITMIME_SEND:
			break;
		}
	}
	if (is_too_big(client)) /* RFC 1870 6.1 */
		return begin_not(client, TROUBLE_TOO_BIG, SLICE_NONE);
	return CLIENT_MAIL;
}

/* --- a version for a peer without 8BITMIME --- */

static void
on_converted(void *owner, const struct convert_result *result)
{
	struct client *client = owner;
	enum client_state next = CLIENT_MAIL;

	client->convert = NULL;
	client->version = result->message;
	client->changes = result->changes;
	if (result->message == NULL)
		next = begin_not(client, result->trouble, result->detail);
	else if (is_too_big(client))
		next = begin_not(client, TROUBLE_TOO_BIG, SLICE_NONE);
	client_enter(client, next);
	client_settle(client);
}

void
convert_send(struct client *client)
{
	struct loop *loop = client->settings.loop;

	ASSERT(client->convert == NULL);
	ASSERT(client->version == NULL);
	convert_start(&(struct convert_setup){
			      .loop = loop,
			      .store = client->settings.store,
			      .generation = loop->generation,
			      .message = client->attempt->delivery->message,
			      .done = on_converted,
			      .owner = client},
		      &client->convert);
}

/* --- MAIL, RCPT, DATA --- */

/* Everybody who has no result yet, as far as they fit. */
static void
recipients_choose(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct attempt *attempt = client->attempt;

	*transaction = (struct transaction){.at_line_start = true};
	for (size_t i = 0; i < attempt->delivery->recipients_count &&
			   transaction->count < TRANSACTION_RECIPIENTS_MAX;
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
	const struct delivery *delivery = client->attempt->delivery;
	unsigned recipient = client->transaction.recipients[i];
	unsigned index = delivery->recipients[recipient].index;

	ASSERT(index < delivery->message->recipients_count);
	text_add_string(out, "RCPT TO:<");
	text_add(out, delivery->message->recipients[index].address);
	text_add_string(out, ">\r\n");
}

void
mail_send(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct message *message = client_message(client);
	CLEAN(text_done) struct text out = {0};

	recipients_choose(client);
	text_add_string(&out, "MAIL FROM:<");
	text_add(&out, message->reverse_path);
	text_add_byte(&out, '>');
	if (client->has_size)
		text_addf(&out, " SIZE=%llu",
			  (unsigned long long)message_size(message));
	if (client->has_8bitmime &&
	    (message->body.has_8bit || message->declared_8bit))
		text_add_string(&out, " BODY=8BITMIME");
	text_add_string(&out, "\r\n");
	/* RFC 2920: the whole envelope in one write. */
	transaction->is_ahead = client->has_pipelining;
	if (transaction->is_ahead) {
		for (unsigned i = 0; i < transaction->count; i++)
			rcpt_write(client, i, &out);
		text_add_string(&out, "DATA\r\n");
	}
	stream_write(client->stream, text_slice(&out));
}

enum client_state
mail_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_MAIL, reply);

	if (fate.outcome == OUTCOME_NONE)
		return CLIENT_RCPT;
	/* RFC 5321 5.1 has the sender try all hosts until one takes it; a
	 * permanent no is the site's. */
	client->end.is_passing = fate.may_try_next_host &&
				 fate.scope != SCOPE_HOST &&
				 client->settings.has_other_host;
	if (fate.scope == SCOPE_HOST || client->end.is_passing)
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

enum client_state
rcpt_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	unsigned recipient = transaction->recipients[transaction->next++];
	struct attempt *attempt = client->attempt;
	struct fate fate = outcome_of_reply(STAGE_RCPT, reply);

	if (fate.scope == SCOPE_HOST)
		return client_end_reply(client, &fate, reply);
	if (attempt->results[recipient].outcome != OUTCOME_NONE) {
		/* MAIL was refused; this only follows from it. */
	} else if (fate.outcome == OUTCOME_NONE) {
		attempt->accepted[recipient] = true;
		transaction->accepted++;
	} else if (!rcpt_is_surplus(client, reply)) {
		CLEAN(text_done) struct text words = {0};

		outcome_write_reply(&words, reply);
		recipient_set(client, recipient, &fate, text_slice(&words));
	}
	if (transaction->next < transaction->count)
		return CLIENT_RCPT;
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
		return transaction->is_empty ? CLIENT_END_OF_DATA
					     : CLIENT_BODY;
	}
	if (fate.scope == SCOPE_HOST && transaction->accepted > 0)
		return client_end_reply(client, &fate, reply);
	outcome_write_reply(&words, reply);
	client_set_accepted(client, &fate, text_slice(&words));
	return CLIENT_RSET;
}

/* --- the end --- */

void
transaction_abort(struct client *client, const struct fate *fate,
		  struct slice words)
{
	struct fate deferred = *fate;

	/* Behind the last octet nobody knows whether the peer has it: not to
	 * another host at once, and "the message may be sent twice". */
	if (client->state == CLIENT_END_OF_DATA &&
	    !client->transaction.is_empty) {
		deferred.outcome = OUTCOME_DEFERRED;
		client_set_accepted(client, &deferred, words);
	}
	for (size_t i = 0; i < client->attempt->delivery->recipients_count;
	     i++)
		client->attempt->accepted[i] = false;
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
