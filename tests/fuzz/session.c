/*
 * A session, fed with whatever a client may send, in whatever pieces. Time, the
 * queue behind and the stream are the fakes of the dialogues (tests/dialog,
 * which the corpus comes from).
 *
 * What holds, besides that nothing crashes, leaks or is still held:
 *
 *	- what is acknowledged is in the store, and nothing else is;
 *	- a message that was taken has an unambiguous end: it consists of lines
 *	  that end in CRLF, without a CR, LF or NUL anywhere else, and is no
 *	  longer than what is let in and what we add to it;
 *	- the conversation does not depend on how its bytes were cut, but where
 *	  commands or a message come before the reply that they have to wait
 *	  for, which ends it.
 *
 * The first two octets set up the listener (enum flag), the third one says how
 * the rest is cut, and whether the client waits for the reply to each line
 * (AT_ONCE): most of what does not is refused at its second command.
 */
#include <stdlib.h>

#include "relay/limits.h"
#include "relay/users.h"
#include "tests/fake/dovecot.h"
#include "tests/fake/log.h"
#include "tests/fake/queue.h"
#include "tests/fake/share.h"
#include "tests/fake/stream.h"
#include "tests/fake/worker.h"

#define MESSAGE_MAX 4096
#define HEADER_MAX 600
#define CODE_LEN (sizeof("250") - 1)
#define CODES_LEN (sizeof("250 2.0.0") - 1)
/* What we put into a message, and what a repair may make of it. */
#define STORED_MAX (4 * MESSAGE_MAX + 4096)

enum flag {
	LENIENT = 1 << 0,
	AUTHENTICATES = 1 << 1,
	AUTH_IS_REQUIRED = 1 << 2,
	AUTH_IN_CLEAR = 1 << 3,
	STARTTLS = 1 << 4,
	IMPLICIT_TLS = 1 << 5,
	BEHIND_PROXY = 1 << 6,
	NORMALIZES = 1 << 7,
	SLOW_SPOOL = 1 << 8,
	STRANGER = 1 << 9,
	HAS_ACCOUNT = 1 << 10,
	KEEPS_LONG_LINES = 1 << 11,
	ENDS_WITH_STOP = 1 << 12,
	ENDS_WITH_FIN = 1 << 13,
	ENDS_WITH_TIME = 1 << 14,
	BEHIND_MTA = 1 << 15,
};

#define AT_ONCE 0x80

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct share share;
static struct loop loop;
static struct generation generation;
static struct options options;
static struct listener_options listener;
static struct network loopback;
static struct account_options account;
static struct slice account_from[1];
static struct tls_context *contexts[1];
static struct users *users[1];
static struct policy *policy;
static size_t stored;
static uint64_t random_state;
static bool is_hasty; /* something came before its turn */

/* --- set-up --- */

/* All have the password "secret", hashed as cheaply as can be. */
static void
make_once(void)
{
	static const char file[] =
		"user:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n"
		"keys:{SCRAM-SHA-256}1,c2FsdHNhbHRzYWx0c2FsdA==,"
		"03wBIFW79nT8pWEWcElBzplnn8dKKnxzI9TjuI/JODU=,"
		"m73G7+EfOkBsR94WhDDKAy6ptSJ9vCOtT7wcUuuy4Uc=\n";

	if (policy != NULL)
		return;
	policy = fake_share_policy(&options.signing);
	ASSERT(users_new(SLICE(file), &users[0], NULL));
	ASSERT(network_parse(SLICE("127.0.0.0/8"), &loopback, NULL));
}

