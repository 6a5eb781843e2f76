/*
 * How long each step of a conversation may take: RFC 5321 4.5.3.2, on a clock
 * that stands still.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/delivery/client_private.h"
#include "tests/fake/clock.h"
#include "tests/fake/stream.h"

/* --- conversions and reads, which never end --- */

static struct loop loop;
static struct store_read_body *reading; /* of a body in a file */
static bool is_converting;

void
convert_start(const struct convert_setup *setup, struct convert **convert_out)
{
	(void)setup;
	(void)convert_out;
	is_converting = true;
}

void
convert_cancel(struct convert **convert)
{
	*convert = NULL;
}

void
store_read_body(struct store *store, struct store_read_body *read)
{
	(void)store;
	reading = read;
}

bool
store_read_body_now(struct store *store, const struct message *message,
		    uint64_t offset, size_t max, struct text *out)
{
	(void)store;
	(void)message;
	(void)offset;
	(void)max;
	(void)out;
	return false;
}

/* --- the conversation --- */

static unsigned events[CLIENT_ENDED + 1];
static char ended[256];
static bool is_unreached, is_silent;
static struct client *client;

static void
on_client(void *owner, enum client_event event)
{
	(void)owner;
	events[event]++;
	if (event != CLIENT_ENDED)
		return;
	snprintf(ended, sizeof(ended), "%.*s",
		 SLICE_ARG(client_end(client)->result.reply));
	is_unreached = client_end(client)->is_unreached;
	is_silent = client_end(client)->is_silent;
}

static struct attempt *
attempt_make(void)
{
	struct delivery *delivery = memory_new(sizeof(*delivery));
	struct message *message = message_new(SLICE("a@example.com"));

	delivery->message = message;
	delivery->recipients_count = 1;
	delivery->recipients = memory_array(1, sizeof(*delivery->recipients));
	message_add_recipient(message, SLICE("b@example.net"),
			      SLICE("example.net"));
	message->prefix = SLICE("Received: here\r\n\r\n");
	return attempt_new(delivery);
}

/* What the peer says to get there, and how long the answer may then take. */
static const struct timeout_row {
	const char *name;
	const char *replies[8];
	uint64_t timeout_ms;
	const char *ended;
	bool is_hurried;
	bool is_8bit, is_in_file; /* the message */
	uint16_t port;            /* 0: 25 */
} timeout_rows[] = {
	{"connecting", {NULL}, 30 * SECOND, "the peer took too long"},
	{"connecting, where there is another address", {NULL}, 5 * SECOND,
	 "the peer took too long", true},
	{"4.5.3.2.1, the greeting", {""}, 5 * MINUTE,
	 "while waiting for the greeting"},
	{"the greeting, which waits for TLS", {""}, 5 * MINUTE,
	 "while waiting for the greeting (port 465 begins with TLS: set "
	 "implicit_tls = true)", .port = 465},
	{"EHLO", {"", "220 mx"}, 5 * MINUTE, "while sending EHLO"},
	{"HELO", {"", "220 mx", "500 what"}, 5 * MINUTE, "while sending HELO"},
	{"STARTTLS", {"", "220 mx", "250-mx\r\n250 STARTTLS"}, 2 * MINUTE,
	 "while sending STARTTLS"},
	{"the handshake",
	 {"", "220 mx", "250-mx\r\n250 STARTTLS", "220 go"}, 1 * MINUTE,
	 "while negotiating TLS"},
	{"4.5.3.2.2, MAIL", {"", "220 mx", "250 mx"}, 5 * MINUTE,
	 "while sending MAIL"},
	{"4.5.3.2.3, RCPT", {"", "220 mx", "250 mx", "250 ok"}, 5 * MINUTE,
	 "while sending RCPT"},
	{"4.5.3.2.4, DATA", {"", "220 mx", "250 mx", "250 ok", "250 ok"},
	 2 * MINUTE, "while sending DATA"},
	{"4.5.3.2.6, the final reply",
	 {"", "220 mx", "250 mx", "250 ok", "250 ok", "354 go"}, 10 * MINUTE,
	 "while waiting for the final reply; the message may be sent twice"},
	{"converting", {"", "220 mx", "250 mx"}, 5 * MINUTE,
	 "trouble on this relay while converting the message",
	 .is_8bit = true},
	{"reading the body from the disk",
	 {"", "220 mx", "250 mx", "250 ok", "250 ok", "354 go"}, 3 * MINUTE,
	 "trouble on this relay while sending the message",
	 .is_in_file = true},
};

static struct host host;

