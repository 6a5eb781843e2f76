/*
 * conf_lexer - one configuration file as a row of tokens. A part of conf.
 *
 * Reports what can be no token (bytes that have no place, texts without end)
 * and goes on behind it. Texts and words live in the arena, with a NUL behind
 * them.
 */
#ifndef BASE_CONF_LEXER_H
#define BASE_CONF_LEXER_H

#include "base/conf.h"

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_TEXT,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_EQUALS,
	TOKEN_COMMA,
};

struct token {
	enum token_kind kind;
	struct slice text; /* of words and texts */
	unsigned line;
	bool is_first; /* on its line */
};

/* Set file, arena and errors; then conf_lexer_open(). */
struct lexer {
	const char *file;
	struct arena *arena;
	struct conf_errors *errors;
	struct token token; /* the one to be looked at next */
	/* its own */
	struct slice rest;
	unsigned line;
	bool is_first;
};

/* Goes to the first token. The contents stay the caller's, and in place. */
void conf_lexer_open(struct lexer *lexer, struct slice contents);
void conf_lexer_advance(struct lexer *lexer);
/* Of the token. */
struct conf_place conf_lexer_place(const struct lexer *lexer);
/* The name as an error may repeat it: as it is where it is an option's
 * (errors->names), else "…" unless it is of letters only. In a file named by
 * mistake it may be a password, or a line of a key. */
struct slice conf_name_said(const struct conf_errors *errors,
			    struct slice name);
/* What the token is, for "found …", without its text, for the same reason. */
const char *conf_lexer_found(const struct lexer *lexer);

#endif
