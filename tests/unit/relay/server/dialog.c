/*
 * Conversations with a session, as tests/dialog/NAME.dialog has them: whole,
 * octet by octet, and cut around each line's end, and within lines, with the
 * client gone. Time and the queue behind are fakes.
 *
 *	set KEY VALUE    before connect: an option: setting.h
 *	from ADDRESS     the client's
 *	certificate OCTETS STATE NAME   which it shows: tests/fake/stream.h
 *	connect
 *	> LINE|LINE      we send, each with CRLF, in one segment
 *	>> RAW           the same as it stands; \r \n \t \0 \xHH \\ and
 *	                 \{COUNT,C} for a repeated character
 *	< PREFIX         the next line of the reply begins so
 *	<= LINE          it is so
 *	<* PREFIX        all lines of the reply do, whose code it begins with
 *	tls              the handshake is done
 *	~ 5m             time passes
 *	! / end          the client is gone: by a reset, by a FIN
 *	closed           we have closed
 *	stop             the server is being stopped
 *	reload WHAT      a generation comes in which WHAT is another: setting.h
 *	fail PART KIND   store, spool, signer or dovecot: limit, system, none
 *	full yes|no      the store's answer to "do you accept?"
 *	deaf yes|no      the client reads no replies
 *	incoming BYTES   that may be received at once
 *	held BYTES       of envelopes and headers that may be in memory
 *	crowd COUNT      of other clients are connected (max_sessions: 100)
 *	strangers COUNT  more who may not send
 *	stranger yes|no  the client is counted among those
 *	slow COUNT       the spool drains after so many octets
 *	stored COUNT     messages in the store by now
 *	= TEXT           stands in the message stored last; >= RAW likewise
 *	!= RAW           does not
 *	event TEXT       stands in an event logged since connect
 *	!event TEXT      stands in none
 *	forgive          the errors so far count no more
 *	segments matter  not to be sent octet by octet
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "relay/limits.h"
#include "relay/server/session.h"
#include "tests/fake/dovecot.h"
#include "tests/fake/log.h"
#include "tests/fake/queue.h"
#include "tests/fake/share.h"
#include "tests/fake/stream.h"
#include "tests/fake/worker.h"
#include "tests/unit/relay/server/setting.h"

enum mode { WHOLE, OCTETS, CUT };

static struct run {
	enum mode mode;
	size_t cut, sent;
	struct text *said; /* what is sent goes there, too */
	bool is_gone, has_connected;
	const char *file;
	unsigned line;
} run;

static struct share share;
static struct loop loop;
static size_t acknowledged;

static void
begin(void)
{
	fake_share_close(&share);
	fake_stream_forget();
	fake_queue_forget();
	fake_worker_forget();
	fake_dovecot_is_down(false);
	fake_stream_from("127.0.0.1");
	setting_begin();
	loop.generation = setting_now();
	fake_share_open(&share, &loop);
	acknowledged = 0;
	run.is_gone = run.has_connected = false;
	run.sent = 0;
}

static void
settle(void)
{
	while (fake_queue_turn() || fake_worker_turn() || fake_dovecot_turn() || fake_stream_turn())
		;
}

static void
send_octets(struct slice bytes)
{
	if (!run.has_connected)
		return;
	if (run.mode == OCTETS) {
		for (size_t i = 0; i < bytes.len; i++) {
			fake_stream_send(slice_sub(bytes, i, 1));
			settle();
		}
		return;
	}
	if (run.mode == CUT && run.sent + bytes.len > run.cut) {
		/* What is under way stays so: the reset comes first. */
		fake_stream_send(slice_sub(bytes, 0, run.cut - run.sent));
		if (run.cut % 2 == 0)
			fake_stream_vanish();
		else
			fake_stream_end();
		run.is_gone = true;
		settle();
		return;
	}
	run.sent += bytes.len;
	if (run.said != NULL)
		text_add(run.said, bytes);
	fake_stream_send(bytes);
}

static void
unescape(struct slice raw, struct text *out)
{
	for (size_t i = 0; i < raw.len; i++) {
		unsigned value, count;
		int used = 0;
		char repeated;

		if (raw.bytes[i] != '\\') {
			text_add_byte(out, raw.bytes[i]);
			continue;
		}
		switch (raw.bytes[++i]) {
		case 'r':
			text_add_byte(out, '\r');
			break;
		case 'n':
			text_add_byte(out, '\n');
			break;
		case 't':
			text_add_byte(out, '\t');
			break;
		case '0':
			text_add_byte(out, '\0');
			break;
		case 'x':
			cr_assert_eq(sscanf(raw.bytes + i, "x%2x", &value), 1);
			text_add_byte(out, (char)value);
			i += 2;
			break;
		case '{':
			cr_assert_eq(sscanf(raw.bytes + i, "{%u,%c}%n", &count,
					    &repeated, &used), 2);
			memset(text_room(out, count), repeated, count);
			text_added(out, count);
			i += (size_t)used - 1;
			break;
		default:
			text_add_byte(out, raw.bytes[i]);
		}
	}
}

