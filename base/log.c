#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log_ring.h"

#define LOG_LINE_SIZE 512 /* what most lines need */

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static _Atomic(enum log_format) log_format = LOG_FORMAT_TEXT;
static _Atomic(enum log_level) log_least = LOG_LEVEL_INFO;
/* ---- text ---- */

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
		text_add_json(&line->text, value);
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
	/* It is ours: there is nothing in it to escape. */
	if (line->format == LOG_FORMAT_JSON) {
		text_add_byte(&line->text, '"');
		text_add_string(&line->text, name);
		text_add_string(&line->text, "\": ");
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

static void
line_end(struct log *line)
{
	ASSERT(!line->in_list);
	text_add_string(&line->text,
			line->format == LOG_FORMAT_JSON ? "}\n" : "\n");
}

void
log_write_dropped(struct text *out, uint64_t lines, uint64_t total)
{
	struct log line;

	log_begin(&line, LOG_LEVEL_ERROR, "log_dropped");
	log_number(&line, "lines", lines);
	log_number(&line, "total", total);
	line_end(&line);
	text_add(out, text_slice(&line.text));
	text_done(&line.text);
}

void
log_send(struct log *line)
{
	if (line->is_wanted) {
		line_end(line);
		log_ring_add(text_slice(&line->text));
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
