#include "relay/import/opendkim_conf.h"

#include <errno.h>
#include <stdlib.h>

struct reader {
	struct arena *arena;
	struct opendkim_conf *conf;
	struct report *report;
	struct conf_errors *errors;
	unsigned files, depth;
	bool may_include;
};

static void file_read(struct reader *reader, const char *path,
		      struct conf_place from);

static bool
option_find(struct slice name, size_t *i_out)
{
	for (size_t i = 0; i < opendkim_options_count; i++)
		if (slice_eq_nocase(name, SLICE(opendkim_options[i].name))) {
			*i_out = i;
			return true;
		}
	return false;
}

/* ---- values ---- */

static bool
bool_read(struct slice value, long *number_out)
{
	switch (value.bytes[0]) {
	case 't': case 'T': case 'y': case 'Y': case '1':
		*number_out = 1;
		return true;
	case 'f': case 'F': case 'n': case 'N': case '0':
		*number_out = 0;
		return true;
	default:
		return false;
	}
}

/* The value has a NUL behind it. */
static bool
number_read(struct slice value, long *number_out)
{
	char *end;

	errno = 0;
	*number_out = strtol(value.bytes, &end, 0);
	return errno == 0 && *end == '\0' && *number_out >= INT32_MIN &&
	       *number_out <= INT32_MAX;
}

static bool
value_read(const struct opendkim_option *option,
	   struct opendkim_setting *setting)
{
	switch (option->type) {
	case OPENDKIM_BOOL:
		return bool_read(setting->value, &setting->number);
	case OPENDKIM_NUMBER:
		return number_read(setting->value, &setting->number);
	case OPENDKIM_TEXT:
	case OPENDKIM_INCLUDE:
		return true;
	}
	return false;
}

static bool
is_harmless(const struct opendkim_option *option,
	    const struct opendkim_setting *setting)
{
	long number = 0;

	if (option->harmless == NULL)
		return false;
	switch (option->type) {
	case OPENDKIM_BOOL:
		return bool_read(SLICE(option->harmless), &number) &&
		       number == setting->number;
	case OPENDKIM_NUMBER:
		return number_read(SLICE(option->harmless), &number) &&
		       number == setting->number;
	case OPENDKIM_TEXT:
		return slice_eq_nocase(setting->value,
				       SLICE(option->harmless));
	case OPENDKIM_INCLUDE:
		break;
	}
	return false;
}

static void
fate_report(struct reader *reader, const struct opendkim_option *option,
	    const struct opendkim_setting *setting)
{
	if (is_harmless(option, setting))
		return;
	switch (option->fate) {
	case OPENDKIM_CARRIED:
		return;
	case OPENDKIM_NEEDLESS:
		report_note(reader->report, setting->place,
			    "%s has no meaning here: %s", option->name,
			    option->text);
		return;
	case OPENDKIM_LOST:
		report_lost(reader->report, setting->place, "%s: %s",
			    option->name, option->text);
		return;
	case OPENDKIM_DECISIVE:
		report_decisive(reader->report, setting->place, "%s: %s",
				option->name, option->text);
		return;
	}
}

/* ---- lines ---- */

static void
include_read(struct reader *reader, const struct opendkim_setting *setting)
{
	if (!reader->may_include || reader->depth == OPENDKIM_INCLUDES_MAX) {
		conf_error(reader->errors, setting->place,
			   reader->may_include ? "Include: at most %d levels"
					       : "Include: no files here",
			   OPENDKIM_INCLUDES_MAX);
		return;
	}
	reader->depth++;
	file_read(reader, setting->value.bytes, setting->place);
	reader->depth--;
}

static void
line_read(struct reader *reader, struct slice line, struct conf_place place)
{
	struct opendkim_setting setting = {.place = place, .is_set = true};
	const struct opendkim_option *option;
	struct opendkim_setting *held;
	size_t end = 0, i;

	while (end < line.len && !ascii_is_wsp(line.bytes[end]))
		end++;
	if (!option_find(slice_sub(line, 0, end), &i)) {
		conf_error(reader->errors, place, "unknown option '%.*s'",
			   (int)(end < 60 ? end : 60), line.bytes);
		return;
	}
	option = &opendkim_options[i];
	setting.value =
		arena_copy(reader->arena, slice_trim(slice_from(line, end)));
	if (setting.value.len == 0 ||
	    memchr(setting.value.bytes, '\0', setting.value.len) != NULL ||
	    !value_read(option, &setting)) {
		conf_error(reader->errors, place, "%s: %s", option->name,
			   setting.value.len == 0 ? "a value is missing"
						  : "the value is not one "
						    "that it may have");
		return;
	}
	if (option->type == OPENDKIM_INCLUDE) {
		include_read(reader, &setting);
		return;
	}
	held = &reader->conf->settings[i];
	if (held->is_set)
		report_note(reader->report, held->place,
			    "%s is set again in %s:%u, which is what holds",
			    option->name, place.file, place.line);
	*held = setting;
}

