/*
 * conf - the configuration file: its syntax, and its reading against a table
 * of options. Knows no option by name.
 *
 *	name = VALUE            VALUE: "text", a bare word such as 50M or true,
 *	                        or a list, {"a", "b"}; commas are optional
 *	section { … }           at most once
 *	section "title" { … }   any number; each title once, but where the table
 *	                        says otherwise
 *	include "FILE"          relative to the directory of the file it is in;
 *	                        with '*' or '?' all files that match, by name
 *	# comment               to the end of the line
 *
 * Line ends mean nothing but the end of a comment; a text ends on its line and
 * knows the escapes \" and \\. Nothing is expanded.
 *
 * Three steps: conf_read() reads the files into struct conf_sources, from
 * which conf_parse() makes a tree of items, from which conf_fill() fills a
 * struct as the table says. Each collects every error with its place and goes
 * on; the caller looks at the errors at the end.
 *
 * Bounds      CONF_*_MAX below.
 * Ownership   Items and what conf_fill() allocates live in the arena given.
 *             They point to nothing in the sources.
 * Errors      Collected in struct conf_errors; nothing here ends the process,
 *             and no file is read but those named.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include "base/arena.h"
#include "base/fault.h"

#define CONF_FILE_MAX ((size_t)8 << 20)
#define CONF_TOTAL_MAX ((size_t)16 << 20)
#define CONF_FILES_MAX 4096 /* each counts as often as it is included */
#define CONF_DEPTH_MAX 16 /* of includes and of sections */
#define CONF_TEXT_MAX 4096
#define CONF_LIST_MAX 4096
#define CONF_ERRORS_MAX 100

struct conf_place {
	const char *file; /* NULL: no file, a default */
	unsigned line;
};

/* ---- errors ---- */

struct conf_error;

struct conf_table;

/* Zeroed is empty. */
struct conf_errors {
	/* The options whose names may be said as they are; of others, which may
	 * be secrets, only those that look like no password. NULL: none. */
	const struct conf_table *names;
	struct conf_error *first, *last;
	size_t count;
	bool is_denied; /* one of them is a file that may not be read */
	bool is_absent; /* or one that is not there */
};

void conf_errors_done(struct conf_errors *errors);
void conf_error(struct conf_errors *errors, struct conf_place place,
		const char *format, ...) PRINTF_LIKE(3, 4);
/* The same of a fault; its kind decides is_denied and is_absent. */
void conf_error_fault(struct conf_errors *errors, struct conf_place place,
		      const struct fault *fault);
/* Appends a line "FILE:LINE: what" for each, in the order of the files read
 * and of their lines; beyond CONF_ERRORS_MAX only their number. */
void conf_errors_write(const struct conf_errors *errors, struct text *out);

/* ---- sources ---- */

/* Names and contents of files, the first one the root, as one string of bytes
 * that can be handed to another process. Zeroed is empty. */
struct conf_sources {
	struct text bytes;
	size_t count;
};

void conf_sources_done(struct conf_sources *sources);
void conf_sources_add(struct conf_sources *sources, struct slice name,
		      struct slice contents);
/* The i-th; false beyond the last. */
bool conf_sources_at(const struct conf_sources *sources, size_t i,
		     struct slice *name_out,
		     struct slice *contents_out) MUST_USE;
bool conf_sources_find(const struct conf_sources *sources, struct slice name,
		       struct slice *contents_out) MUST_USE;
/* Copies sources->bytes of another process; refuses what is malformed. */
bool conf_sources_copy(struct slice bytes, struct conf_sources *sources_out,
		       struct fault *fault) MUST_USE;
/* Whether it stands for the files that it matches: has a '*' or '?'. */
bool conf_is_pattern(struct slice name);
/* The names of the files, or of the sources, that match it (glob(7)), sorted by
 * their bytes, and as parse_file() wants them: NUL behind, in the arena. What
 * conf_files_match() finds and has added is what conf_sources_match() finds. */
bool conf_files_match(struct slice pattern, struct arena *arena,
		      struct slice **names_out, size_t *count_out,
		      struct fault *fault) MUST_USE;
void conf_sources_match(const struct conf_sources *sources,
			struct slice pattern, struct arena *arena,
			struct slice **names_out, size_t *count_out);
