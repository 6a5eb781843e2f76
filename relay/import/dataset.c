#include "relay/import/dataset.h"

#include "relay/import/rows.h"

static bool
row_add(struct dataset *dataset, struct slice key, struct slice value,
	struct conf_place place, struct arena *arena,
	struct conf_errors *errors)
{
	if (dataset->count == DATASET_ROWS_MAX) {
		conf_error(errors, place, "more than %d rows",
			   DATASET_ROWS_MAX);
		return false;
	}
	dataset->rows = rows_grow(arena, dataset->rows, dataset->count,
				  sizeof(*dataset->rows));
	dataset->rows[dataset->count++] = (struct dataset_row){
		arena_copy(arena, slice_trim(key)),
		arena_copy(arena, slice_trim(value)), place};
	return true;
}

/* "a, b=c" */
static bool
list_read(struct slice list, struct conf_place place, struct arena *arena,
	  struct dataset *dataset, struct conf_errors *errors)
{
	struct slice part;

	while (slice_split(&list, ',', &part)) {
		struct slice value = part, key;
		bool is_good;

		(void)slice_split(&value, '=', &key);
		if (slice_trim(part).len == 0)
			continue;
		if (slice_trim(key).len == 0) {
			conf_error(errors, place, "'%.*s' has no name before "
				   "its \"=\"",
				   (int)(part.len < 60 ? part.len : 60),
				   part.bytes);
			return false;
		}
		is_good = row_add(dataset, key, value, place, arena, errors);
		if (!is_good)
			return false;
	}
	return true;
}

static bool
line_read(struct slice line, struct conf_place place, struct arena *arena,
	  struct dataset *dataset, struct conf_errors *errors)
{
	ptrdiff_t hash = slice_find(line, '#');
	size_t end = 0;

	if (line.len > DATASET_LINE_MAX) {
		conf_error(errors, place,
			   "longer than the %d bytes that OpenDKIM reads",
			   DATASET_LINE_MAX);
		return false;
	}
	if (line.len > 0 && memchr(line.bytes, '\0', line.len) != NULL) {
		conf_error(errors, place, "a NUL byte");
		return false;
	}
	if (hash >= 0)
		line = slice_sub(line, 0, (size_t)hash);
	line = slice_trim(line);
	if (line.len == 0)
		return true;
	while (end < line.len && !ascii_is_wsp(line.bytes[end]))
		end++;
	return row_add(dataset, slice_sub(line, 0, end), slice_from(line, end),
		       place, arena, errors);
}

bool
dataset_parse(struct slice bytes, const char *path, struct arena *arena,
	      struct dataset *dataset, struct conf_errors *errors)
{
	struct conf_place place = {.file = path};
	struct slice line;

	while (slice_split(&bytes, '\n', &line)) {
		place.line++;
		if (!line_read(line, place, arena, dataset, errors))
			return false;
	}
	return true;
}

struct slice
dataset_path(struct slice path, struct slice directory, struct arena *arena)
{
	if (path.len > 0 && path.bytes[0] == '/')
		return path;
	if (slice_starts(path, SLICE("./")))
		path = slice_from(path, 2);
	return arena_printf(arena, "%.*s/%.*s", SLICE_ARG(directory),
			    SLICE_ARG(path));
}

static bool
file_read(struct slice path, struct conf_place place, struct arena *arena,
	  struct dataset *dataset, struct conf_errors *errors)
{
	CLEAN(text_done) struct text bytes = {0};
	const char *name = arena_copy(arena, path).bytes;
	struct fault fault = {0};

	if (!conf_file_read(name, CONF_FILE_MAX, &bytes, &fault)) {
		fault_put_before(&fault, "%s", name);
		conf_error_fault(errors, place, &fault);
		return false;
	}
	return dataset_parse(text_slice(&bytes), name, arena, dataset, errors);
}

/* What stands before the colon names the kind; a comma before it, and it is a
 * list that has colons in it. */
static struct slice
kind_take(struct slice *name)
{
	ptrdiff_t colon = slice_find(*name, ':');
	ptrdiff_t comma = slice_find(*name, ',');
	struct slice kind;

	if (colon >= 0 && (comma < 0 || colon < comma)) {
		kind = slice_sub(*name, 0, (size_t)colon);
		*name = slice_from(*name, (size_t)colon + 1);
		return kind;
	}
	if (slice_ends_nocase(*name, SLICE(".db")))
		return SLICE("db");
	return name->len > 0 && name->bytes[0] == '/' ? SLICE("file")
						      : SLICE("csl");
}

bool
dataset_read(struct slice name, struct slice directory, struct conf_place place,
	     struct arena *arena, struct dataset *dataset_out,
	     struct conf_errors *errors)
{
	struct dataset dataset = {0};
	struct slice kind = kind_take(&name);

	if (slice_eq_nocase(kind, SLICE("csl"))) {
		if (!list_read(name, place, arena, &dataset, errors))
			return false;
	} else if (slice_eq_nocase(kind, SLICE("file")) ||
		   slice_eq_nocase(kind, SLICE("refile"))) {
		dataset.is_patterns =
			slice_eq_nocase(kind, SLICE("refile"));
		if (!file_read(dataset_path(name, directory, arena), place,
			       arena, &dataset, errors))
			return false;
	} else {
		conf_error(errors, place,
			   "a data set of the kind '%.*s' cannot be read: "
			   "export it to a file, one row a line, and name "
			   "that with file:",
			   (int)(kind.len < 60 ? kind.len : 60), kind.bytes);
		return false;
	}
	*dataset_out = dataset;
	return true;
}
