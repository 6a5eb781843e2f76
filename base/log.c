#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* How long a stuck stderr may hold up log_stop() and, where stderr is
 * nonblocking, one line of a program without a log thread. */
#define LOG_STUCK_MS 5000
#define LOG_LINE_SIZE 512 /* what most lines need */

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static _Atomic(enum log_format) log_format = LOG_FORMAT_TEXT;
static _Atomic(enum log_level) log_least = LOG_LEVEL_INFO;
static _Atomic uint64_t log_dropped_lines;

/*
 * The ring has two halves: producers copy whole lines into the one that is
 * filling and never wait for more than such a copy; the log thread turns the
 * ring round and writes the other half with the lock released.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	pthread_t thread;
	char *filling, *writing;
	size_t used; /* of filling */
	bool is_running, is_stopping, has_thread;
} ring = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.filled = PTHREAD_COND_INITIALIZER,
};
#define RING_HALF (LOG_RING_BYTES / 2)
static_assert(RING_HALF > 2 * LOG_LINE_MAX, "a line fits into half the ring");

/* Lines of several threads must not be mixed on stderr. */
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_line_broken; /* under write_lock: the last byte was no LF */

/* ---- text ---- */

/* Length of the well-formed sequence at the start of bytes (RFC 3629 4), or 0;
 * *code_out is its character. */
static size_t
utf8_sequence(struct slice bytes, uint32_t *code_out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *at = (const unsigned char *)bytes.bytes;
	size_t len;
	uint32_t code;

	if (at[0] < 0x80) {
		*code_out = at[0];
		return 1;
	}
	len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc0 ? 2 : 0;
	if (len == 0 || len > bytes.len || at[0] > 0xf4)
		return 0;
	code = at[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*code_out = code;
	return len;
}

/* What would move a terminal's cursor, end a line or reorder what is read. */
static bool
is_unsafe(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) ||
	       (code >= 0x200b && code <= 0x200f) ||
	       (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

static void
text_escape(struct text *out, uint32_t code)
{
	switch (code) {
	case '\n':
		text_add_string(out, "\\n");
		return;
	case '\r':
		text_add_string(out, "\\r");
		return;
	case '\t':
		text_add_string(out, "\\t");
		return;
	default:
		text_addf(out, "\\u%04x", (unsigned)code);
	}
}

/* A JSON string (RFC 8259 7), whatever the bytes are. */
static void
text_quote(struct text *out, struct slice value)
{
	text_add_byte(out, '"');
	while (value.len > 0) {
		uint32_t code;
		size_t len = utf8_sequence(value, &code);

		if (len == 0) {
			text_add_string(out, "\xef\xbf\xbd");
			len = 1;
		} else if (is_unsafe(code)) {
			text_escape(out, code);
		} else {
			if (code == '"' || code == '\\')
				text_add_byte(out, '\\');
			text_add(out, slice_sub(value, 0, len));
		}
		value = slice_from(value, len);
	}
	text_add_byte(out, '"');
}

static bool
is_plain(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"\\=[]{}", c) != NULL)
			return false;
	}
	return value.len > 0;
}

/* Backs away from a cut inside a character. */
static struct slice
slice_cut(struct slice value, size_t len)
{
	for (size_t i = 0; i < 3 && len > 0; i++, len--)
		if (((unsigned char)value.bytes[len] & 0xc0) != 0x80)
			break;
	return slice_sub(value, 0, len);
}

static void
line_value(struct log *line, struct slice value)
{
	CLEAN(text_done) struct text cut = {0};

	if (value.len > LOG_VALUE_MAX) {
		text_add(&cut, slice_cut(value, LOG_VALUE_MAX - 3));
		text_add_string(&cut, "\xe2\x80\xa6");
		value = text_slice(&cut);
	}
	if (line->format == LOG_FORMAT_TEXT && is_plain(value))
		text_add(&line->text, value);
	else
		text_quote(&line->text, value);
}

/* ---- a line ---- */

static void
line_separate(struct log *line)
{
	if (line->needs_comma)
		text_add_string(&line->text,
				line->format == LOG_FORMAT_JSON ? ", " : " ");
	line->needs_comma = true;
}

static bool
line_takes(const struct log *line)
{
	return line->is_wanted && !line->is_omitting;
}

static void
line_name(struct log *line, const char *name)
{
	ASSERT(!line->in_list || line->in_object);
	line_separate(line);
	if (line->format == LOG_FORMAT_JSON) {
		text_quote(&line->text, SLICE(name));
		text_add_string(&line->text, ": ");
	} else {
		text_add_string(&line->text, name);
		text_add_byte(&line->text, '=');
	}
}

void
log_configure(enum log_format format, enum log_level least)
{
	atomic_store(&log_format, format);
	atomic_store(&log_least, least);
}

