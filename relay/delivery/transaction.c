#include <stdlib.h>

#include "relay/delivery/client_private.h"
#include "relay/net/wire.h"

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

/* The same for everybody whom the transaction has accepted so far. */
static void
accepted_set(struct client *client, const struct fate *fate,
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

/* For all of the message that are still without a result. */
static void
message_set(struct client *client, const struct fate *fate, struct slice words)
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
	message_set(client, fate, text_slice(&words));
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

/* The message as this peer is to get it. */
static struct message *
message_of(const struct client *client)
{
	return client->version != NULL ? client->version
				       : client->attempt->delivery->message;
}

static bool
is_too_big(const struct client *client)
{
	return client->has_size && client->size_max > 0 &&
	       message_size(message_of(client)) > client->size_max;
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
	message_set(client, &fate, text_slice(&words));
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
	const struct message *message = message_of(client);
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
	accepted_set(client, &fate, text_slice(&words));
	return CLIENT_RSET;
}

/* --- the message --- */

static void body_read_done(struct store_read_body *read,
			   const struct fault *fault);

/* False: enough for now. */
static bool
bytes_send(struct client *client, struct slice bytes)
{
	CLEAN(text_done) struct text out = {0};

	wire_stuff(&out, bytes, &client->transaction.at_line_start);
	return stream_write(client->stream, text_slice(&out));
}

static void
body_read_start(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	struct body_read *reading = memory_new(sizeof(*reading));

	ASSERT(transaction->reading == NULL);
	transaction->reading = reading;
	reading->client = client;
	reading->read = (struct store_read_body){
		.message = message_ref(message_of(client)),
		.offset = transaction->offset,
		.max = BODY_CHUNK,
		.loop = client->settings.loop,
		.done = body_read_done,
	};
	/* Where the client goes first its lease may be settled, and all end,
	 * while the store still reads. */
	loop_hold(client->settings.loop);
	store_read_body(client->settings.store, &reading->read);
}

/* The chunk in memory that holds the offset. All but the last are full. */
static struct slice
chunk_at(const struct body *body, uint64_t offset)
{
	size_t i = (size_t)(offset / BODY_CHUNK);

	ASSERT(i < body->chunks_count);
	return slice_from(body->chunks[i], (size_t)(offset % BODY_CHUNK));
}

/* What goes out is our fields, then the bytes received: message.h. One block
 * for each DRAINED, or as many as the output takes. */
void
body_send(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct message *message = message_of(client);
	const struct body *body = &message->body;
	bool has_room = true;

	if (transaction->reading != NULL)
		return;
	if (!transaction->has_prefix) {
		transaction->has_prefix = true;
		has_room = bytes_send(client, message->prefix);
	}
	while (has_room && transaction->offset < body->size) {
		struct slice chunk;

		if (body->chunks == NULL) {
			body_read_start(client);
			return;
		}
		chunk = chunk_at(body, transaction->offset);
		ASSERT(chunk.len > 0);
		transaction->offset += chunk.len;
		has_room = bytes_send(client, chunk);
	}
	ASSERT(transaction->offset <= body->size);
	if (transaction->offset == body->size)
		client_enter(client, CLIENT_END_OF_DATA);
}

static void
body_read_done(struct store_read_body *read, const struct fault *fault)
{
	struct body_read *reading = CONTAINER(read, struct body_read, read);
	struct client *client = reading->client;
	struct slice bytes = text_slice(&read->bytes);
	bool has_room = false;

	if (client != NULL) {
		client->transaction.reading = NULL;
		if (fault != NULL || bytes.len == 0) {
			struct fate fate = outcome_of_trouble(TROUBLE_DAMAGED);

			client->is_of_message = true;
			message_set(client, &fate,
				    fault != NULL ? SLICE(fault->text)
						  : SLICE(fate.words));
			client_enter(client,
				     client_end_trouble(client, TROUBLE_DAMAGED,
							SLICE_NONE));
		} else {
			client->transaction.offset += bytes.len;
			has_room = bytes_send(client, bytes);
		}
	}
	loop_release(read->loop);
	message_unref(read->message);
	text_done(&read->bytes);
	free(reading);
	if (client == NULL)
		return;
	/* Without room DRAINED will say when to go on; but the end of the body
	 * needs none. */
	if (client->state == CLIENT_BODY &&
	    (has_room ||
	     client->transaction.offset == message_of(client)->body.size))
		client_enter(client, CLIENT_BODY);
	client_settle(client);
}

/* An answer before the end was sent. The peer has made up its mind, but we are
 * out of step with it from now on; it can only be a refusal. */
enum client_state
body_replied(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_reply(STAGE_DATA, reply);
	CLEAN(text_done) struct text words = {0};

	if (reply->code / 100 != 4 && reply->code / 100 != 5)
		return client_end_trouble(client, TROUBLE_BROKEN_REPLY,
					  SLICE("a reply before its time"));
	if (fate.scope != SCOPE_HOST) {
		outcome_write_reply(&words, reply);
		accepted_set(client, &fate, text_slice(&words));
		client->is_of_message = true;
	}
	return client_end_reply(client, &fate, reply);
}

void
end_send(struct client *client)
{
	stream_write(client->stream, client->transaction.at_line_start
					     ? SLICE(".\r\n")
					     : SLICE("\r\n.\r\n"));
}

enum client_state
end_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	struct fate fate = outcome_of_reply(STAGE_END_OF_DATA, reply);
	CLEAN(text_done) struct text words = {0};

	outcome_write_reply(&words, reply);
	if (!transaction->is_empty)
		accepted_set(client, &fate, text_slice(&words));
	if (fate.scope == SCOPE_HOST)
		return client_end_reply(client, &fate, reply);
	return attempt_is_complete(client->attempt) ? CLIENT_IDLE
						    : CLIENT_MAIL;
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
		accepted_set(client, &deferred, words);
	}
	for (size_t i = 0; i < client->attempt->delivery->recipients_count;
	     i++)
		client->attempt->accepted[i] = false;
}

void
transaction_done(struct client *client)
{
	struct body_read *reading = client->transaction.reading;

	if (reading != NULL)
		reading->client = NULL;
	client->transaction.reading = NULL;
	convert_cancel(&client->convert);
	if (client->version != NULL)
		message_unref(TAKE(client->version));
	client->changes = NULL;
}
