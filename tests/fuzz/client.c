/*
 * A conversation and what a host says, in pieces: each recipient has one fate,
 * which stays; nothing counts as delivered without a 2yz behind the end of the
 * data, and what may have been taken goes to nobody else at once. Nothing is
 * left behind.
 *
 * The first three octets are the message, the route and how the rest is cut.
 * The rest is what the host says, in segments with a '|' between; "!s" secures,
 * "!e" ends, "!t" lets an hour pass, "!g" lets store and conversion go on.
 */
#include <stdlib.h>

#include "relay/delivery/client_private.h"
#include "tests/fake/clock.h"
#include "tests/fake/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define ATTEMPTS 2
#define RECIPIENTS 3

static const char body[] = "From: <a@example.com>\r\n"
			   "DKIM-Signature: v=1;\r\n folded\r\n\r\n.dot\r\n";

/* --- store and conversion: they answer when they are let go on --- */

struct convert {
	struct convert_setup setup;
};

static struct convert *converting;
static struct store_read_body *reading;
static unsigned reads_now;
static struct loop loop;
static bool conversion_fails;

void
convert_start(const struct convert_setup *setup, struct convert **convert_out)
{
	ASSERT(converting == NULL);
	converting = memory_new(sizeof(*converting));
	converting->setup = *setup;
	*convert_out = converting;
}

void
convert_cancel(struct convert **convert)
{
	if (*convert == NULL)
		return;
	ASSERT(*convert == converting);
	free(TAKE(converting));
	*convert = NULL;
}

void
store_read_body(struct store *store, struct store_read_body *read)
{
	(void)store;
	ASSERT(reading == NULL);
	reading = read;
}

/* Every other time. */
bool
store_read_body_now(struct store *store, const struct message *message,
		    uint64_t offset, size_t max, struct text *out)
{
	(void)store;
	(void)max;
	if (!message->body.is_file || (reads_now++ & 1) != 0)
		return false;
	text_add(out, slice_sub(SLICE(body), (size_t)offset, 5));
	return true;
}

static void
convert_go_on(void)
{
	struct convert *convert = TAKE(converting);
	struct convert_result result = {.trouble = TROUBLE_NO_8BITMIME};

	if (!conversion_fails) {
		result.message = message_new_like(convert->setup.message);
		result.message->prefix = SLICE("Received: again\r\n");
		result.message->body.size = sizeof(body) - 1;
	}
	convert->setup.done(convert->setup.owner, &result);
	free(convert);
}

static bool
go_on(void)
{
	struct store_read_body *read;

	if (reading != NULL) {
		read = TAKE(reading);
		text_add(&read->bytes,
			 slice_sub(SLICE(body), (size_t)read->offset, 7));
		read->done(read, NULL);
		return true;
	}
	if (converting == NULL)
		return false;
	convert_go_on();
	return true;
}

/* --- the owner --- */

struct run {
	struct client *client;
	struct attempt *attempts[ATTEMPTS];
	enum outcome fates[ATTEMPTS][RECIPIENTS];
	size_t at;        /* which is carried */
	bool is_carrying;
	struct text said;  /* by the client since the attempt was given to it */
	struct text heard; /* of a line whose end is still to come */
	bool has_ended;    /* its data: no line was answered since */
	bool was_taken;    /* and the answer was 2yz */
};

/* The last octet of a message has gone out. */
static bool
has_end_of_data(struct slice said)
{
	ptrdiff_t at = slice_find(said, 'B');
	unsigned long long size;

	while (at >= 0) {
		struct slice rest = slice_from(said, (size_t)at);
		ptrdiff_t lf = slice_find(rest, '\n');

		if (slice_starts(rest, SLICE("BDAT ")) && lf >= 0) {
			size = strtoull(rest.bytes + 5, NULL, 10);
			return rest.len - (size_t)lf - 1 == size;
		}
		at = slice_find(slice_from(rest, 1), 'B');
		said = slice_from(rest, 1);
	}
	return slice_ends_nocase(said, SLICE("\r\n.\r\n"));
}

