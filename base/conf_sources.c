#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"

#define KEY_MATERIAL_MIN 32 /* a line of PEM has 64 */
/* With one in front; of the lines of a key hardly one in a thousand has them,
 * and nothing else that no path would have. */
#define PATH_SLASHES_MIN 3

/* ---- errors ---- */

struct conf_error {
	struct conf_error *next;
	char *file;
	unsigned line;
	size_t number;      /* in the order they were found */
	size_t file_number; /* of the first error in the same file */
	char text[];
};

void
conf_errors_done(struct conf_errors *errors)
{
	struct conf_error *next;

	for (struct conf_error *error = errors->first; error != NULL;
	     error = next) {
		next = error->next;
		free(error->file);
		free(error);
	}
	*errors = (struct conf_errors){0};
}

static size_t
file_number(const struct conf_errors *errors, const char *file)
{
	for (const struct conf_error *error = errors->first; error != NULL;
	     error = error->next)
		if (strcmp(error->file, file) == 0)
			return error->file_number;
	return errors->count;
}

/* What base64 is made of, in a row. */
static size_t
run_length(const char *text)
{
	size_t len = 0;

	while (ascii_is_alpha(text[len]) || ascii_is_digit(text[len]) ||
	       text[len] == '+' || text[len] == '/' || text[len] == '=')
		len++;
	return len;
}

/* Long, and of all kinds, as no word is, and of files only a path. */
static bool
is_key_material(const char *run, size_t len)
{
	bool has_upper = false, has_lower = false, has_digit = false;
	bool has_others = false;
	size_t slashes = 0;

	for (size_t i = 0; i < len; i++) {
		has_upper |= run[i] >= 'A' && run[i] <= 'Z';
		has_lower |= run[i] >= 'a' && run[i] <= 'z';
		has_digit |= ascii_is_digit(run[i]);
		has_others |= run[i] == '+' || run[i] == '=';
		slashes += run[i] == '/';
	}
	if (run[0] == '/' && slashes >= PATH_SLASHES_MIN && !has_others)
		return false;
	return len >= KEY_MATERIAL_MIN && has_upper && has_lower && has_digit;
}

/* What a file holds must not control the terminal, nor must a key that stands
 * in it by mistake get there, or to a log. */
static void
text_tame(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0';) {
		size_t len = run_length(in);

		if (len == 0) {
			*out++ = (unsigned char)*in < ' ' || *in == 0x7f ? '?'
									 : *in;
			in++;
		} else if (is_key_material(in, len)) {
			memcpy(out, "...", 3);
			out += 3;
			in += len;
		} else {
			memmove(out, in, len);
			out += len;
			in += len;
		}
	}
	*out = '\0';
}

void
conf_error(struct conf_errors *errors, struct conf_place place,
	   const char *format, ...)
{
	CLEAN(clean_memory) char *text = NULL;
	const char *file = place.file == NULL ? "" : place.file;
	struct conf_error *error;
	va_list args;
	int length;

	if (errors->count >= CONF_ERRORS_MAX) {
		errors->count++;
		return;
	}
	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	ASSERT(length >= 0);
	error = memory_new(sizeof(*error) + (size_t)length + 1);
	error->file = slice_dup(SLICE(file));
	error->line = place.line;
	error->number = errors->count;
	error->file_number = file_number(errors, file);
	memcpy(error->text, text, (size_t)length + 1);
	text_tame(error->text);
	if (errors->last == NULL)
		errors->first = error;
	else
		errors->last->next = error;
	errors->last = error;
	errors->count++;
}

void
conf_error_fault(struct conf_errors *errors, struct conf_place place,
		 const struct fault *fault)
{
	if (fault->kind == FAULT_DENIED)
		errors->is_denied = true;
	if (fault->kind == FAULT_ABSENT)
		errors->is_absent = true;
	conf_error(errors, place, "%s", fault->text);
}

