#include "base/conf.h"

#include "base/conf_lexer.h"

/* What all files of one configuration share. */
struct parser {
	struct arena *arena;
	struct conf_errors *errors;
	struct conf_sources *reading; /* NULL: read no file */
	const struct conf_sources *sources;
	const char *files[CONF_DEPTH_MAX];  /* those being read */
	size_t files_count, sections_count; /* how deep we are */
	size_t files_opened;
};

/* ---- items ---- */

/* After an error: to where the next item probably begins, so that one mistake
 * is one error. */
static void
recover(struct lexer *lexer)
{
	size_t depth = 0;

	while (lexer->token.kind != TOKEN_END) {
		if (depth == 0 && lexer->token.kind == TOKEN_CLOSE)
			return;
		if (depth == 0 && lexer->token.is_first &&
		    lexer->token.kind == TOKEN_WORD)
			return;
		if (lexer->token.kind == TOKEN_OPEN)
			depth++;
		else if (lexer->token.kind == TOKEN_CLOSE)
			depth--;
		conf_lexer_advance(lexer);
	}
}

static struct conf_item *
item_add(struct lexer *lexer, struct conf_item *section,
	 const struct token *name)
{
	struct conf_item *item = arena_new(lexer->arena, sizeof(*item));

	item->name = name->text;
	item->place = (struct conf_place){lexer->file, name->line};
	if (section->last == NULL)
		section->items = item;
	else
		section->last->next = item;
	section->last = item;
	return item;
}

/* Takes the token as the item's next value. */
static void
value_add(struct lexer *lexer, struct conf_item *item,
	  struct conf_value ***last)
{
	struct conf_value *value = arena_new(lexer->arena, sizeof(*value));

	value->text = lexer->token.text;
	value->place = conf_lexer_place(lexer);
	value->is_quoted = lexer->token.kind == TOKEN_TEXT;
	**last = value;
	*last = &value->next;
	item->values_count++;
	conf_lexer_advance(lexer);
}

static bool
is_value(const struct lexer *lexer)
{
	return lexer->token.kind == TOKEN_WORD ||
	       lexer->token.kind == TOKEN_TEXT;
}

static void
parse_list(struct lexer *lexer, struct conf_item *item)
{
	struct conf_errors *errors = lexer->errors;
	struct conf_value **last = &item->values;
	bool comma_allowed = false;

	item->is_list = true;
	for (conf_lexer_advance(lexer); lexer->token.kind != TOKEN_CLOSE;) {
		if (item->values_count == CONF_LIST_MAX) {
			conf_error(errors, item->place,
				   "the list '%.*s' has more than %d elements",
				   SLICE_ARG(conf_name_said(errors, item->name)),
				   CONF_LIST_MAX);
			recover(lexer);
			break;
		}
		if (is_value(lexer)) {
			value_add(lexer, item, &last);
			comma_allowed = true;
		} else if (lexer->token.kind == TOKEN_COMMA) {
			if (!comma_allowed)
				conf_error(
					errors, conf_lexer_place(lexer),
					"nothing stands before ',' in the "
					"list '%.*s'",
					SLICE_ARG(conf_name_said(errors, item->name)));
			conf_lexer_advance(lexer);
			comma_allowed = false;
		} else {
			conf_error(errors, conf_lexer_place(lexer),
				   "unexpected %s in the list '%.*s', which "
				   "begins on line %u: is a '}' missing?",
				   conf_lexer_found(lexer),
				   SLICE_ARG(conf_name_said(errors, item->name)),
				   item->place.line);
			recover(lexer);
			return;
		}
	}
	if (lexer->token.kind == TOKEN_CLOSE)
		conf_lexer_advance(lexer);
}

