#include "base/conf_lexer.h"

#define NAME_SAID_MAX 40

static struct conf_place
line_place(const struct lexer *lexer)
{
	return (struct conf_place){lexer->file, lexer->line};
}

static bool
is_word_byte(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f &&
	       strchr("\"'{}=,#;", c) == NULL;
}

static char
next_byte(const struct lexer *lexer)
{
	return lexer->rest.len > 0 ? lexer->rest.bytes[0] : '\0';
}

static void
skip(struct lexer *lexer, size_t len)
{
	lexer->rest = slice_from(lexer->rest, len);
}

static void
bad_byte(struct lexer *lexer)
{
	struct conf_errors *errors = lexer->errors;
	char c = next_byte(lexer);

	if (c == '\0') {
		conf_error(errors, line_place(lexer),
			   "a NUL byte: this is not a text file");
		skip(lexer, lexer->rest.len);
		return;
	}
	if (c == ';')
		conf_error(errors, line_place(lexer),
			   "unexpected ';': none is needed");
	else
		conf_error(errors, line_place(lexer), "unexpected byte 0x%02x",
			   (unsigned char)c);
	skip(lexer, 1);
}

/* To the next token's first byte, or the end. */
static void
skip_space(struct lexer *lexer)
{
	while (lexer->rest.len > 0) {
		char c = next_byte(lexer);

		if (c == '#') {
			ptrdiff_t end = slice_find(lexer->rest, '\n');

			skip(lexer, end < 0 ? lexer->rest.len : (size_t)end);
		} else if (c == '\n') {
			lexer->line++;
			lexer->is_first = true;
			skip(lexer, 1);
		} else if (c == ' ' || c == '\t' || c == '\r') {
			skip(lexer, 1);
		} else if (is_word_byte(c) ||
			   (c != '\0' && strchr("\"'{}=,", c) != NULL)) {
			return;
		} else {
			bad_byte(lexer);
		}
	}
}

/* The length of a text with its quotes, or 0: it does not end on its line. */
static size_t
text_length(struct slice rest)
{
	for (size_t i = 1; i < rest.len && rest.bytes[i] != '\n'; i++) {
		if (rest.bytes[i] == rest.bytes[0])
			return i + 1;
		if (rest.bytes[i] == '\\' && i + 1 < rest.len &&
		    rest.bytes[i + 1] != '\n')
			i++;
	}
	return 0;
}

static struct slice
text_unescape(struct lexer *lexer, struct slice quoted)
{
	struct conf_errors *errors = lexer->errors;
	char *bytes = arena_new(lexer->arena, quoted.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < quoted.len; i++) {
		char c = quoted.bytes[i];

		if ((unsigned char)c < ' ' || c == 0x7f) {
			conf_error(errors, line_place(lexer),
				   "unexpected byte 0x%02x in a text",
				   (unsigned char)c);
			continue;
		}
		if (c == '\\') {
			ASSERT(i + 1 < quoted.len);
			c = quoted.bytes[++i];
			if (c != '\\' && c != '"')
				conf_error(errors, line_place(lexer),
					   "unknown escape '\\%c' in a text: "
					   "a backslash is written \\\\",
					   c);
		}
		bytes[len++] = c;
	}
	return slice_of(bytes, len);
}

static void
lex_text(struct lexer *lexer)
{
	struct conf_errors *errors = lexer->errors;
	size_t len = text_length(lexer->rest);
	ptrdiff_t end;

	if (next_byte(lexer) == '\'')
		conf_error(errors, line_place(lexer),
			   "a text stands in double quotes, not in single "
			   "ones");
	if (len == 0) {
		if (next_byte(lexer) == '"')
			conf_error(errors, line_place(lexer),
				   "a text does not end on its line: a '\"' is "
				   "missing");
		end = slice_find(lexer->rest, '\n');
		len = end < 0 ? lexer->rest.len : (size_t)end;
		lexer->token.text = SLICE_NONE;
	} else if (len - 2 > CONF_TEXT_MAX) {
		conf_error(errors, line_place(lexer),
			   "a text is longer than %d bytes", CONF_TEXT_MAX);
		lexer->token.text = SLICE_NONE;
	} else {
		lexer->token.text = text_unescape(
			lexer, slice_sub(lexer->rest, 1, len - 2));
	}
	lexer->token.kind = TOKEN_TEXT;
	skip(lexer, len);
}

static void
lex_word(struct lexer *lexer)
{
	size_t len = 0;

	while (len < lexer->rest.len && is_word_byte(lexer->rest.bytes[len]))
		len++;
	ASSERT(len > 0);
	if (len > CONF_TEXT_MAX)
		conf_error(lexer->errors, line_place(lexer),
			   "a word is longer than %d bytes", CONF_TEXT_MAX);
	lexer->token.kind = TOKEN_WORD;
	lexer->token.text = arena_copy(
		lexer->arena,
		slice_sub(slice_sub(lexer->rest, 0, len), 0, CONF_TEXT_MAX));
	skip(lexer, len);
}

void
conf_lexer_advance(struct lexer *lexer)
{
	static const char marks[] = "{}=,";
	static const enum token_kind kinds[] = {TOKEN_OPEN, TOKEN_CLOSE,
						TOKEN_EQUALS, TOKEN_COMMA};
	const char *mark;

	skip_space(lexer);
	lexer->token = (struct token){.kind = TOKEN_END,
				      .line = lexer->line,
				      .is_first = lexer->is_first};
	lexer->is_first = false;
	if (lexer->rest.len == 0)
		return;
	mark = strchr(marks, next_byte(lexer));
	if (mark != NULL) {
		lexer->token.kind = kinds[mark - marks];
		skip(lexer, 1);
	} else if (next_byte(lexer) == '"' || next_byte(lexer) == '\'') {
		lex_text(lexer);
	} else {
		lex_word(lexer);
	}
}

void
conf_lexer_open(struct lexer *lexer, struct slice contents)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";

	lexer->rest = contents;
	lexer->line = 1;
	lexer->is_first = true;
	if (slice_starts(contents, SLICE(byte_order_mark)))
		skip(lexer, sizeof(byte_order_mark) - 1);
	conf_lexer_advance(lexer);
}

struct conf_place
conf_lexer_place(const struct lexer *lexer)
{
	return (struct conf_place){lexer->file, lexer->token.line};
}

static bool
is_option(const struct conf_table *table, struct slice name)
{
	for (size_t i = 0; table != NULL && i < table->count; i++) {
		struct slice key = SLICE(table->options[i].key);
		ptrdiff_t dot = slice_find_last(key, '.');

		if (slice_eq(slice_from(key, (size_t)(dot + 1)), name))
			return true;
	}
	return false;
}

struct slice
conf_name_said(const struct conf_errors *errors, struct slice name)
{
	if (is_option(errors->names, name))
		return name;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alpha(name.bytes[i]) && name.bytes[i] != '_' &&
		    name.bytes[i] != '-')
			return SLICE("…");
	return name.len <= NAME_SAID_MAX ? name : SLICE("…");
}

const char *
conf_lexer_found(const struct lexer *lexer)
{
	switch (lexer->token.kind) {
	case TOKEN_END:
		return "the end of the file";
	case TOKEN_WORD:
		return "a word";
	case TOKEN_TEXT:
		return "a text";
	case TOKEN_OPEN:
		return "'{'";
	case TOKEN_CLOSE:
		return "'}'";
	case TOKEN_EQUALS:
		return "'='";
	case TOKEN_COMMA:
		return "','";
	}
	return "";
}