/* A whole file of at most `max` bytes; a regular one. */
bool conf_file_read(const char *path, size_t max, struct text *out,
		    struct fault *fault) MUST_USE;

/* ---- items ---- */

struct conf_value {
	struct conf_value *next;
	struct slice text; /* with a NUL behind it */
	struct conf_place place;
	bool is_quoted;
};

/* An option or a section. */
struct conf_item {
	struct conf_item *next;
	struct slice name;
	struct conf_place place;
	/* an option: */
	struct conf_value *values;
	size_t values_count;
	bool is_list;
	/* a section: */
	bool is_section, has_title;
	struct slice title;
	struct conf_item *items, *last;
};

/* Reads the file and what it includes into empty sources and parses them. The
 * root is a section without name; it holds what could be made sense of. */
struct conf_item *conf_read(const char *path, struct conf_sources *sources,
			    struct arena *arena, struct conf_errors *errors);
/* The same from sources alone; reads no file. */
struct conf_item *conf_parse(const struct conf_sources *sources,
			     struct arena *arena, struct conf_errors *errors);
/* The n-th item of that name in a section (from 0), or NULL. */
const struct conf_item *conf_item_find(const struct conf_item *section,
				       const char *name, size_t n);
/* The first one of that name from this one on, of which there must be one: for
 * who goes through all of them. */
const struct conf_item *conf_item_from(const struct conf_item *item,
				       const char *name);
/* The place of the option in the section, else of the section. */
struct conf_place conf_item_place(const struct conf_item *section,
				  const char *name);

/* ---- the table ---- */

enum conf_kind {
	CONF_SECTION,   /* its options fill the struct around it */
	CONF_TITLED,    /* a list of structs, `each` bytes long */
	CONF_TEXT,      /* struct slice */
	CONF_BOOL,      /* bool */
	CONF_WORD,      /* an enum: the position in `words` */
	CONF_COUNT,     /* uint16_t, uint32_t or uint64_t */
	CONF_SIZE,      /* bytes: K, M, G are binary; uint64_t */
	CONF_DURATION,  /* ms: s, m, h, d; uint64_t */
	CONF_DURATIONS, /* a list of them */
	CONF_PARSED,    /* what `parse` makes of a text */
	CONF_LIST,      /* a list of that, `each` bytes long */
};

/* Writes the element (zeroed) and may use the arena; the fault says what is
 * wrong with the text, without repeating it. */
typedef bool conf_parse_fn(struct slice text, struct arena *arena,
			   void *element, struct fault *fault);

/* The field of a list is a pointer, and count_offset that of its size_t. */
struct conf_option {
	const char *key;      /* "section.name" */
	enum conf_kind kind;
	size_t offset, size;  /* of the field in the struct around it */
	const char *fallback; /* as a user would write it, without quotes; a
				 list with spaces between; NULL: required.
				 CONF_TITLED: a title, for the reference */
	uint64_t min, max;    /* both inclusive; of a text its length, of a
				 list the number of its elements, of
				 CONF_DURATIONS each; 0, 0: none */
	const char *help;     /* one sentence */
	const char *const *words; /* ends in NULL */
	conf_parse_fn *parse;
	size_t each, count_offset, title_offset;
	bool titles_repeat;   /* of CONF_TITLED: the caller tells them apart */
	const char *example;  /* for the reference, where fallback is NULL */
};

struct conf_table {
	const struct conf_option *options;
	size_t count;
};

/* Fills *target, which is zeroed, from the items and the defaults. Reports
 * what is unknown, duplicate, missing, malformed or out of range. The elements
 * of a CONF_TITLED list are in the order of their items, one for each. */
void conf_fill(const struct conf_table *table, const struct conf_item *root,
	       void *target, struct arena *arena, struct conf_errors *errors);
/* One element of a CONF_TITLED list, all defaults, into *target (zeroed). */
void conf_fill_default(const struct conf_table *table, const char *section,
		       void *target, struct arena *arena);
/* Reads one value as the row says; the field at `field` is zeroed before. */
bool conf_value_read(const struct conf_option *option, struct slice text,
		     struct arena *arena, void *field,
		     struct fault *fault) MUST_USE;
/* The reference: every option with its default, commented out, and its help.
 * What is written parses, and means the defaults. */
void conf_write(const struct conf_table *table, struct text *out);

#endif
