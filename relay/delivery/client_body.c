#include <stdlib.h>

#include "relay/delivery/client_private.h"
#include "relay/net/wire.h"

static void body_read_done(struct store_read_body *read,
			   const struct fault *fault);

/* Lines with a dot in front of them, in what is sent at once. */
#define DOTS_GUESS 32

/* False: enough for now. */
static bool
bytes_send(struct client *client, struct slice bytes)
{
	CLEAN(text_done) struct text out = {0}, left = {0};

	if (client->transaction.is_chunked)
		return stream_write(client->stream, bytes);
	if (client->settings.sign != ROUTE_SIGN_KEEP) {
		strip_feed(&client->transaction.strip, bytes, &left);
		bytes = text_slice(&left);
	}
	(void)text_room(&out, bytes.len + DOTS_GUESS);
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
		.message = message_ref(client_message(client)),
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

/* RFC 3030: the whole message is one chunk, whose size is known; so there is one
 * reply, behind its last octet, as there is for DATA. */
static void
chunk_begin(struct client *client)
{
	CLEAN(text_done) struct text out = {0};
	uint64_t size = message_size(client_message(client));

	text_addf(&out, "BDAT %llu LAST\r\n", (unsigned long long)size);
	stream_write(client->stream, text_slice(&out));
}

/* With sign = "none" the fields of others stay. The prefix is of whole fields:
 * nothing of it is held. */
static void
prefix_end(struct client *client)
{
	struct strip *strip = &client->transaction.strip;
	CLEAN(text_done) struct text nothing = {0};

	if (client->settings.sign != ROUTE_SIGN_NONE)
		return;
	strip_end(strip, &nothing);
	ASSERT(nothing.len == 0);
}

/* What goes out is our fields, then the bytes received: message.h. One block
 * for each DRAINED, or as many as the output takes. */
void
body_send(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct message *message = client_message(client);
	const struct body *body = &message->body;
	bool has_room = true;

	if (transaction->reading != NULL)
		return;
	if (!transaction->has_prefix) {
		transaction->has_prefix = true;
		if (transaction->is_chunked)
			chunk_begin(client);
		strip_done(&transaction->strip);
		strip_init(&transaction->strip);
		has_room = bytes_send(client, message->prefix);
		prefix_end(client);
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

/* What the disk did not give now it may give later; what is damaged stays so. */
static void
body_is_unreadable(struct client *client, const struct fault *fault)
{
	bool is_damaged = fault->kind == FAULT_INPUT ||
			  fault->kind == FAULT_ABSENT;
	enum outcome_trouble trouble =
		is_damaged ? TROUBLE_DAMAGED : TROUBLE_LOCAL;
	struct fate fate = outcome_of_trouble(trouble);
	CLEAN(text_done) struct text words = {0};

	text_addf(&words, "%s (%s)", fate.words, fault->text);
	client->is_of_message = true;
	client_set_message(client, &fate, text_slice(&words));
	client_enter(client, client_end_trouble(client, trouble, SLICE_NONE));
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
		if (fault != NULL) {
			body_is_unreadable(client, fault);
		} else {
			ASSERT(bytes.len > 0);
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
	     client->transaction.offset == client_message(client)->body.size))
		client_enter(client, CLIENT_BODY);
	client_settle(client);
}

/* Who does not know what he offers. */
static bool
is_chunk_trouble(const struct client *client, const struct reply_in *reply)
{
	return client->transaction.is_chunked &&
	       (reply->code == 500 || reply->code == 502);
}

/* The octets were taken for commands, so this connection is of no use; the
 * message has not been taken. */
static enum client_state
end_without_bdat(struct client *client, const struct reply_in *reply)
{
	struct fate fate = outcome_of_trouble(TROUBLE_CONNECTION_LOST);

	client->end.is_chunk_trouble = true;
	return client_end_reply(client, &fate, reply);
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
	if (is_chunk_trouble(client, reply))
		return end_without_bdat(client, reply);
	if (fate.scope != SCOPE_HOST) {
		outcome_write_reply(&words, reply);
		client_set_accepted(client, &fate, text_slice(&words));
		client->is_of_message = true;
	}
	return client_end_reply(client, &fate, reply);
}

void
end_send(struct client *client)
{
	CLEAN(text_done) struct text left = {0};

	if (client->transaction.is_chunked)
		return;
	/* A header that ends within a name. */
	if (client->settings.sign == ROUTE_SIGN_STRIP)
		strip_end(&client->transaction.strip, &left);
	if (left.len > 0)
		bytes_send(client, text_slice(&left));
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

	if (is_chunk_trouble(client, reply))
		return end_without_bdat(client, reply);
	outcome_write_reply(&words, reply);
	if (!transaction->is_empty)
		client_set_accepted(client, &fate, text_slice(&words));
	if (fate.scope == SCOPE_HOST)
		return client_end_reply(client, &fate, reply);
	if (attempt_is_complete(client->attempt))
		return CLIENT_IDLE;
	return client_is_worn(client) ? client_end_worn(client) : CLIENT_MAIL;
}

void
body_done(struct client *client)
{
	struct body_read *reading = TAKE(client->transaction.reading);

	if (reading != NULL)
		reading->client = NULL;
	strip_done(&client->transaction.strip);
}