static void
set_listener(unsigned flags)
{
	listener = (struct listener_options){
		.name = SLICE("apps"), .allow_from = &loopback,
		.allow_from_count = 1};
	listener.lenient = (flags & LENIENT) != 0;
	listener.auth_without_tls = (flags & AUTH_IN_CLEAR) != 0;
	if ((flags & AUTHENTICATES) != 0)
		listener.auth = (flags & AUTH_IS_REQUIRED) != 0 ? AUTH_REQUIRED
								: AUTH_OPTIONAL;
	if ((flags & (STARTTLS | IMPLICIT_TLS)) != 0)
		listener.tls = (flags & IMPLICIT_TLS) != 0
				       ? LISTENER_TLS_IMPLICIT
				       : LISTENER_TLS_STARTTLS;
	if ((flags & BEHIND_PROXY) != 0) {
		listener.proxy_from = &loopback;
		listener.proxy_from_count = 1;
	}
	if ((flags & BEHIND_MTA) != 0) {
		listener.xclient_from = listener.xforward_from = &loopback;
		listener.xclient_from_count = 1;
		listener.xforward_from_count = 1;
	}
	if ((flags & NORMALIZES) != 0)
		listener.bare_newlines = BARE_NEWLINES_NORMALIZE;
}

static void
set_options(unsigned flags)
{
	options = fake_share_options(&listener);
	options.limits.max_message_size = MESSAGE_MAX;
	options.limits.max_header_size = HEADER_MAX;
	options.prepare.long_lines = (flags & KEEPS_LONG_LINES) != 0
					     ? LONG_LINES_KEEP
					     : LONG_LINES_REJECT;
	account_from[0] = SLICE("*@example.com");
	account = (struct account_options){
		.user = SLICE("user"), .from = account_from, .from_count = 1,
		.messages_per_hour = 3, .recipients_per_hour = 4};
	if ((flags & HAS_ACCOUNT) != 0) {
		options.accounts = &account;
		options.accounts_count = 1;
	}
}

static void
begin(unsigned flags)
{
	make_once();
	set_listener(flags);
	set_options(flags);
	contexts[0] = (flags & (STARTTLS | IMPLICIT_TLS)) != 0
			      ? (struct tls_context *)contexts
			      : NULL;
	generation = (struct generation){.options = &options,
					 .listener_tls = contexts,
					 .listener_users = users,
					 .policy = policy,
					 .references = 1};
	loop.generation = &generation;
	fake_share_open(&share, &loop);
	if ((flags & SLOW_SPOOL) != 0)
		fake_queue_slow(7);
	fake_stream_from((flags & STRANGER) != 0 ? "192.0.2.1"
						 : "127.0.0.1");
	stored = 0;
	fake_share_connect(&share);
}

/* --- what holds --- */

static void
check_message(struct slice message)
{
	ASSERT(message.len > 2);
	ASSERT(message.len <= STORED_MAX);
	ASSERT(slice_find(message, '\0') < 0);
	ASSERT(message.bytes[message.len - 1] == '\n');
	for (size_t i = 0; i < message.len; i++) {
		if (message.bytes[i] == '\n')
			ASSERT(i > 0 && message.bytes[i - 1] == '\r');
		if (message.bytes[i] == '\r')
			ASSERT(message.bytes[i + 1] == '\n');
	}
}

/* Replies as they are in each run: their codes. What they say may have names of
 * messages in it; and of two limits exceeded at once one comes first. */
static size_t
take_replies(struct text *out)
{
	struct slice rest = fake_stream_output(), line;
	size_t queued = 0;

	while (slice_split(&rest, '\n', &line)) {
		if (slice_starts(line, SLICE("250 2.0.0 Ok: queued as ")))
			queued++;
		/* A challenge has no such code. */
		text_add(out, slice_sub(line, 0,
					slice_starts(line, SLICE("334"))
						? CODE_LEN
						: CODES_LEN));
		text_add_byte(out, '\n');
	}
	return queued;
}

/* Of the message stored last: what is above it has names and the time. */
static void
take_body(struct text *out)
{
	const struct message *last = fake_queue_last_message();

	if (last != NULL && last->body.size > 0)
		text_add(out, last->body.chunks[0]);
}

/* --- a conversation --- */

static bool
turn(void)
{
	bool has_turned = fake_queue_turn() || fake_worker_turn() ||
			  fake_dovecot_turn() ||
			  fake_stream_turn();

	if (fake_queue_stored() > stored) {
		stored = fake_queue_stored();
		check_message(fake_queue_last());
	}
	if (!has_turned && fake_stream_is_handshaking()) {
		fake_stream_secure();
		has_turned = true;
	}
	return has_turned;
}