static void
row_begin(const struct timeout_row *row, struct attempt *attempt)
{
	struct fault fault;

	host = (struct host){.name = SLICE("mx.example.net")};
	cr_assert(address_parse_host(SLICE("192.0.2.1"),
				     row->port > 0 ? row->port : 25,
				     &host.address));
	cr_assert(client_open(&(struct client_settings){
				      .loop = &loop,
				      .host = &host,
				      .source.helo = SLICE("relay.example.org"),
				      .tls = TLS_OPPORTUNISTIC,
				      .is_hurried = row->is_hurried,
				      .event = on_client},
			      &client, &fault));
	for (size_t i = 0; row->replies[i] != NULL; i++) {
		CLEAN(text_done) struct text reply = {0};

		if (i == 0) {
			fake_stream_connect();
			continue;
		}
		text_add_string(&reply, row->replies[i]);
		text_add_string(&reply, "\r\n");
		fake_stream_send(text_slice(&reply));
		if (events[CLIENT_READY] == 1 && events[CLIENT_CARRIED] == 0 &&
		    !client_is_carrying(client))
			cr_assert_eq(client_carry(client, attempt, false),
				     CLIENT_CARRIES);
	}
}

static void
row_end(struct attempt *attempt)
{
	fake_stream_forget();
	message_unref(attempt->delivery->message);
	free(attempt->delivery->recipients);
	free(attempt->delivery);
	attempt_free(attempt);
}

static void
row_run(const struct timeout_row *row)
{
	struct attempt *attempt = attempt_make();
	struct message *message = attempt->delivery->message;
	bool is_ours = row->is_8bit || row->is_in_file;

	memset(events, 0, sizeof(events));
	ended[0] = '\0';
	message->body.has_8bit = row->is_8bit;
	message->body.size = row->is_in_file ? 100 : 0;
	row_begin(row, attempt);
	/* Octets that come meanwhile earn the peer no further time. */
	for (unsigned i = 0; i < 10; i++) {
		fake_stream_pass(row->timeout_ms / 10 - (i == 9));
		cr_assert_eq(events[CLIENT_ENDED], 0, "%s: too early",
			     row->name);
		if (i == 0 && row->replies[0] != NULL && !is_ours)
			fake_stream_send(SLICE("2"));
	}
	fake_stream_pass(1);
	cr_expect_eq(events[CLIENT_ENDED], 1, "%s: too late", row->name);
	cr_expect(slice_ends_nocase(SLICE(ended), SLICE(row->ended)), "%s: %s",
		  row->name, ended);
	cr_expect_eq(is_unreached, row->replies[0] == NULL, "%s", row->name);
	cr_expect_eq(is_silent, events[CLIENT_READY] == 0, "%s", row->name);
	cr_expect_not(fake_stream_is_open(), "%s", row->name);
	/* What is our fault is no reason to ask another host. */
	cr_expect_eq(attempt->results[0].outcome,
		     is_ours || strstr(row->ended, "twice") != NULL
			     ? OUTCOME_DEFERRED
			     : OUTCOME_NONE,
		     "%s", row->name);
	cr_expect_eq(is_converting, row->is_8bit, "%s", row->name);
	cr_expect_eq(reading != NULL, row->is_in_file, "%s", row->name);
	if (reading != NULL)
		reading->done(reading, NULL);
	is_converting = false;
	reading = NULL;
	row_end(attempt);
}

/* Up to where the body's file is read. */
static struct attempt *
begin_reading(size_t size)
{
	static const struct timeout_row in_file = {
		.replies = {"", "220 mx", "250 mx", "250 ok", "250 ok",
			    "354 go"},
		.is_in_file = true};
	struct attempt *attempt = attempt_make();

	memset(events, 0, sizeof(events));
	attempt->delivery->message->body.size = size;
	row_begin(&in_file, attempt);
	cr_assert_not_null(reading);
	return attempt;
}

static const struct yes_row {
	const char *name, *before, *behind; /* the message */
	enum outcome outcome;
} yes_rows[] = {
	{"behind the message", "", "250 2.0.0 ta", OUTCOME_DELIVERED},
	{"begun before it", "250 2.0", ".0 ta", OUTCOME_DEFERRED},
	{"all before it", "250 2.0.0 ta", "", OUTCOME_DEFERRED},
};

/* A yes that is cut off counts, but no peer can have taken what it has not
 * got. */
static void
yes_run(const struct yes_row *row)
{
	struct attempt *attempt = begin_reading(5);
	struct store_read_body *read;

	fake_stream_send(SLICE(row->before));
	text_add_string(&reading->bytes, "abc\r\n");
	read = TAKE(reading);
	read->done(read, NULL);
	fake_stream_send(SLICE(row->behind));
	fake_stream_end();
	cr_expect_eq(events[CLIENT_ENDED], 1, "%s", row->name);
	cr_expect_eq(attempt->results[0].outcome, row->outcome, "%s",
		     row->name);
	row_end(attempt);
}

/* What the peer takes of it in each minute but the last ones, in which it takes
 * nothing; and how long before it is given up. */