static void
parse_values(struct lexer *lexer, struct conf_item *item)
{
	struct conf_errors *errors = lexer->errors;
	struct conf_value **last = &item->values;

	if (lexer->token.kind == TOKEN_OPEN) {
		parse_list(lexer, item);
		return;
	}
	if (!is_value(lexer) ||
	    (lexer->token.is_first && lexer->token.kind == TOKEN_WORD)) {
		conf_error(errors, item->place, "'%.*s' has no value",
			   SLICE_ARG(conf_name_said(errors, item->name)));
		recover(lexer);
		return;
	}
	value_add(lexer, item, &last);
	if (lexer->token.kind == TOKEN_COMMA) {
		conf_error(errors, conf_lexer_place(lexer),
			   "several values stand in braces: %.*s = {…, …}",
			   SLICE_ARG(conf_name_said(errors, item->name)));
		recover(lexer);
	}
}

static void parse_items(struct parser *parser, struct lexer *lexer,
			struct conf_item *section, bool is_file);

/* The token is the '{'. */
static void
parse_section(struct parser *parser, struct lexer *lexer,
	      struct conf_item *item)
{
	item->is_section = true;
	if (parser->sections_count == CONF_DEPTH_MAX) {
		conf_error(parser->errors, item->place,
			   "sections nest deeper than %d", CONF_DEPTH_MAX);
		conf_lexer_advance(lexer);
		recover(lexer);
		if (lexer->token.kind == TOKEN_CLOSE)
			conf_lexer_advance(lexer);
		return;
	}
	parser->sections_count++;
	conf_lexer_advance(lexer);
	parse_items(parser, lexer, item, false);
	parser->sections_count--;
}

static void parse_files(struct parser *parser, struct conf_item *section,
			struct slice name, struct conf_place place);

/* The token is the name of the file. */
static void
parse_include(struct parser *parser, struct lexer *lexer,
	      struct conf_item *section)
{
	struct slice given = lexer->token.text, name;
	ptrdiff_t slash = slice_find_last(SLICE(lexer->file), '/');
	struct conf_place place = conf_lexer_place(lexer);

	while (slice_starts(given, SLICE("./")))
		given = slice_from(given, 2);
	if (given.len == 0) {
		conf_error(lexer->errors, place, "include names no file");
	} else {
		if (given.bytes[0] != '/' && slash >= 0)
			name = arena_printf(lexer->arena, "%.*s/%.*s",
					    (int)slash, lexer->file,
					    SLICE_ARG(given));
		else
			name = arena_copy(lexer->arena, given);
		parse_files(parser, section, name, place);
	}
	conf_lexer_advance(lexer);
}

/* Does not repeat the word: in a file named by mistake it may well be a
 * password, or a line of a key. */
static void
nameless_report(struct lexer *lexer, struct conf_place place)
{
	conf_error(lexer->errors, place,
		   "expected '=' or '{' behind the name of an option or a "
		   "section");
	recover(lexer);
}

/* Behind what is not said nothing is. */
static void
quotes_ask(struct conf_errors *errors, struct conf_place place,
	   struct slice name, struct slice title)
{
	bool is_said = slice_eq(conf_name_said(errors, name), name);

	conf_error(errors, place,
		   "the title stands in double quotes: %.*s \"%.*s\" {…}",
		   SLICE_ARG(is_said ? name : SLICE("NAME")),
		   SLICE_ARG(is_said ? title : SLICE("…")));
}

/* The token is what stands behind the name, and neither '=' nor '{'. */
static void
parse_titled(struct parser *parser, struct lexer *lexer,
	     struct conf_item *section, const struct token *name)
{
	struct conf_errors *errors = lexer->errors;
	struct token title = lexer->token;
	struct conf_place place = conf_lexer_place(lexer);
	struct conf_item *item;

	conf_lexer_advance(lexer);
	if (lexer->token.kind != TOKEN_OPEN) {
		nameless_report(lexer, place);
		return;
	}
	if (title.kind == TOKEN_WORD)
		quotes_ask(errors, place, name->text, title.text);
	item = item_add(lexer, section, name);
	item->has_title = true;
	item->title = title.text;
	parse_section(parser, lexer, item);
}

/* The token is a word. */
static void
parse_item(struct parser *parser, struct lexer *lexer,
	   struct conf_item *section)
{
	struct conf_errors *errors = lexer->errors;
	struct token name = lexer->token;