static int
error_compare(const void *a, const void *b)
{
	const struct conf_error *x = *(const struct conf_error *const *)a;
	const struct conf_error *y = *(const struct conf_error *const *)b;

	if (x->file_number != y->file_number)
		return x->file_number < y->file_number ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

void
conf_errors_write(const struct conf_errors *errors, struct text *out)
{
	const struct conf_error *sorted[CONF_ERRORS_MAX];
	size_t count = 0;

	for (const struct conf_error *error = errors->first; error != NULL;
	     error = error->next)
		sorted[count++] = error;
	if (count > 1)
		qsort(sorted, count, sizeof(sorted[0]), error_compare);
	for (size_t i = 0; i < count; i++) {
		if (sorted[i]->file[0] != '\0')
			text_addf(out, "%s:", sorted[i]->file);
		if (sorted[i]->line > 0)
			text_addf(out, "%u:", sorted[i]->line);
		text_addf(out, "%s%s\n", sorted[i]->file[0] == '\0' ? "" : " ",
			  sorted[i]->text);
	}
	if (errors->count > count)
		text_addf(out, "and %zu more errors\n", errors->count - count);
}

/* ---- sources ---- */

#define PAIR_HEAD 8 /* two lengths of four bytes, little-endian */

static void
length_write(struct text *out, size_t len)
{
	for (unsigned shift = 0; shift < 32; shift += 8)
		text_add_byte(out, (char)(len >> shift & 0xff));
}

static size_t
length_read(const char *bytes)
{
	size_t len = 0;

	for (unsigned i = 0; i < 4; i++)
		len |= (size_t)(unsigned char)bytes[i] << 8 * i;
	return len;
}

/* Takes the first pair off *rest. */
static bool
pair_take(struct slice *rest, struct slice *name_out,
	  struct slice *contents_out)
{
	size_t name_len, contents_len;

	if (rest->len < PAIR_HEAD)
		return false;
	name_len = length_read(rest->bytes);
	contents_len = length_read(rest->bytes + 4);
	if (name_len > rest->len - PAIR_HEAD ||
	    contents_len > rest->len - PAIR_HEAD - name_len)
		return false;
	*name_out = slice_sub(*rest, PAIR_HEAD, name_len);
	*contents_out = slice_sub(*rest, PAIR_HEAD + name_len, contents_len);
	*rest = slice_from(*rest, PAIR_HEAD + name_len + contents_len);
	return true;
}

void
conf_sources_done(struct conf_sources *sources)
{
	text_done(&sources->bytes);
	sources->count = 0;
}

void
conf_sources_add(struct conf_sources *sources, struct slice name,
		 struct slice contents)
{
	ASSERT(name.len <= UINT32_MAX);
	ASSERT(contents.len <= UINT32_MAX);
	length_write(&sources->bytes, name.len);
	length_write(&sources->bytes, contents.len);
	text_add(&sources->bytes, name);
	text_add(&sources->bytes, contents);
	sources->count++;
}

bool
conf_sources_at(const struct conf_sources *sources, size_t i,
		struct slice *name_out, struct slice *contents_out)
{
	struct slice rest = text_slice(&sources->bytes);

	while (pair_take(&rest, name_out, contents_out))
		if (i-- == 0)
			return true;
	return false;
}

bool
conf_sources_find(const struct conf_sources *sources, struct slice name,
		  struct slice *contents_out)
{
	struct slice rest = text_slice(&sources->bytes), other;

	while (pair_take(&rest, &other, contents_out))
		if (slice_eq(name, other))
			return true;
	return false;
}

bool
conf_sources_copy(struct slice bytes, struct conf_sources *sources_out,
		  struct fault *fault)
{
	struct slice rest = bytes, name, contents;
	size_t count = 0;

	while (pair_take(&rest, &name, &contents))
		count++;
	if (rest.len > 0 || count == 0)
		return fault_set(fault, FAULT_INPUT,
				 "the configuration's sources are damaged");
	*sources_out = (struct conf_sources){.count = count};
	text_add(&sources_out->bytes, bytes);
	return true;
}

/* ---- patterns ---- */

bool
conf_is_pattern(struct slice name)
{
	return memchr(name.bytes, '*', name.len) != NULL ||
	       memchr(name.bytes, '?', name.len) != NULL;
}

static int
name_compare(const void *a, const void *b)
{
	return strcmp(((const struct slice *)a)->bytes,
		      ((const struct slice *)b)->bytes);
}

bool
conf_files_match(struct slice pattern, struct arena *arena,
		 struct slice **names_out, size_t *count_out,
		 struct fault *fault)
{
	CLEAN(text_done) struct text text = {0};
	glob_t found = {0};
	struct slice *names;
	int code;

	text_add(&text, pattern);
	errno = 0;
	code = glob(text_string(&text), GLOB_ERR | GLOB_NOESCAPE | GLOB_NOSORT,
		    NULL, &found);
	ASSERT(code != GLOB_NOSPACE);
	if (code != 0) {
		bool is_read = code == GLOB_NOMATCH;

		if (!is_read)
			(void)fault_errno(fault, "cannot look for files");
		globfree(&found);
		return is_read ? fault_set(fault, FAULT_ABSENT,
					   "no file matches")
			       : false;
	}
	names = arena_array(arena, found.gl_pathc, sizeof(*names));
	for (size_t i = 0; i < found.gl_pathc; i++)
		names[i] = arena_copy(arena, SLICE(found.gl_pathv[i]));
	qsort(names, found.gl_pathc, sizeof(*names), name_compare);
	*names_out = names;
	*count_out = found.gl_pathc;
	globfree(&found);
	return true;
}

void
conf_sources_match(const struct conf_sources *sources, struct slice pattern,
		   struct arena *arena, struct slice **names_out,
		   size_t *count_out)
{
	struct slice rest = text_slice(&sources->bytes), name, contents;
	struct slice *names = arena_array(arena, sources->count, sizeof(*names));
	CLEAN(text_done) struct text text = {0};
	size_t count = 0;

	text_add(&text, pattern);
	while (pair_take(&rest, &name, &contents)) {
		name = arena_copy(arena, name);
		if (fnmatch(text_string(&text), name.bytes,
			    FNM_NOESCAPE | FNM_PATHNAME | FNM_PERIOD) == 0)
			names[count++] = name;
	}
	qsort(names, count, sizeof(*names), name_compare);
	*names_out = names;
	*count_out = count;
}

static bool
descriptor_read(int descriptor, size_t max, struct text *out,
		struct fault *fault)
{
	for (;;) {
		char *room = text_room(out, 65536);
		ssize_t len = read(descriptor, room, 65536);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return fault_errno(fault, "cannot read");
		if (len == 0)
			return true;
		text_added(out, (size_t)len);
		if (out->len > max)
			return fault_set(fault, FAULT_LIMIT,
					 "larger than %zu bytes", max);
	}
}

bool
conf_file_read(const char *path, size_t max, struct text *out,
	       struct fault *fault)
{
	/* Nonblocking: opening a FIFO must not wait for its writer. */
	CLEAN(clean_descriptor)
	int descriptor =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct text text = {0};
	struct stat status;

	if (descriptor < 0)
		return fault_errno(fault, "cannot open");
	if (fstat(descriptor, &status) != 0)
		return fault_errno(fault, "cannot stat");
	if (!S_ISREG(status.st_mode))
		return fault_set(fault, FAULT_INPUT, "not a regular file");
	if (!descriptor_read(descriptor, max, &text, fault)) {
		text_done(&text);
		return false;
	}
	text_add(out, text_slice(&text));
	text_done(&text);
	return true;
}
