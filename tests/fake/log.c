#include "tests/fake/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *lines[LINES_MAX];
static unsigned lines_count;

unsigned
fake_log_count(const char *text, const char *other)
{
	unsigned count = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < lines_count; i++)
		if (strstr(lines[i], text) != NULL &&
		    (other == NULL || strstr(lines[i], other) != NULL))
			count++;
	pthread_mutex_unlock(&lock);
	return count;
}

void
fake_log_clear(void)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < lines_count; i++)
		free(lines[i]);
	lines_count = 0;
	pthread_mutex_unlock(&lock);
}

void
log_configure(enum log_format format, enum log_level least)
{
	(void)format;
	(void)least;
}

bool
log_start(struct fault *fault)
{
	(void)fault;
	return true;
}

void
log_stop(void)
{
}

uint64_t
log_dropped(void)
{
	return 0;
}

void
log_begin(struct log *line, enum log_level level, const char *event)
{
	*line = (struct log){.level = level};
	text_add_string(&line->text, event);
}

void
log_text(struct log *line, const char *name, struct slice value)
{
	text_addf(&line->text, " %s=%.*s", name, SLICE_ARG(value));
}

void
log_string(struct log *line, const char *name, const char *value)
{
	log_text(line, name, SLICE(value));
}

void
log_number(struct log *line, const char *name, uint64_t value)
{
	text_addf(&line->text, " %s=%llu", name, (unsigned long long)value);
}

void
log_seconds(struct log *line, const char *name, uint64_t ms)
{
	text_addf(&line->text, " %s=%llu.%03u", name,
		  (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
}

void
log_time(struct log *line, const char *name, uint64_t wall_ms)
{
	log_number(line, name, wall_ms);
}

void
log_bool(struct log *line, const char *name, bool value)
{
	log_string(line, name, value ? "true" : "false");
}

void
log_fault(struct log *line, const struct fault *fault)
{
	log_string(line, "reason", fault->text);
}

/* Lists as name=[item item {name=value name=value}]. */
void
log_list_begin(struct log *line, const char *name)
{
	text_addf(&line->text, " %s=[", name);
}

void
log_item(struct log *line, struct slice value)
{
	text_addf(&line->text, " %.*s", SLICE_ARG(value));
}

void
log_object_begin(struct log *line)
{
	text_add_string(&line->text, " {");
}

void
log_object_end(struct log *line)
{
	text_add_string(&line->text, " }");
}

void
log_list_end(struct log *line)
{
	text_add_string(&line->text, " ]");
}

void
log_send(struct log *line)
{
	pthread_mutex_lock(&lock);
	if (lines_count < LINES_MAX)
		lines[lines_count++] = text_take(&line->text);
	pthread_mutex_unlock(&lock);
	text_done(&line->text);
}

void
log_note(enum log_level level, const char *event, const char *format, ...)
{
	struct log line;
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_begin(&line, level, event);
	log_string(&line, "reason", text);
	log_send(&line);
}