	conf_lexer_advance(lexer);
	if (slice_eq(name.text, SLICE("include"))) {
		if (lexer->token.kind == TOKEN_TEXT) {
			parse_include(parser, lexer, section);
			return;
		}
		conf_error(errors, conf_lexer_place(lexer),
			   "a file is included by: include \"FILE\"");
		recover(lexer);
	} else if (lexer->token.kind == TOKEN_EQUALS) {
		conf_lexer_advance(lexer);
		parse_values(lexer, item_add(lexer, section, &name));
	} else if (lexer->token.kind == TOKEN_OPEN) {
		parse_section(parser, lexer, item_add(lexer, section, &name));
	} else if (is_value(lexer) && !lexer->token.is_first) {
		parse_titled(parser, lexer, section, &name);
	} else {
		nameless_report(lexer,
				(struct conf_place){lexer->file, name.line});
	}
}

static void
end_check(struct lexer *lexer, const struct conf_item *section)
{
	conf_error(lexer->errors, conf_lexer_place(lexer),
		   "the file ends inside the section '%.*s' that begins on "
		   "line %u: a '}' is missing",
		   SLICE_ARG(conf_name_said(lexer->errors, section->name)),
		   section->place.line);
}

/* To the end of the section, or of the file. */
static void
parse_items(struct parser *parser, struct lexer *lexer,
	    struct conf_item *section, bool is_file)
{
	struct conf_errors *errors = lexer->errors;

	for (;;) {
		switch (lexer->token.kind) {
		case TOKEN_WORD:
			parse_item(parser, lexer, section);
			continue;
		case TOKEN_END:
			if (!is_file)
				end_check(lexer, section);
			return;
		case TOKEN_CLOSE:
			if (is_file)
				conf_error(errors, conf_lexer_place(lexer),
					   "this '}' closes nothing");
			conf_lexer_advance(lexer);
			if (!is_file)
				return;
			continue;
		case TOKEN_TEXT:
		case TOKEN_OPEN:
		case TOKEN_EQUALS:
		case TOKEN_COMMA:
			conf_error(errors, conf_lexer_place(lexer),
				   "expected the name of an option or a "
				   "section, found %s",
				   conf_lexer_found(lexer));
			recover(lexer);
		}
	}
}

/* ---- files ---- */

/* Copies: the sources may move while the file's includes are read. */
static bool
file_contents(struct parser *parser, struct slice name, struct text *out,
	      struct fault *fault)
{
	struct slice contents;

	if (conf_sources_find(parser->sources, name, &contents)) {
		text_add(out, contents);
		return true;
	}
	if (parser->reading == NULL)
		return fault_set(fault, FAULT_ABSENT, "not among the sources");
	if (!conf_file_read(name.bytes, CONF_FILE_MAX, out, fault))
		return false;
	if (parser->reading->bytes.len + out->len > CONF_TOTAL_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "all files together are larger than %zu bytes",
				 CONF_TOTAL_MAX);
	conf_sources_add(parser->reading, name, text_slice(out));
	return true;
}

static bool
file_enter(struct parser *parser, const char *file, struct fault *fault)
{
	for (size_t i = 0; i < parser->files_count; i++)
		if (strcmp(parser->files[i], file) == 0)
			return fault_set(fault, FAULT_INPUT, "includes itself");
	/* Files that include others twice must not take for ever. */
	if (parser->files_opened == CONF_FILES_MAX)
		return fault_set(fault, FAULT_LIMIT, "more than %d files",
				 CONF_FILES_MAX);
	if (parser->files_count == CONF_DEPTH_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "includes nest deeper than %d",
				 CONF_DEPTH_MAX);
	parser->files[parser->files_count++] = file;
	parser->files_opened++;
	return true;
}

/* The line with a border of PEM (RFC 7468 2), outside of comments; 0: none. */
static unsigned
pem_line(struct slice contents)
{
	struct slice line;

	for (unsigned number = 1; slice_split(&contents, '\n', &line);
	     number++) {
		line = slice_trim(line);
		if (!slice_starts(line, SLICE("#")) &&
		    (memmem(line.bytes, line.len, "-----BEGIN ", 11) != NULL ||
		     memmem(line.bytes, line.len, "-----END ", 9) != NULL))
			return number;
	}
	return 0;
}

