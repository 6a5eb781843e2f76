#include <stdlib.h>

#include "relay/delivery/client_private.h"
#include "relay/net/wire.h"

static void body_read_done(struct store_read_body *read,
			   const struct fault *fault);

/* --- what goes out together --- */

struct block {
	struct client *client;
	struct slice parts[STREAM_PARTS_MAX]; /* as they lie elsewhere */
	size_t count;
	bool has_room; /* false: enough for now */
};

static void
block_send(struct block *block)
{
	for (size_t i = 0; i < block->count; i++)
		block->client->transaction.written += block->parts[i].len;
	if (block->count > 0)
		block->has_room = stream_write_parts(block->client->stream,
						     block->parts,
						     block->count);
	block->count = 0;
}

static void
block_add_part(struct block *block, struct slice part)
{
	if (block->count == COUNT(block->parts))
		block_send(block);
	block->parts[block->count++] = part;
}

static void
block_stuff(struct block *block, struct slice bytes)
{
	bool *at_line_start = &block->client->transaction.at_line_start;
	struct slice run;

	while (wire_stuff_run(&bytes, at_line_start, &run))
		block_add_part(block, run);
}

/* Bytes of the message, which stay where they are until the block is sent. */
static void
block_add(struct block *block, struct slice bytes)
{
	CLEAN(text_done) struct text left = {0};
	struct client *client = block->client;

	if (client->transaction.is_chunked) {
		block_add_part(block, bytes);
	} else if (client->settings.sign == ROUTE_SIGN_KEEP) {
		block_stuff(block, bytes);
	} else {
		strip_feed(&client->transaction.strip, bytes, &left);
		block_stuff(block, text_slice(&left));
		block_send(block);
	}
}

/* What follows the last byte goes with it. */
static void
block_end(struct block *block)
{
	struct transaction *transaction = &block->client->transaction;
	CLEAN(text_done) struct text left = {0};

	transaction->has_end = true;
	if (!transaction->is_chunked) {
		/* A header that ends within a name. */
		if (block->client->settings.sign == ROUTE_SIGN_STRIP)
			strip_end(&transaction->strip, &left);
		block_stuff(block, text_slice(&left));
		block_add_part(block, transaction->at_line_start
					      ? SLICE(".\r\n")
					      : SLICE("\r\n.\r\n"));
	}
	block_send(block);
}

static struct body_read *
body_read_new(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	struct body_read *reading = memory_new(sizeof(*reading));

	ASSERT(transaction->reading == NULL);
	transaction->reading = reading;
	reading->client = client;
	return reading;
}

static void
body_read_start(struct client *client)
{
	const struct transaction *transaction = &client->transaction;
	struct body_read *reading = body_read_new(client);

	reading->read = (struct store_read_body){
		.message = message_ref(client_message(client)),
		.offset = transaction->offset,
		.max = BODY_READ_MAX,
		.loop = client->settings.loop,
		.done = body_read_done,
	};
	/* Where the client goes first its lease may be settled, and all end,
	 * while the store still reads. */
	loop_hold(client->settings.loop);
	store_read_body(client->settings.store, &reading->read);
}

static void
body_turn_come(struct post *post)
{
	struct body_read *reading = CONTAINER(post, struct body_read, turn);
	struct client *client = reading->client;

	free(reading);
	if (client == NULL)
		return;
	client->transaction.reading = NULL;
	if (client->state == CLIENT_BODY)
		client_enter(client, CLIENT_BODY);
	client_settle(client);
}