void
log_begin(struct log *line, enum log_level level, const char *event)
{
	char time[CLOCK_ISO_SIZE];

	*line = (struct log){
		.format = atomic_load(&log_format),
		.level = level,
		.is_wanted = level <= atomic_load(&log_least),
	};
	if (!line->is_wanted)
		return;
	text_room(&line->text, LOG_LINE_SIZE);
	clock_write_iso(clock_wall_ms(), time);
	if (line->format == LOG_FORMAT_TEXT) {
		text_addf(&line->text, "%s %s %s", time, level_names[level],
			  event);
		line->needs_comma = true;
		return;
	}
	text_add_byte(&line->text, '{');
	log_string(line, "time", time);
	log_string(line, "level", level_names[level]);
	log_string(line, "event", event);
}

void
log_text(struct log *line, const char *name, struct slice value)
{
	if (!line_takes(line))
		return;
	line_name(line, name);
	line_value(line, value);
}

void
log_string(struct log *line, const char *name, const char *value)
{
	log_text(line, name, SLICE(value));
}

void
log_number(struct log *line, const char *name, uint64_t value)
{
	if (!line_takes(line))
		return;
	line_name(line, name);
	text_addf(&line->text, "%llu", (unsigned long long)value);
}

void
log_seconds(struct log *line, const char *name, uint64_t ms)
{
	if (!line_takes(line))
		return;
	line_name(line, name);
	text_addf(&line->text, "%llu.%03u", (unsigned long long)(ms / 1000),
		  (unsigned)(ms % 1000));
}

void
log_time(struct log *line, const char *name, uint64_t wall_ms)
{
	char time[CLOCK_ISO_SIZE];

	clock_write_iso(wall_ms, time);
	log_string(line, name, time);
}

void
log_bool(struct log *line, const char *name, bool value)
{
	if (!line_takes(line))
		return;
	line_name(line, name);
	text_add_string(&line->text, value ? "true" : "false");
}

void
log_fault(struct log *line, const struct fault *fault)
{
	log_string(line, "reason", fault->text);
}

void
log_list_begin(struct log *line, const char *name)
{
	if (!line->is_wanted)
		return;
	ASSERT(!line->in_list);
	line_name(line, name);
	text_add_byte(&line->text, '[');
	line->in_list = true;
	line->needs_comma = false;
	line->list_name = name;
	line->items_omitted = 0;
}

/* Whether the next item of the list still fits. */
static bool
line_item(struct log *line)
{
	ASSERT(line->in_list);
	ASSERT(!line->in_object);
	if (line->text.len >= LOG_LINE_MAX) {
		line->items_omitted++;
		return false;
	}
	line_separate(line);
	return true;
}

void
log_item(struct log *line, struct slice value)
{
	if (line->is_wanted && line_item(line))
		line_value(line, value);
}

void
log_object_begin(struct log *line)
{
	if (!line->is_wanted)
		return;
	line->is_omitting = !line_item(line);
	line->in_object = true;
	if (line->is_omitting)
		return;
	text_add_byte(&line->text, '{');
	line->needs_comma = false;
}

void
log_object_end(struct log *line)
{
	if (!line->is_wanted)
		return;
	ASSERT(line->in_object);
	line->in_object = false;
	line->needs_comma = true;
	if (!line->is_omitting)
		text_add_byte(&line->text, '}');
	line->is_omitting = false;
}

void
log_list_end(struct log *line)
{
	if (!line->is_wanted)
		return;
	ASSERT(line->in_list);
	ASSERT(!line->in_object);
	text_add_byte(&line->text, ']');
	line->in_list = false;
	line->needs_comma = true;
	if (line->items_omitted > 0) {
		CLEAN(text_done) struct text name = {0};

		text_addf(&name, "%s_omitted", line->list_name);
		log_number(line, text_string(&name), line->items_omitted);
	}
}

/* ---- stderr ---- */

static uint64_t
lines_in(const char *bytes, size_t len)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += bytes[i] == '\n';
	return lines;
}

/* Nobody may ever read a nonblocking stderr again: the log thread waits on,
 * others for so long. */