static void
send_lines(struct slice lines)
{
	CLEAN(text_done) struct text bytes = {0};
	struct slice line;

	if (lines.len == 0)
		text_add_string(&bytes, "\r\n");
	while (slice_split(&lines, '|', &line)) {
		text_add(&bytes, line);
		text_add_string(&bytes, "\r\n");
	}
	send_octets(text_slice(&bytes));
}

/* Whether the next line of the output is not the reply's last. */
static bool
has_further_line(void)
{
	struct slice output = fake_stream_output();

	return output.len > 3 && output.bytes[3] == '-';
}

static void
expect(struct slice prefix, bool is_whole)
{
	struct slice output = fake_stream_output(), line;
	ptrdiff_t end = slice_find(output, '\n');

	if (run.mode == CUT)
		return;
	cr_assert_geq(end, 1, "%s:%u: no reply (%s)", run.file, run.line,
		      run.mode == OCTETS ? "octets" : "whole");
	line = slice_sub(output, 0, (size_t)end - 1);
	cr_expect(is_whole ? slice_eq(line, prefix)
			   : slice_starts(line, prefix),
		  "%s:%u: reply '%.*s'", run.file, run.line, SLICE_ARG(line));
	if (slice_starts(line, SLICE("250 2.0.0 Ok: queued")))
		acknowledged++;
	fake_stream_consume((size_t)end + 1);
}

static uint64_t
duration(struct slice text)
{
	uint64_t number = 0;
	size_t at = 0;

	while (at < text.len && ascii_is_digit(text.bytes[at]))
		number = number * 10 + (uint64_t)(text.bytes[at++] - '0');
	if (slice_eq(slice_from(text, at), SLICE("m")))
		return number * MINUTE;
	if (slice_eq(slice_from(text, at), SLICE("s")))
		return number * SECOND;
	return number;
}

static void
fail_part(struct slice part, struct slice kind)
{
	enum fault_kind fault = FAULT_NONE;

	if (slice_eq(kind, SLICE("limit")))
		fault = FAULT_LIMIT;
	else if (slice_eq(kind, SLICE("system")))
		fault = FAULT_SYSTEM;
	if (slice_eq(part, SLICE("dovecot")))
		fake_dovecot_is_down(fault != FAULT_NONE);
	else if (slice_eq(part, SLICE("store")))
		fake_queue_fail(FAKE_STORE, fault);
	else if (slice_eq(part, SLICE("spool")))
		fake_queue_fail(FAKE_SPOOL, fault);
	else if (slice_eq(part, SLICE("recheck")))
		fake_queue_fail(FAKE_RECHECK, fault);
	else
		fake_queue_fail(FAKE_SIGNER, fault);
}

static void
connect_client(void)
{
	setting_sign();
	run.has_connected = true;
	fake_share_connect(&share);
}

static void
expect_stored(struct slice text)
{
	struct slice last = fake_queue_last();

	if (run.mode != CUT)
		cr_expect_not_null(memmem(last.bytes, last.len, text.bytes,
					  text.len),
				   "%s:%u: not in the message:\n%.*s",
				   run.file, run.line, SLICE_ARG(last));
}

static void
expect_stored_raw(struct slice raw, bool is_there)
{
	CLEAN(text_done) struct text text = {0};
	struct slice last = fake_queue_last();

	unescape(raw, &text);
	if (run.mode != CUT)
		cr_expect_eq(memmem(last.bytes, last.len, text.bytes,
				    text.len) != NULL,
			     is_there, "%s:%u: the message:\n%.*s", run.file,
			     run.line, SLICE_ARG(last));
}

static void
expect_event(struct slice text, bool is_there)
{
	const char *words = strndupa(text.bytes, text.len);

	if (run.mode != CUT)
		cr_expect_eq(fake_log_count(words, NULL) > 0, is_there,
			     "%s:%u: the events", run.file, run.line);
}