/* The loop sees to everybody else first. */
static void
body_turn_start(struct client *client)
{
	struct body_read *reading = body_read_new(client);

	loop_post(client->settings.loop, &reading->turn, body_turn_come);
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
prefix_add(struct block *block)
{
	struct client *client = block->client;
	struct strip *strip = &client->transaction.strip;
	CLEAN(text_done) struct text nothing = {0};

	client->transaction.has_prefix = true;
	if (client->transaction.is_chunked)
		chunk_begin(client);
	strip_done(strip);
	strip_init(strip);
	block_add(block, client_message(client)->prefix);
	if (client->settings.sign != ROUTE_SIGN_NONE)
		return;
	strip_end(strip, &nothing);
	ASSERT(nothing.len == 0);
}

/* Bytes that are in the caller's hands for as long as this takes. */
static void
block_send_bytes(struct block *block, struct slice bytes)
{
	struct transaction *transaction = &block->client->transaction;
	const struct body *body = &client_message(block->client)->body;

	transaction->offset += bytes.len;
	block_add(block, bytes);
	if (transaction->offset == body->size)
		block_end(block);
	else
		block_send(block);
}

/* Of a body in a file, what can be had without waiting, and as much as one host
 * may have in its turn; what then has to come before the rest is started. */
static void
file_send(struct block *block)
{
	struct client *client = block->client;
	struct text *bytes = &client->settings.loop->scratch;
	uint64_t begin = client->transaction.offset, *at;

	at = &client->transaction.offset;
	while (block->has_room && *at < client_message(client)->body.size) {
		if (*at - begin >= BODY_TURN_MAX) {
			body_turn_start(client);
			return;
		}
		text_clear(bytes);
		if (!store_read_body_now(client->settings.store,
					 client_message(client), *at,
					 BODY_READ_MAX, bytes)) {
			body_read_start(client);
			return;
		}
		block_send_bytes(block, text_slice(bytes));
	}
}

static void
memory_send(struct block *block)
{
	struct transaction *transaction = &block->client->transaction;
	const struct body *body = &client_message(block->client)->body;

	while (block->has_room && transaction->offset < body->size) {
		struct slice chunk = chunk_at(body, transaction->offset);

		ASSERT(chunk.len > 0);
		transaction->offset += chunk.len;
		block_add(block, chunk);
	}
	if (transaction->offset == body->size)
		block_end(block);
	else
		block_send(block);
}

/* What goes out is our fields, then the bytes received: message.h. As much as
 * the output takes; then DRAINED, the end of a read, or our turn says when to go
 * on. */
void
body_send(struct client *client)
{
	struct transaction *transaction = &client->transaction;
	const struct body *body = &client_message(client)->body;
	struct block block = {.client = client, .has_room = true};

	if (transaction->reading != NULL)
		return;
	if (!transaction->has_prefix)
		prefix_add(&block);
	if (body->chunks != NULL || body->size == 0)
		memory_send(&block);
	else
		file_send(&block);
	block_send(&block);
	if (transaction->offset == body->size)
		client_enter(client, CLIENT_END_OF_DATA);
}

/* --- how far the peer is --- */

/* No larger packet passes every path (RFC 8200 5). */
#define PACKET_SMALL 1280

static uint64_t
body_acknowledged(const struct client *client)
{
	uint64_t written = client->transaction.written, left;

	/* At its beginning there is nothing to ask the kernel about. */
	if (written == 0)
		return 0;
	left = stream_unacknowledged(client->stream);
	return left < written ? written - left : 0;
}

bool
body_is_under_way(const struct client *client)
{
	return client->state == CLIENT_BODY ||
	       client->state == CLIENT_END_OF_DATA;
}

/* The deadline is the next look. */
static void
look_later(struct client *client, uint64_t left_ms)
{
	stream_deadline(client->stream, left_ms < BODY_LOOK_MS ? left_ms
							       : BODY_LOOK_MS);
}

void
body_allow(struct client *client, uint64_t timeout_ms)
{
	client->transaction.noted = body_acknowledged(client);
	client->transaction.until_ms = clock_now_ms() + timeout_ms;
	look_later(client, timeout_ms);
}

bool
body_goes_on(struct client *client, uint64_t timeout_ms)
{
	const struct transaction *transaction = &client->transaction;
	uint64_t now_ms = clock_now_ms();

	if (body_acknowledged(client) >=
	    transaction->noted + BODY_PROGRESS_MIN)
		body_allow(client, timeout_ms);
	else if (now_ms < transaction->until_ms)
		look_later(client, transaction->until_ms - now_ms);
	else
		return false;
	return true;
}

void
body_hint(const struct client *client, struct text *out)
{
	uint64_t written = client->transaction.written, taken;

	if (!body_is_under_way(client))
		return;
	taken = body_acknowledged(client);
	if (taken == written)
		return;
	text_addf(out, "it has acknowledged %llu of %llu octets",
		  (unsigned long long)taken, (unsigned long long)written);
	if (taken < PACKET_SMALL && written - taken > PACKET_SMALL)
		text_add_string(out, ": are large packets lost on the way?");
}

bool
body_is_on_its_way(const struct client *client)
{
	return body_is_under_way(client) &&
	       stream_unacknowledged(client->stream) > 0;
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
	struct block block = {.client = client};

	if (client != NULL) {
		client->transaction.reading = NULL;
		if (fault != NULL) {
			body_is_unreadable(client, fault);
		} else {
			ASSERT(bytes.len > 0);
			block_send_bytes(&block, bytes);
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
	    (block.has_room ||
	     client->transaction.offset == client_message(client)->body.size))
		client_enter(client, CLIENT_BODY);
	client_settle(client);
}

/* Who does not know what he offers: RFC 5321 4.2.2 has 500 to 504 for commands,
 * none of them for what is in a message. */
static bool
is_chunk_trouble(const struct client *client, const struct reply_in *reply)
{
	return client->transaction.is_chunked && reply->code >= 500 &&
	       reply->code <= 504;
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
	if (reply->code == 421)
		return client_end_sent_away(client, &fate, reply);
	if (fate.scope != SCOPE_HOST && !client_passes_on(client, &fate)) {
		outcome_write_reply(&words, reply);
		client_set_accepted(client, &fate, text_slice(&words));
		client->is_of_message = true;
	}
	return client_end_reply(client, &fate, reply);
}

/* A transaction for nobody has no bytes before its end. */
void
end_send(struct client *client)
{
	struct block block = {.client = client};

	client->transaction.is_foretold = !client->reader.is_complete;
	if (!client->transaction.has_end)
		block_end(&block);
}

enum client_state
end_replied(struct client *client, const struct reply_in *reply)
{
	struct transaction *transaction = &client->transaction;
	struct fate fate = outcome_of_reply(STAGE_END_OF_DATA, reply);
	CLEAN(text_done) struct text words = {0};

	if (is_chunk_trouble(client, reply))
		return end_without_bdat(client, reply);
	if (!transaction->is_empty && reply->code == 421)
		return client_end_sent_away(client, &fate, reply);
	if (!transaction->is_empty && client_passes_on(client, &fate))
		return client_end_reply(client, &fate, reply);
	outcome_write_reply(&words, reply);
	client->has_taken |= fate.outcome == OUTCOME_DELIVERED;
	if (!transaction->is_empty)
		client_set_accepted(client, &fate, text_slice(&words));
	if (fate.scope == SCOPE_HOST)
		return client_end_reply(client, &fate, reply);
	return client_transaction_over(client);
}

void
body_done(struct client *client)
{
	struct body_read *reading = TAKE(client->transaction.reading);

	if (reading != NULL)
		reading->client = NULL;
	strip_done(&client->transaction.strip);
}