/* A key by mistake must not come out again in what is said of each line. */
static void
contents_parse(struct parser *parser, struct lexer *lexer,
	       struct slice contents, struct conf_item *section)
{
	unsigned line = pem_line(contents);

	if (line > 0) {
		conf_error(parser->errors,
			   (struct conf_place){lexer->file, line},
			   "a key or a certificate in PEM stands here: it "
			   "belongs into a file of its own, which the "
			   "configuration names; nothing of this file is read");
		return;
	}
	conf_lexer_open(lexer, contents);
	parse_items(parser, lexer, section, true);
}

/* The name has a NUL behind it and lives in the arena. */
static void
parse_file(struct parser *parser, struct conf_item *section, struct slice name,
	   struct conf_place place)
{
	CLEAN(text_done) struct text contents = {0};
	struct lexer lexer = {.file = name.bytes,
			      .arena = parser->arena,
			      .errors = parser->errors};
	struct fault fault;

	if (!file_enter(parser, lexer.file, &fault)) {
		fault_within(&fault, "'%s'", lexer.file);
		conf_error_fault(parser->errors, place, &fault);
		return;
	}
	if (file_contents(parser, name, &contents, &fault)) {
		contents_parse(parser, &lexer, text_slice(&contents), section);
	} else {
		if (place.line > 0)
			fault_within(&fault, "'%s'", lexer.file);
		conf_error_fault(parser->errors, place, &fault);
	}
	parser->files_count--;
}

/* The file, or all that match where it is a pattern. That none does is an
 * error: with a name misspelt nobody would sign. */
static void
parse_files(struct parser *parser, struct conf_item *section,
	    struct slice name, struct conf_place place)
{
	struct slice *names = &name;
	size_t count = 1;
	struct fault fault;

	if (conf_is_pattern(name) && parser->reading == NULL) {
		conf_sources_match(parser->sources, name, parser->arena, &names,
				   &count);
	} else if (conf_is_pattern(name) &&
		   !conf_files_match(name, parser->arena, &names, &count,
				     &fault)) {
		fault_within(&fault, "'%.*s'", SLICE_ARG(name));
		conf_error_fault(parser->errors, place, &fault);
		return;
	}
	for (size_t i = 0; i < count; i++)
		parse_file(parser, section, names[i], place);
}

static struct conf_item *
parse_root(struct parser *parser, struct slice name)
{
	struct conf_item *root = arena_new(parser->arena, sizeof(*root));

	name = arena_copy(parser->arena, name);
	root->is_section = true;
	root->name = arena_copy(parser->arena, SLICE_NONE);
	root->place.file = name.bytes;
	parse_file(parser, root, name, root->place);
	return root;
}

struct conf_item *
conf_read(const char *path, struct conf_sources *sources, struct arena *arena,
	  struct conf_errors *errors)
{
	struct parser parser = {.arena = arena,
				.errors = errors,
				.reading = sources,
				.sources = sources};

	ASSERT(sources->count == 0);
	return parse_root(&parser, SLICE(path));
}

struct conf_item *
conf_parse(const struct conf_sources *sources, struct arena *arena,
	   struct conf_errors *errors)
{
	struct parser parser = {
		.arena = arena, .errors = errors, .sources = sources};
	struct slice name, contents;

	ASSERT(conf_sources_at(sources, 0, &name, &contents));
	return parse_root(&parser, name);
}

const struct conf_item *
conf_item_find(const struct conf_item *section, const char *name, size_t n)
{
	for (const struct conf_item *item = section->items; item != NULL;
	     item = item->next)
		if (slice_eq(item->name, SLICE(name)) && n-- == 0)
			return item;
	return NULL;
}

const struct conf_item *
conf_item_from(const struct conf_item *item, const char *name)
{
	while (!slice_eq(item->name, SLICE(name)))
		item = item->next;
	return item;
}

struct conf_place
conf_item_place(const struct conf_item *section, const char *name)
{
	const struct conf_item *item = conf_item_find(section, name, 0);

	return item == NULL           ? section->place
	       : item->values == NULL ? item->place
				      : item->values->place;
}