/* What should have happened by now; false: the word says no such thing. */
static bool
say_expected(struct slice word, struct slice rest)
{
	uint64_t number = 0;

	if (slice_eq(word, SLICE("<")) || slice_eq(word, SLICE("<="))) {
		expect(rest, word.len > 1);
	} else if (slice_eq(word, SLICE("<*"))) {
		while (has_further_line())
			expect(rest, false);
		expect(rest, false);
	} else if (slice_eq(word, SLICE("="))) {
		expect_stored(rest);
	} else if (slice_eq(word, SLICE(">=")) || slice_eq(word, SLICE("!="))) {
		expect_stored_raw(rest, word.bytes[0] == '>');
	} else if (slice_eq(word, SLICE("event")) ||
		   slice_eq(word, SLICE("!event"))) {
		expect_event(rest, word.bytes[0] == 'e');
	} else if (slice_eq(word, SLICE("stranger"))) {
		cr_expect(run.mode == CUT ||
				  fake_share_has_stranger() ==
					  slice_eq(rest, SLICE("yes")),
			  "%s:%u: how he is counted", run.file, run.line);
	} else if (slice_eq(word, SLICE("closed"))) {
		cr_expect(run.mode == CUT || !fake_stream_is_open(),
			  "%s:%u: still open", run.file, run.line);
	} else if (slice_eq(word, SLICE("stored"))) {
		cr_assert(slice_number(rest, &number));
		cr_expect(run.mode == CUT || fake_queue_stored() == number,
			  "%s:%u: %zu stored", run.file, run.line,
			  fake_queue_stored());
	} else {
		return false;
	}
	return true;
}

static void
show_certificate(struct slice words)
{
	struct slice octets, state;

	cr_assert(slice_split(&words, ' ', &octets));
	cr_assert(slice_split(&words, ' ', &state));
	fake_stream_certificate(strndupa(octets.bytes, octets.len),
				strndupa(state.bytes, state.len),
				strndupa(words.bytes, words.len));
}

/* What the client does, or time; false: the word says no such thing. */
static bool
say_client(struct slice word, struct slice rest)
{
	if (slice_eq(word, SLICE(">"))) {
		send_lines(rest);
	} else if (slice_eq(word, SLICE(">>"))) {
		CLEAN(text_done) struct text bytes = {0};

		unescape(rest, &bytes);
		send_octets(text_slice(&bytes));
	} else if (slice_eq(word, SLICE("~"))) {
		fake_stream_pass(duration(rest));
	} else if (slice_eq(word, SLICE("!"))) {
		fake_stream_vanish();
	} else if (slice_eq(word, SLICE("end"))) {
		fake_stream_end();
	} else if (slice_eq(word, SLICE("tls"))) {
		if (fake_stream_is_handshaking())
			fake_stream_secure();
	} else if (slice_eq(word, SLICE("connect"))) {
		connect_client();
	} else if (slice_eq(word, SLICE("from"))) {
		fake_stream_from(strndupa(rest.bytes, rest.len));
	} else if (slice_eq(word, SLICE("certificate"))) {
		show_certificate(rest);
	} else {
		return false;
	}
	return true;
}

static void
say(struct slice word, struct slice rest, struct slice whole)
{
	struct slice first;
	uint64_t number = 0;

	if (say_client(word, rest) || say_expected(word, rest))
		return;
	if (slice_eq(word, SLICE("stop"))) {
		fake_share_stop(&share);
	} else if (slice_eq(word, SLICE("forgive"))) {
		LIST_EACH(item, &share.sessions)
			CONTAINER(item, struct session, link)->conduct =
				(struct conduct){0};
	} else if (slice_eq(word, SLICE("reload"))) {
		loop.generation = setting_reload(rest);
	} else if (slice_eq(word, SLICE("full"))) {
		fake_queue_is_full(slice_eq(rest, SLICE("yes")));
	} else if (slice_eq(word, SLICE("deaf"))) {
		fake_stream_reads(slice_eq(rest, SLICE("no")));
	} else if (slice_eq(word, SLICE("incoming"))) {
		cr_assert(slice_number(rest, &number));
		fake_queue_incoming_max(number);
	} else if (slice_eq(word, SLICE("held"))) {
		cr_assert(slice_number(rest, &number));
		fake_queue_held_max((size_t)number);
	} else if (slice_eq(word, SLICE("crowd"))) {
		cr_assert(slice_number(rest, &number));
		fake_share_crowd((size_t)number);
	} else if (slice_eq(word, SLICE("strangers"))) {
		cr_assert(slice_number(rest, &number));
		fake_share_strangers((size_t)number);
	} else if (slice_eq(word, SLICE("slow"))) {
		cr_assert(slice_number(rest, &number));
		fake_queue_slow((size_t)number);
	} else if (slice_split(&rest, ' ', &first) &&
		   slice_eq(word, SLICE("set"))) {
		cr_assert(setting_set(first, rest), "%s:%u: no such key",
			  run.file, run.line);
	} else if (slice_eq(word, SLICE("fail"))) {
		fail_part(first, rest);
	} else {
		cr_assert(slice_eq(whole, SLICE("segments matter")),
			  "%s:%u: '%.*s'?", run.file, run.line,
			  SLICE_ARG(whole));
	}
}