static void
said_note(struct run *run)
{
	struct slice said = fake_stream_output();

	if (said.len == 0)
		return;
	text_add(&run->said, said);
	fake_stream_forget();
	run->has_ended = has_end_of_data(text_slice(&run->said));
	if (run->has_ended)
		text_clear(&run->said);
}

/* Nobody's fate changes, and nobody has the message who has not said so. */
static void
check(struct run *run)
{
	for (size_t i = 0; i < RECIPIENTS && run->at < ATTEMPTS; i++) {
		enum outcome now = run->attempts[run->at]->results[i].outcome;
		enum outcome *before = &run->fates[run->at][i];

		ASSERT(*before == OUTCOME_NONE || *before == now);
		ASSERT(now != OUTCOME_DELIVERED || *before == now ||
		       run->was_taken);
		*before = now;
	}
}

static void
carry(struct run *run)
{
	text_clear(&run->said);
	fake_stream_forget();
	run->has_ended = run->was_taken = false;
	switch (client_carry(run->client, run->attempts[run->at], false)) {
	case CLIENT_CARRIES:
		run->is_carrying = true;
		return;
	case CLIENT_REFUSES:
		ASSERT(attempt_is_complete(run->attempts[run->at]));
		break;
	case CLIENT_PASSES_ON:
		ASSERT(!attempt_has_begun(run->attempts[run->at]));
		break;
	}
	run->at = ATTEMPTS;
	client_quit(&run->client);
}

static void
on_client(void *owner, enum client_event event)
{
	struct run *run = owner;

	if (event == CLIENT_ENDED) {
		run->client = NULL;
		/* Nobody knows whether it was taken. */
		ASSERT(!run->is_carrying || !run->has_ended ||
		       attempt_has_begun(run->attempts[run->at]));
		run->is_carrying = false;
		return;
	}
	if (event == CLIENT_CARRIED) {
		ASSERT(attempt_is_complete(run->attempts[run->at]));
		check(run);
		run->is_carrying = false;
		run->at++;
	}
	if (!client_is_ready(run->client))
		return;
	if (run->at < ATTEMPTS && !client_is_worn(run->client))
		carry(run);
	else
		client_quit(&run->client);
}

/* --- a run --- */

static struct attempt *
attempt_make(uint8_t kind)
{
	static const char *const addresses[RECIPIENTS] = {
		"r0@example.net", "r1@b\xc3\xbc" "cher.example",
		"\xc3\xbc@example.net"};
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct message *message = message_new(SLICE("a@example.com"));
	struct body *stored = &message->body;

	delivery->message = message;
	delivery->recipients_count = RECIPIENTS;
	delivery->recipients =
		memory_array(RECIPIENTS, sizeof(*delivery->recipients));
	for (unsigned i = 0; i < RECIPIENTS; i++) {
		const char *address = (kind & 1) != 0 ? addresses[i]
						      : addresses[0];

		message_add_recipient(message, SLICE(address),
				      SLICE("example.net"));
		if ((kind & 32) != 0)
			message->recipients[i].notify = NOTIFY_FAILURE;
		delivery->recipients[i].index = i;
	}
	message->prefix = SLICE("DKIM-Signature: v=1\r\nReceived: here\r\n");
	message->declared_smtputf8 = (kind & 1) != 0;
	message->envid = (kind & 32) != 0 ? SLICE("id") : SLICE_NONE;
	stored->size = sizeof(body) - 1;
	stored->has_8bit = (kind & 2) != 0;
	stored->has_8bit_header = (kind & 4) != 0;
	stored->is_file = (kind & 24) == 24;
	if ((kind & 8) == 0) {
		stored->chunks_count = 1;
		stored->chunks = arena_array(&message->arena, 1,
					     sizeof(*stored->chunks));
		stored->chunks[0] = SLICE(body);
	}
	return attempt_new(delivery);
}