static const struct slow_row {
	const char *name;
	size_t size; /* of the message; 300,000 of it are sent at once */
	size_t takes[12];
	unsigned minutes;
	const char *ended;
	enum outcome outcome;
	bool has_other_host;
} slow_rows[] = {
	{"nothing of a large one", 600000, {0}, 3,
	 "while sending the message (it has acknowledged 18 of 300018 octets: "
	 "are large packets lost on the way?)", OUTCOME_DEFERRED},
	{"the same, and there is another host", 600000, {0}, 3,
	 "lost on the way?)", OUTCOME_NONE, .has_other_host = true},
	{"too little of it", 600000, {1000, 1000, 1000}, 3,
	 "while sending the message (it has acknowledged 3018 of 300018 octets)",
	 OUTCOME_DEFERRED},
	{"little of it, again and again", 600000,
	 {0, 0, 20000, 2000, 3000, 0, 0, 35000}, 11,
	 "while sending the message (it has acknowledged 60018 of 300018 octets)",
	 OUTCOME_DEFERRED},
	{"nothing of a small one", 300000, {0}, 10, "lost on the way?)",
	 OUTCOME_DEFERRED},
	{"some of it", 300000, {20000, 0, 20000}, 13,
	 "while waiting for the final reply; the message may be sent twice (it "
	 "has acknowledged 40018 of 300023 octets)", OUTCOME_DEFERRED},
	{"all of it", 300000, {20000, 280005}, 12,
	 "while waiting for the final reply; the message may be sent twice",
	 OUTCOME_DEFERRED},
};

static void
slow_run(const struct slow_row *row)
{
	struct attempt *attempt = begin_reading(row->size);
	struct store_read_body *read;

	client->settings.has_other_host = row->has_other_host;
	fake_stream_reads(false);
	fake_stream_takes(stream_unacknowledged(client->stream));
	memset(text_room(&reading->bytes, 300000), 'x', 300000);
	text_added(&reading->bytes, 300000);
	read = TAKE(reading);
	read->done(read, NULL);
	for (unsigned i = 0; i < row->minutes; i++) {
		if (i < COUNT(row->takes))
			fake_stream_takes(row->takes[i]);
		fake_stream_pass(MINUTE - 1);
		cr_assert_eq(events[CLIENT_ENDED], 0, "%s: too early, %u",
			     row->name, i);
		fake_stream_pass(1);
	}
	cr_expect_eq(events[CLIENT_ENDED], 1, "%s: too late", row->name);
	cr_expect(slice_ends_nocase(SLICE(ended), SLICE(row->ended)), "%s: %s",
		  row->name, ended);
	cr_expect_eq(attempt->results[0].outcome, row->outcome, "%s",
		     row->name);
	cr_expect_eq(fake_stream_was_reset(),
		     strstr(row->ended, "acknowledged") != NULL ||
			     strstr(row->ended, "lost") != NULL,
		     "%s", row->name);
	row_end(attempt);
}

Test(timeout, who_takes_it_slowly_has_time)
{
	struct fault fault;

	cr_assert(loop_init(&loop, 0, &fault));
	for (size_t i = 0; i < COUNT(slow_rows); i++)
		slow_run(&slow_rows[i]);
	loop_done(&loop);
}

Test(timeout, of_an_idle_connection_and_its_quit)
{
	static const struct timeout_row delivered = {
		.replies = {"", "220 mx", "250 mx", "250 ok", "250 ok",
			    "354 go", "250 ta"}};
	struct attempt *attempt = attempt_make();
	struct fault fault;

	memset(events, 0, sizeof(events));
	cr_assert(loop_init(&loop, 0, &fault));
	row_begin(&delivered, attempt);
	cr_assert_eq(events[CLIENT_CARRIED], 1);
	fake_stream_pass(2 * SECOND);
	cr_expect_eq(events[CLIENT_ENDED], 1);
	cr_expect(slice_ends_nocase(fake_stream_output(), SLICE("QUIT\r\n")));
	cr_expect(fake_stream_is_open());
	fake_stream_pass(2 * SECOND);
	cr_expect_not(fake_stream_is_open());
	row_end(attempt);
	loop_done(&loop);
}

Test(timeout, no_yes_before_its_time)
{
	struct fault fault;

	cr_assert(loop_init(&loop, 0, &fault));
	for (size_t i = 0; i < COUNT(yes_rows); i++)
		yes_run(&yes_rows[i]);
	loop_done(&loop);
}

Test(timeout, of_each_step)
{
	struct fault fault;

	cr_assert(loop_init(&loop, 0, &fault));
	for (size_t i = 0; i < COUNT(timeout_rows); i++)
		row_run(&timeout_rows[i]);
	loop_done(&loop);
}