/* Afterwards: no session left, nothing held, nothing acknowledged that is not
 * in the store. */
static void
end(void)
{
	settle();
	if (run.mode != CUT)
		cr_expect_eq(fake_stream_output().len, 0,
			     "%s: a reply more: '%.*s'", run.file,
			     SLICE_ARG(fake_stream_output()));
	if (fake_stream_is_open())
		fake_stream_vanish();
	settle();
	cr_expect_eq(fake_share_sessions(), 0, "%s: a session is left (cut at %zu)",
		     run.file, run.cut);
	cr_expect(!fake_share_has_stranger(), "%s: counted still (cut at %zu)",
		  run.file, run.cut);
	cr_expect(list_is_empty(&share.sessions));
	cr_expect_eq(setting_references(), 0, "%s: %d references (cut at %zu)",
		     run.file, setting_references(), run.cut);
	cr_expect_leq(acknowledged, fake_queue_stored());
	fake_queue_forget();
	fake_stream_forget();
	fake_log_clear();
}

/* Returns how many octets the client has to send. */
static size_t
play(struct slice script, const char *file, enum mode mode, size_t cut)
{
	struct slice line, word, rest;

	run.mode = mode;
	run.cut = cut;
	run.file = file;
	run.line = 0;
	begin();
	while (slice_split(&script, '\n', &line) && !run.is_gone) {
		const char *comment = memmem(line.bytes, line.len, "  #", 3);

		run.line++;
		if (comment != NULL)
			line.len = (size_t)(comment - line.bytes);
		line = slice_trim(line);
		if (line.len == 0 || line.bytes[0] == '#')
			continue;
		rest = line;
		slice_split(&rest, ' ', &word);
		say(word, rest, line);
		/* A reset may come while the queue is still at work. */
		if (mode != CUT || run.sent < run.cut)
			settle();
	}
	end();
	return run.sent;
}

static void
read_file(const char *path, struct text *out)
{
	FILE *file = fopen(path, "r");
	size_t got;

	cr_assert_not_null(file, "%s", path);
	while ((got = fread(text_room(out, 4096), 1, 4096, file)) > 0)
		text_added(out, got);
	fclose(file);
}

static void
each_dialog(void (*each)(struct slice script, const char *file))
{
	DIR *directory = opendir(DIALOGS);
	struct dirent *entry;
	size_t count = 0;

	cr_assert_not_null(directory, "%s", DIALOGS);
	while ((entry = readdir(directory)) != NULL) {
		CLEAN(text_done) struct text path = {0}, script = {0};

		if (!slice_ends_nocase(SLICE(entry->d_name),
				       SLICE(".dialog")))
			continue;
		text_addf(&path, "%s/%s", DIALOGS, entry->d_name);
		read_file(text_string(&path), &script);
		each(text_slice(&script), entry->d_name);
		count++;
	}
	closedir(directory);
	setting_done();
	cr_expect_gt(count, 0);
}

static void
play_whole(struct slice script, const char *file)
{
	play(script, file, WHOLE, 0);
}

Test(dialog, whole)
{
	each_dialog(play_whole);
}

static void
play_octets(struct slice script, const char *file)
{
	if (memmem(script.bytes, script.len, "segments matter", 15) == NULL)
		play(script, file, OCTETS, 0);
}

Test(dialog, octet_by_octet)
{
	each_dialog(play_octets);
}

/* Beyond this, every so many octets only: nothing new is in them. */
#define CUTS_MAX 1000
/* Within a line one cut is like the other. */
#define CUTS_WITHIN 8

/* Whether a line or a message ends there, or may seem to. */
static bool
is_edge(struct slice said, size_t cut)
{
	return strchr("\r\n.", said.bytes[cut]) != NULL ||
	       (cut > 0 && strchr("\r\n.", said.bytes[cut - 1]) != NULL);
}

static void
play_cut(struct slice script, const char *file)
{
	CLEAN(text_done) struct text said = {0};
	size_t octets, step;

	run.said = &said;
	octets = play(script, file, WHOLE, 0);
	run.said = NULL;
	step = octets / CUTS_MAX + 1;
	for (size_t i = 0; i * step < octets; i++)
		if (i % CUTS_WITHIN == 0 ||
		    is_edge(text_slice(&said), i * step))
			play(script, file, CUT, i * step);
}

Test(dialog, cut)
{
	each_dialog(play_cut);
}
