/*
 * log - events, one line each, written by a thread of their own.
 *
 * A line is built by its caller and handed over whole:
 *
 *	struct log line;
 *	log_begin(&line, LOG_LEVEL_INFO, "delivered");
 *	log_text(&line, "id", id);
 *	log_number(&line, "delay", seconds);
 *	log_send(&line);
 *
 * As JSON: {"time": …, "level": …, "event": …, FIELDS}, always valid UTF-8:
 * bytes that are not become U+FFFD. As text: time, level, event, then
 * name=value, quoted where needed; control characters never reach the
 * terminal.
 *
 * Thread      Any. After log_start() lines go through a bounded ring
 *             (LOG_RING_BYTES) to the log thread and log_send() never blocks:
 *             when the ring is full the line is dropped and counted, and the
 *             count is logged once there is room. Before log_start(), and in
 *             programs that never call it, log_send() writes to stderr itself.
 *             What stderr does not take is lost and counted; no SIGPIPE.
 * Ownership   log_send() frees the line.
 * Secrets     No key, password or message body is ever handed to the log.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/fault.h"
#include "base/slice.h"

#define LOG_RING_BYTES ((size_t)4 << 20)
/* A field's value is cut at this length and then ends in U+2026. A line's
 * lists take no more items beyond LOG_LINE_MAX; "NAME_omitted" then counts
 * those left out. */
#define LOG_VALUE_MAX ((size_t)8192)
#define LOG_LINE_MAX ((size_t)256 << 10)

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log {
	struct text text;
	enum log_format format;
	enum log_level level;
	bool in_list, in_object, needs_comma, is_wanted, is_omitting;
	const char *list_name;
	uint64_t items_omitted;
};

/* Format and least level; may be changed at any time (reload). */
void log_configure(enum log_format format, enum log_level least);
/* Starts the thread; once per process, after the last fork. */
bool log_start(struct fault *fault) MUST_USE;
/* Writes out what is in the ring and ends the thread; gives up after five
 * seconds when nobody reads stderr. */
void log_stop(void);
uint64_t log_dropped(void);

void log_begin(struct log *line, enum log_level level, const char *event);
void log_text(struct log *line, const char *name, struct slice value);
void log_string(struct log *line, const char *name, const char *value);
void log_number(struct log *line, const char *name, uint64_t value);
/* With three decimals: 1234 ms is 1.234. */
void log_seconds(struct log *line, const char *name, uint64_t ms);
/* As "2026-11-21T20:00:00.000Z". */
void log_time(struct log *line, const char *name, uint64_t wall_ms);
void log_bool(struct log *line, const char *name, bool value);
/* The whole fault as "reason". */
void log_fault(struct log *line, const struct fault *fault);

/* A list of texts (log_item) or of objects (log_object_begin, fields as
 * above, log_object_end). */
void log_list_begin(struct log *line, const char *name);
void log_item(struct log *line, struct slice value);
void log_object_begin(struct log *line);
void log_object_end(struct log *line);
void log_list_end(struct log *line);

void log_send(struct log *line);

/* One event with one "reason". */
void log_note(enum log_level level, const char *event, const char *format, ...)
	PRINTF_LIKE(3, 4);

#endif