static void
bytes_read(struct reader *reader, struct slice bytes, const char *path)
{
	struct conf_place place = {.file = path};
	struct slice line;

	while (slice_split(&bytes, '\n', &line)) {
		ptrdiff_t hash = slice_find(line, '#');
		ptrdiff_t end = slice_find(line, '\r');

		place.line++;
		if (hash >= 0 && (end < 0 || hash < end))
			end = hash;
		if (end >= 0)
			line = slice_sub(line, 0, (size_t)end);
		line = slice_trim(line);
		if (line.len > 0)
			line_read(reader, line, place);
	}
}

static void
file_read(struct reader *reader, const char *path, struct conf_place from)
{
	CLEAN(text_done) struct text bytes = {0};
	struct fault fault = {0};

	if (++reader->files > OPENDKIM_FILES_MAX) {
		conf_error(reader->errors, from, "Include: at most %d files",
			   OPENDKIM_FILES_MAX);
		return;
	}
	if (!conf_file_read(path, CONF_FILE_MAX, &bytes, &fault)) {
		fault_put_before(&fault, "%s", path);
		conf_error_fault(reader->errors, from, &fault);
		return;
	}
	bytes_read(reader, text_slice(&bytes),
		   arena_copy(reader->arena, SLICE(path)).bytes);
}

static void
reader_start(struct reader *reader, const char *path)
{
	reader->conf->settings =
		arena_array(reader->arena, opendkim_options_count,
			    sizeof(*reader->conf->settings));
	reader->conf->path = arena_copy(reader->arena, SLICE(path)).bytes;
}

/* Of each option as it holds at the end. */
static void
fates_report(struct reader *reader)
{
	for (size_t i = 0; i < opendkim_options_count; i++)
		if (reader->conf->settings[i].is_set)
			fate_report(reader, &opendkim_options[i],
				    &reader->conf->settings[i]);
}

void
opendkim_conf_read(const char *path, struct arena *arena,
		   struct opendkim_conf *conf, struct report *report,
		   struct conf_errors *errors)
{
	struct reader reader = {.arena = arena,
				.conf = conf,
				.report = report,
				.errors = errors,
				.may_include = true};
	struct conf_place nowhere = {0};

	reader_start(&reader, path);
	file_read(&reader, path, nowhere);
	fates_report(&reader);
}

void
opendkim_conf_parse(struct slice bytes, const char *path, struct arena *arena,
		    struct opendkim_conf *conf, struct report *report,
		    struct conf_errors *errors)
{
	struct reader reader = {.arena = arena,
				.conf = conf,
				.report = report,
				.errors = errors};

	reader_start(&reader, path);
	bytes_read(&reader, bytes, conf->path);
	fates_report(&reader);
}

/* ---- asking ---- */

const struct opendkim_setting *
opendkim_setting(struct opendkim_conf *conf, const char *name)
{
	size_t i = 0;
	bool is_known = option_find(SLICE(name), &i);

	ASSERT(is_known);
	ASSERT(opendkim_options[i].fate == OPENDKIM_CARRIED);
	conf->settings[i].is_taken = true;
	return conf->settings[i].is_set ? &conf->settings[i] : NULL;
}

struct conf_place
opendkim_place(const struct opendkim_conf *conf,
	       const struct opendkim_setting *setting)
{
	return setting != NULL ? setting->place
			       : (struct conf_place){.file = conf->path};
}

bool
opendkim_is_true(struct opendkim_conf *conf, const char *name)
{
	const struct opendkim_setting *setting = opendkim_setting(conf, name);

	return setting != NULL && setting->number != 0;
}

void
opendkim_conf_finish(const struct opendkim_conf *conf)
{
	for (size_t i = 0; i < opendkim_options_count; i++)
		ASSERT(opendkim_options[i].fate != OPENDKIM_CARRIED ||
		       opendkim_options[i].type == OPENDKIM_INCLUDE ||
		       conf->settings[i].is_taken);
}
