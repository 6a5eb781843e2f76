#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Each test has its own process, so stderr can be turned away for good. */
static int out;

static void
stderr_to_file(void)
{
	char path[] = "/tmp/signet-log-XXXXXX";

	out = mkstemp(path);
	cr_assert_geq(out, 0);
	unlink(path);
	dup2(out, STDERR_FILENO);
}

static const char *
written(void)
{
	static char text[1 << 20];
	ssize_t len = pread(out, text, sizeof(text) - 1, 0);

	cr_assert_geq(len, 0);
	text[len] = '\0';
	return text;
}

/* Behind the time, which differs. */
static const char *
without_time(const char *line)
{
	const char *at = strchr(line, 'Z');

	return at == NULL ? line : at + 1;
}

static const struct {
	const char *name, *value, *json, *text;
} value_rows[] = {
	{"plain", "a@example.com", "\"a@example.com\"", "a@example.com"},
	{"empty", "", "\"\"", "\"\""},
	{"space", "a b", "\"a b\"", "\"a b\""},
	{"equals", "a=b", "\"a=b\"", "\"a=b\""},
	{"quote", "\"\\", "\"\\\"\\\\\"", "\"\\\"\\\\\""},
	{"line ends", "a\r\nb\t", "\"a\\r\\nb\\t\"", "\"a\\r\\nb\\t\""},
	{"escape", "\x1b[2J", "\"\\u001b[2J\"", "\"\\u001b[2J\""},
	{"delete", "\x7f", "\"\\u007f\"", "\"\\u007f\""},
	{"C1 control", "\xc2\x9b", "\"\\u009b\"", "\"\\u009b\""},
	{"bidi override", "\xe2\x80\xae", "\"\\u202e\"", "\"\\u202e\""},
	{"two bytes", "\xc3\xa9", "\"\xc3\xa9\"", "\"\xc3\xa9\""},
	{"four bytes", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"",
	 "\"\xf0\x9f\x98\x80\""},
	{"stray continuation", "a\x80z", "\"a\xef\xbf\xbdz\"",
	 "\"a\xef\xbf\xbdz\""},
	{"cut sequence", "\xc3", "\"\xef\xbf\xbd\"", "\"\xef\xbf\xbd\""},
	{"overlong", "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\""},
	{"overlong of three", "\xe0\x80\xaf",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
	{"surrogate", "\xed\xa0\x80",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
	{"beyond Unicode", "\xf4\x90\x80\x80",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
	 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
};

static void
value_expect(size_t i, enum log_format format, const char *expected)
{
	struct log line;
	const char *got;

	log_configure(format, LOG_LEVEL_INFO);
	log_begin(&line, LOG_LEVEL_INFO, "e");
	line.text.len = 0;
	line.needs_comma = false;
	log_string(&line, "n", value_rows[i].value);
	got = strpbrk(text_string(&line.text), ":=");
	got += format == LOG_FORMAT_JSON ? 2 : 1;
	cr_expect_str_eq(got, expected, "%s: %s", value_rows[i].name, got);
	text_done(&line.text);
}

Test(log, escapes_values)
{
	for (size_t i = 0; i < COUNT(value_rows); i++) {
		value_expect(i, LOG_FORMAT_JSON, value_rows[i].json);
		value_expect(i, LOG_FORMAT_TEXT, value_rows[i].text);
	}
}

static void
event_send(enum log_level level)
{
	struct fault fault;
	struct log line;

	fault_set(&fault, FAULT_INPUT, "bad thing");
	log_begin(&line, level, "accepted");
	log_string(&line, "id", "1a");
	log_number(&line, "size", 18446744073709551615u);
	log_seconds(&line, "delay", 1042);
	log_time(&line, "next", 1795291200042u);
	log_bool(&line, "tls", true);
	log_list_begin(&line, "none");
	log_list_end(&line);
	log_list_begin(&line, "recipients");
	log_item(&line, SLICE("a@example.com"));
	log_item(&line, SLICE("b c"));
	log_list_end(&line);
	log_list_begin(&line, "signatures");
	log_object_begin(&line);
	log_string(&line, "domain", "example.com");
	log_string(&line, "selector", "s1");
	log_object_end(&line);
	log_object_begin(&line);
	log_string(&line, "domain", "example.net");
	log_object_end(&line);
	log_list_end(&line);
	log_fault(&line, &fault);
	log_send(&line);
}

Test(log, writes_json)
{
	stderr_to_file();
	log_configure(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	event_send(LOG_LEVEL_INFO);
	cr_expect_eq(strncmp(written(), "{\"time\": \"20", 12), 0);
	cr_expect_str_eq(
		without_time(written()),
		"\", \"level\": \"info\", \"event\": \"accepted\", "
		"\"id\": \"1a\", \"size\": 18446744073709551615, "
		"\"delay\": 1.042, \"next\": \"2026-11-21T20:00:00.042Z\", "
		"\"tls\": true, \"none\": [], "
		"\"recipients\": [\"a@example.com\", \"b c\"], "
		"\"signatures\": [{\"domain\": \"example.com\", "
		"\"selector\": \"s1\"}, {\"domain\": \"example.net\"}], "
		"\"reason\": \"bad thing\"}\n");
}

Test(log, writes_text)
{
	stderr_to_file();
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	event_send(LOG_LEVEL_WARNING);
	cr_expect_str_eq(
		without_time(written()),
		" warning accepted id=1a size=18446744073709551615 "
		"delay=1.042 next=2026-11-21T20:00:00.042Z tls=true none=[] "
		"recipients=[a@example.com \"b c\"] "
		"signatures=[{domain=example.com selector=s1} "
		"{domain=example.net}] reason=\"bad thing\"\n");
}

Test(log, leaves_out_what_is_below_the_level)
{
	stderr_to_file();
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_WARNING);
	event_send(LOG_LEVEL_INFO);
	cr_expect_str_eq(written(), "");
	log_note(LOG_LEVEL_ERROR, "failed", "%d things", 3);
	cr_expect_str_eq(without_time(written()),
			 " error failed reason=\"3 things\"\n");
}

Test(log, cuts_a_long_value_between_characters)
{
	CLEAN(text_done) struct text value = {0};
	struct log line;

	/* The cut at LOG_VALUE_MAX - 3 falls inside a character. */
	while (value.len < LOG_VALUE_MAX + 10)
		text_add_string(&value, "\xe2\x82\xac");
	log_configure(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	log_begin(&line, LOG_LEVEL_INFO, "e");
	log_text(&line, "v", text_slice(&value));
	cr_expect_eq(strstr(text_string(&line.text), "\xef\xbf\xbd"), NULL);
	cr_expect(slice_ends_nocase(text_slice(&line.text),
				    SLICE("\xe2\x82\xac\xe2\x80\xa6\"")));
	cr_expect_leq(line.text.len, LOG_VALUE_MAX + 100);
	text_done(&line.text);
	/* Exactly at the limit nothing is cut. */
	value.len = LOG_VALUE_MAX;
	log_begin(&line, LOG_LEVEL_INFO, "e");
	log_text(&line, "v", text_slice(&value));
	cr_expect_eq(strstr(text_string(&line.text), "\xe2\x80\xa6"), NULL);
	text_done(&line.text);
}

Test(log, counts_list_items_beyond_the_limit)
{
	CLEAN(text_done) struct text value = {0};
	struct log line;

	while (value.len < LOG_VALUE_MAX)
		text_add_byte(&value, 'x');
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	log_begin(&line, LOG_LEVEL_INFO, "e");
	log_list_begin(&line, "l");
	for (size_t i = 0; i < LOG_LINE_MAX / LOG_VALUE_MAX + 1; i++) {
		log_object_begin(&line);
		log_text(&line, "v", text_slice(&value));
		log_object_end(&line);
	}
	log_list_end(&line);
	log_string(&line, "after", "1");
	cr_expect(slice_ends_nocase(text_slice(&line.text),
				    SLICE("}] l_omitted=1 after=1")),
		  "%s", text_string(&line.text) + line.text.len - 60);
	text_done(&line.text);
}

Test(log, a_bare_field_in_a_list_is_a_bug, .signal = SIGABRT)
{
	struct log line;

	stderr_to_file();
	log_begin(&line, LOG_LEVEL_INFO, "e");
	log_list_begin(&line, "l");
	log_string(&line, "name", "value");
}

#define THREADS 4
#define LINES 500

static void *
many_send(void *number)
{
	for (unsigned i = 0; i < LINES; i++)
		log_note(LOG_LEVEL_INFO, "many", "%u.%u",
			 *(unsigned *)number, i);
	return NULL;
}

Test(log, the_thread_writes_every_line_in_order)
{
	pthread_t threads[THREADS];
	unsigned numbers[THREADS], next[THREADS] = {0}, thread, line;

	stderr_to_file();
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	cr_assert(log_start(NULL));
	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		pthread_create(&threads[i], NULL, many_send, &numbers[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_stop();
	cr_expect_eq(log_dropped(), 0);
	for (const char *at = written(); (at = strstr(at, "reason=")); at++) {
		cr_assert_eq(sscanf(at, "reason=%u.%u\n", &thread, &line), 2);
		cr_expect_eq(line, next[thread]);
		next[thread]++;
	}
	for (unsigned i = 0; i < THREADS; i++)
		cr_expect_eq(next[i], LINES);
	/* After the end it is as before the start. */
	log_note(LOG_LEVEL_INFO, "after", "it");
	cr_expect_neq(strstr(written(), " info after reason=it\n"), NULL);
}

static void *
pipe_drain(void *end)
{
	struct text text = {0};
	ssize_t len;

	while ((len = read(*(int *)end, text_room(&text, 65536), 65536)) > 0)
		text_added(&text, (size_t)len);
	return text_take(&text);
}

Test(log, a_full_ring_drops_and_counts, .timeout = 120)
{
	CLEAN(clean_memory) char *text = NULL;
	int ends[2], keep = dup(STDERR_FILENO);
	unsigned long long told = 0, total = 0;
	pthread_t reader;
	void *result;
	struct slice rest, line;
	size_t lines = 0;

	cr_assert_eq(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	/* Both kinds of stderr: the thread polls a nonblocking one. */
	fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	cr_assert(log_start(NULL));
	for (unsigned i = 0; i < 20000; i++)
		log_note(LOG_LEVEL_INFO, "flood", "%0200u", i);
	cr_expect_gt(log_dropped(), 0);
	/* Someone reads again, until the last writer is gone. */
	pthread_create(&reader, NULL, pipe_drain, &ends[0]);
	log_stop();
	dup2(keep, STDERR_FILENO);
	pthread_join(reader, &result);
	text = result;
	rest = SLICE(text);
	while (slice_split(&rest, '\n', &line))
		lines += slice_find(line, '0') >= 0 && line.len > 200;
	cr_assert_eq(sscanf(strstr(text, "log_dropped"),
			    "log_dropped lines=%llu total=%llu", &told,
			    &total), 2);
	cr_expect_eq(lines + log_dropped(), 20000, "%zu + %llu", lines,
		     (unsigned long long)log_dropped());
}

Test(log, a_closed_stderr_ends_nothing)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[0]);
	log_note(LOG_LEVEL_ERROR, "lost", "directly");
	cr_expect_eq(log_dropped(), 1);
	cr_assert(log_start(NULL));
	log_note(LOG_LEVEL_ERROR, "lost", "in the thread");
	log_stop();
	cr_expect_geq(log_dropped(), 2);
	stderr_to_file();
	log_note(LOG_LEVEL_ERROR, "seen", "again");
	cr_expect_neq(strstr(written(), "error seen"), NULL);
}