static bool
stderr_wait(bool is_patient)
{
	struct pollfd wanted = {.fd = STDERR_FILENO, .events = POLLOUT};
	int ready;

	do {
		ready = poll(&wanted, 1, is_patient ? -1 : LOG_STUCK_MS);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}

static size_t
stderr_write_some(const char *bytes, size_t len, bool is_patient)
{
	size_t done = 0;

	while (done < len) {
		ssize_t written = write(STDERR_FILENO, bytes + done,
					len - done);

		if (written > 0)
			done += (size_t)written;
		else if (written < 0 && errno == EAGAIN) {
			if (!stderr_wait(is_patient))
				break;
		} else if (written == 0 || errno != EINTR)
			break;
	}
	return done;
}

/* Whole lines. What cannot be written is counted as dropped, and a line that
 * was cut in the middle is ended before the next one. */
static void
stderr_write(const char *bytes, size_t len, bool is_patient)
{
	size_t done = 0;

	pthread_mutex_lock(&write_lock);
	if (!is_line_broken || stderr_write_some("\n", 1, is_patient) == 1) {
		is_line_broken = false;
		done = stderr_write_some(bytes, len, is_patient);
		is_line_broken = done > 0 && bytes[done - 1] != '\n';
	}
	pthread_mutex_unlock(&write_lock);
	if (done < len)
		atomic_fetch_add(&log_dropped_lines,
				 lines_in(bytes + done, len - done));
}

/* The same for a thread that did not block SIGPIPE: a closed stderr must not
 * end the program, and a SIGPIPE of others must not be lost. */
static void
stderr_write_directly(const char *bytes, size_t len)
{
	static const struct timespec at_once;
	sigset_t pipe_only, pending, before;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	stderr_write(bytes, len, false);
	if (!sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 &&
		       errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the ring and its thread ---- */

/* True when the log thread took care of the line, if only by dropping it. */
static bool
ring_add(struct slice line)
{
	bool is_taken;

	pthread_mutex_lock(&ring.lock);
	is_taken = ring.is_running;
	if (is_taken && line.len > RING_HALF - ring.used) {
		atomic_fetch_add(&log_dropped_lines, 1);
	} else if (is_taken) {
		memcpy(ring.filling + ring.used, line.bytes, line.len);
		ring.used += line.len;
		pthread_cond_signal(&ring.filled);
	}
	pthread_mutex_unlock(&ring.lock);
	return is_taken;
}

/* Waits for lines; they are then in ring.writing. 0: nothing more will come,
 * and from now on log_send() writes itself. */
static size_t
ring_turn(void)
{
	size_t len;

	pthread_mutex_lock(&ring.lock);
	while (ring.used == 0 && !ring.is_stopping)
		pthread_cond_wait(&ring.filled, &ring.lock);
	len = ring.used;
	if (len > 0) {
		char *filled = ring.filling;

		ring.filling = ring.writing;
		ring.writing = filled;
		ring.used = 0;
	} else {
		ring.is_running = false;
	}
	pthread_mutex_unlock(&ring.lock);
	return len;
}

static void
dropped_tell(uint64_t *told)
{
	uint64_t dropped = atomic_load(&log_dropped_lines);
	struct log line;

	if (dropped == *told)
		return;
	log_begin(&line, LOG_LEVEL_ERROR, "log_dropped");
	log_number(&line, "lines", dropped - *told);
	log_number(&line, "total", dropped);
	text_add_string(&line.text,
			line.format == LOG_FORMAT_JSON ? "}\n" : "\n");
	stderr_write(line.text.bytes, line.text.len, true);
	text_done(&line.text);
	*told = dropped;
}

static void *
ring_drain(void *unused)
{
	uint64_t told = 0;
	size_t len;

	(void)unused;
	while ((len = ring_turn()) > 0) {
		stderr_write(ring.writing, len, true);
		dropped_tell(&told);
	}
	return NULL;
}

static void
ring_free(void)
{
	free(ring.filling);
	free(ring.writing);
	ring.filling = ring.writing = NULL;
}

bool
log_start(struct fault *fault)
{
	sigset_t all, before;
	int error;

	ASSERT(!ring.has_thread);
	ring.filling = memory_new(RING_HALF);
	ring.writing = memory_new(RING_HALF);
	ring.is_running = true;
	ring.is_stopping = false;
	/* Signals are for the thread that waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&ring.thread, NULL, ring_drain, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ring.has_thread = error == 0;
	if (ring.has_thread)
		return true;
	ring.is_running = false;
	ring_free();
	errno = error;
	return fault_errno(fault, "starting the log thread");
}

void
log_stop(void)
{
	struct timespec until;

	if (!ring.has_thread)
		return;
	pthread_mutex_lock(&ring.lock);
	ring.is_stopping = true;
	pthread_cond_signal(&ring.filled);
	pthread_mutex_unlock(&ring.lock);
	ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
	until.tv_sec += LOG_STUCK_MS / 1000;
	/* A stderr that nobody reads must not keep the program from ending:
	 * the thread then keeps the ring until the process is gone. */
	if (pthread_clockjoin_np(ring.thread, NULL, CLOCK_MONOTONIC,
				 &until) != 0)
		return;
	ring.has_thread = false;
	ring_free();
}

uint64_t
log_dropped(void)
{
	return atomic_load(&log_dropped_lines);
}

void
log_send(struct log *line)
{
	ASSERT(!line->in_list);
	if (line->is_wanted) {
		text_add_string(&line->text, line->format == LOG_FORMAT_JSON
						     ? "}\n"
						     : "\n");
		if (!ring_add(text_slice(&line->text)))
			stderr_write_directly(line->text.bytes,
					      line->text.len);
	}
	text_done(&line->text);
}

void
log_note(enum log_level level, const char *event, const char *format, ...)
{
	char reason[1024];
	struct log line;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	ASSERT(length >= 0);
	log_begin(&line, level, event);
	log_string(&line, "reason", reason);
	log_send(&line);
}
