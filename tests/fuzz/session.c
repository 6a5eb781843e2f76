/*
 * A session and what a client says, DATA and BDAT among it: neither the replies
 * nor what is stored depend on how the octets were cut, each message that was
 * promised to be kept is stored, and nothing is left behind. The first octet
 * says how they are cut, and whether an envelope has been given already.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "keys/keyring.h"
#include "relay/server/census.h"
#include "relay/server/offenders.h"
#include "relay/server/rates.h"
#include "relay/server/session.h"
#include "tests/fake/queue.h"
#include "tests/fake/stream.h"
#include "tests/fake/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct share share;
static struct loop loop;
static struct generation generation;
static struct options options;
static struct listener_options listener;
static struct network network;
static struct tls_context *contexts[1];
static struct users *users[1];
static size_t sessions;

void
share_session_ended(struct share *ended)
{
	ASSERT(ended == &share);
	sessions--;
}

struct generation *
generation_ref(struct generation *used)
{
	used->references++;
	return used;
}

void
generation_unref(struct generation *used)
{
	used->references--;
}

static void
world_make(void)
{
	struct keys_options none = {.domains_count = 0};
	struct keyring *keyring = keyring_new(&none, NULL, 0);

	ASSERT(network_parse(SLICE("127.0.0.0/8"), &network, NULL));
	options.hostname = SLICE("mail.example.net");
	options.listeners = &listener;
	options.listeners_count = 1;
	options.limits = (struct limits_options){
		.max_message_size = 3000, .max_recipients = 3, .max_hops = 3,
		.max_header_size = 1000, .command_timeout_ms = 5 * MINUTE,
	};
	listener.name = SLICE("apps");
	listener.allow_from = &network;
	listener.allow_from_count = 1;
	generation = (struct generation){
		.options = &options, .listener_tls = contexts,
		.listener_users = users, .references = 1,
		.policy = policy_new(keyring, &options.signing)};
	keyring_unref(keyring);
	share.offenders = offenders_new();
	share.rates = rates_new();
	share.census = census_new();
	share.loop = &loop;
	loop.generation = &generation;
	list_init(&share.sessions);
}

static void
settle(void)
{
	while (fake_queue_turn() || fake_worker_turn() || fake_stream_turn())
		;
}

static void
say(struct slice bytes, size_t piece)
{
	for (size_t i = 0; i < bytes.len && fake_stream_is_open(); i += piece) {
		fake_stream_send(slice_sub(bytes, i, piece));
		settle();
	}
}

struct result {
	size_t stored;
	struct text body, replies;
};

/* Every 250 that names an id. */
static size_t
promised(struct slice replies)
{
	struct slice line;
	size_t count = 0;

	while (slice_split(&replies, '\n', &line))
		count += slice_starts(line, SLICE("250 2.0.0 Ok: queued as "));
	return count;
}

static void
converse(struct slice said, size_t piece, bool has_envelope,
	 struct result *result)
{
	const struct message *last;

	fake_stream_forget();
	fake_stream_from("127.0.0.1");
	sessions++;
	session_start(&share, 3, &generation, 0);
	if (has_envelope)
		say(SLICE("EHLO client.example.com\r\n"
			  "MAIL FROM:<a@example.com>\r\n"
			  "RCPT TO:<b@example.org>\r\n"), 1000);
	say(said, piece);
	text_add(&result->replies, fake_stream_output());
	if (fake_stream_is_open())
		fake_stream_vanish();
	settle();
	ASSERT(sessions == 0);
	ASSERT(list_is_empty(&share.sessions));
	ASSERT(generation.references == 1);
	result->stored = fake_queue_stored();
	ASSERT(promised(text_slice(&result->replies)) <= result->stored);
	last = fake_queue_last_message();
	if (last != NULL) {
		ASSERT(last->body.size <= options.limits.max_message_size);
		ASSERT(last->body.size == 0 ||
		       slice_ends_nocase(last->body.chunks[0], SLICE("\r\n")));
		text_add(&result->body, last->body.chunks[0]);
	}
	fake_queue_forget();
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static bool is_made;
	struct result whole = {.stored = 0}, cut = {.stored = 0};
	struct slice said;

	if (len == 0)
		return 0;
	if (!is_made)
		world_make();
	is_made = true;
	said = slice_of(bytes + 1, len - 1);
	converse(said, 1000, bytes[0] % 2 != 0, &whole);
	converse(said, 1 + bytes[0] / 2, bytes[0] % 2 != 0, &cut);
	ASSERT(whole.stored == cut.stored);
	ASSERT(slice_eq(text_slice(&whole.body), text_slice(&cut.body)));
	/* Ids differ, but not in their length. */
	ASSERT(whole.replies.len == cut.replies.len);
	text_done(&whole.body);
	text_done(&whole.replies);
	text_done(&cut.body);
	text_done(&cut.replies);
	return 0;
}