static void
settle(void)
{
	while (turn())
		;
}

static size_t
next_random(size_t below)
{
	random_state = random_state * 6364136223846793005u +
		       1442695040888963407u;
	return (size_t)(random_state >> 33) % below;
}

static void
send_pieces(struct slice input, bool settles)
{
	while (input.len > 0) {
		size_t len = 1 + next_random(next_random(4) == 0 ? 200 : 8);

		if (len > input.len)
			len = input.len;
		fake_stream_send(slice_sub(input, 0, len));
		input = slice_from(input, len);
		if (settles)
			settle();
		else if (next_random(2) == 0)
			turn();
	}
}

static void
send_lines(struct slice input, bool in_pieces)
{
	while (input.len > 0) {
		ptrdiff_t lf = slice_find(input, '\n');
		struct slice line = slice_sub(
			input, 0, lf < 0 ? input.len : (size_t)lf + 1);

		if (in_pieces)
			send_pieces(line, true);
		else
			fake_stream_send(line);
		settle();
		input = slice_from(input, line.len);
	}
}

/* In whatever state. */
static void
leave(unsigned flags)
{
	if ((flags & ENDS_WITH_STOP) != 0)
		fake_share_stop(&share);
	if ((flags & ENDS_WITH_TIME) != 0)
		fake_stream_pass(10 * MINUTE);
	if ((flags & ENDS_WITH_FIN) != 0)
		fake_stream_end();
}

static size_t
end(struct text *replies)
{
	size_t queued;

	settle();
	if (fake_stream_is_open())
		fake_stream_vanish();
	settle();
	queued = take_replies(replies);
	is_hasty = fake_log_count("a message before its 354", NULL) > 0 ||
		   fake_log_count("commands before their turn", NULL) > 0;
	if (!is_hasty)
		take_body(replies);
	ASSERT(queued <= stored);
	ASSERT(fake_share_sessions() == 0);
	ASSERT(list_is_empty(&share.sessions));
	ASSERT(generation.references == 1);
	fake_share_close(&share);
	fake_worker_forget();
	fake_queue_forget();
	fake_stream_forget();
	fake_log_clear();
	return queued;
}

/* Of two conversations one was broken off. */
static void
check_prefix(struct slice one, struct slice other)
{
	struct slice haste = SLICE("503 5.5.0\n");

	if (slice_ends_nocase(one, haste))
		one.len -= haste.len;
	if (slice_ends_nocase(other, haste))
		other.len -= haste.len;
	ASSERT(slice_starts(one, other) || slice_starts(other, one));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text whole = {0}, cut = {0}, torn = {0};
	size_t stored_whole;
	bool was_hasty;
	unsigned flags;
	struct slice input;

	if (len < 3)
		return 0;
	flags = (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
	random_state = bytes[2];
	input = slice_of(bytes + 3, len - 3);

	begin(flags);
	if ((bytes[2] & AT_ONCE) != 0)
		fake_stream_send(input);
	else
		send_lines(input, false);
	settle();
	ASSERT(end(&whole) == stored);
	stored_whole = stored;
	was_hasty = is_hasty;

	begin(flags);
	if ((bytes[2] & AT_ONCE) != 0)
		send_pieces(input, true);
	else
		send_lines(input, true);
	ASSERT(end(&cut) == stored);
	/* What comes in one segment with STARTTLS is refused, and fakes have
	 * no handshake that could follow a proxy's words. */
	if ((flags & (STARTTLS | IMPLICIT_TLS)) != 0) {
		;
	} else if (was_hasty || is_hasty) {
		check_prefix(text_slice(&whole), text_slice(&cut));
	} else {
		ASSERT(stored == stored_whole);
		ASSERT(slice_eq(text_slice(&whole), text_slice(&cut)));
	}

	begin(flags);
	send_pieces(slice_sub(input, 0, next_random(input.len + 1)), false);
	leave(flags);
	end(&torn);
	return 0;
}