static void
attempt_drop(struct attempt *attempt)
{
	struct delivery *delivery = attempt->delivery;

	delivery->message->body.chunks = NULL;
	delivery->message->body.chunks_count = 0;
	message_unref(delivery->message);
	free(delivery->recipients);
	free(delivery);
	attempt_free(attempt);
}

static void
open_it(struct run *run, struct host *host, struct login *login, uint8_t way)
{
	static const enum tls_policy policies[] = {
		TLS_NONE, TLS_OPPORTUNISTIC, TLS_REQUIRED, TLS_VERIFY};
	static const enum route_sign signs[] = {
		ROUTE_SIGN_KEEP, ROUTE_SIGN_STRIP, ROUTE_SIGN_NONE,
		ROUTE_SIGN_KEEP};
	struct fault fault;

	ASSERT(client_open(
		&(struct client_settings){
			.loop = &loop,
			.host = host,
			.source.helo = SLICE("relay.example.org"),
			.tls = policies[way & 3],
			.sign = signs[way >> 2 & 3],
			.implicit_tls = (way & 0x13) == 0x12,
			.has_other_host = (way & 0x20) != 0,
			.without_bdat = (way & 0x40) != 0,
			.login = (way & 0x80) != 0 ? login : NULL,
			.without_8bitmime = WITHOUT_8BITMIME_CONVERT,
			.event = on_client,
			.owner = run},
		&run->client, &fault));
	fake_stream_connect();
}

static void
hear(struct run *run, struct slice bytes)
{
	ptrdiff_t lf = slice_find_last(bytes, '\n');
	struct slice line;

	text_add(&run->heard, bytes);
	/* Blanks before it are passed over, and what is cut off was said, too. */
	line = text_slice(&run->heard);
	line = slice_from(line, (size_t)(slice_trim(line).bytes - line.bytes));
	if (run->has_ended && (lf >= 0 || line.len >= sizeof("250 ") - 1)) {
		run->was_taken = line.len > 0 && line.bytes[0] == '2';
		run->has_ended = lf < 0;
	}
	if (lf >= 0) {
		text_clear(&run->heard);
		text_add(&run->heard, slice_from(bytes, (size_t)lf + 1));
	}
	fake_stream_send(bytes);
	said_note(run);
}

static void
step(struct run *run, struct slice segment, size_t piece)
{
	if (slice_eq(segment, SLICE("!e")))
		fake_stream_end();
	else if (slice_eq(segment, SLICE("!t")))
		fake_stream_pass(1 * HOUR);
	else if (slice_eq(segment, SLICE("!g")))
		(void)go_on();
	else if (fake_stream_is_handshaking() && slice_eq(segment, SLICE("!s")))
		fake_stream_secure();
	else if (!fake_stream_is_handshaking())
		for (size_t i = 0; i < segment.len && fake_stream_is_open();
		     i += piece)
			hear(run, slice_sub(segment, i, piece));
	said_note(run);
	check(run);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct host host = {.name = SLICE("mx.example.net")};
	struct login login = {.user = SLICE("user"),
			      .password = SLICE("secret"),
			      .may_be_clear = true};
	struct run run = {.at = 0};
	struct slice rest, segment;

	if (len < 3)
		return 0;
	ASSERT(address_parse_host(SLICE("192.0.2.1"), 25, &host.address));
	conversion_fails = (bytes[0] & 16) != 0;
	for (size_t i = 0; i < ATTEMPTS; i++)
		run.attempts[i] = attempt_make(bytes[0]);
	open_it(&run, &host, &login, bytes[1]);
	rest = slice_of(bytes + 3, len - 3);
	while (fake_stream_is_open() && slice_split(&rest, '|', &segment))
		step(&run, segment, 1 + bytes[2]);
	fake_stream_vanish();
	if (run.client != NULL)
		client_close(&run.client);
	while (go_on())
		;
	ASSERT(!fake_stream_is_open());
	fake_stream_forget();
	text_done(&run.said);
	text_done(&run.heard);
	for (size_t i = 0; i < ATTEMPTS; i++)
		attempt_drop(run.attempts[i]);
	return 0;
}
