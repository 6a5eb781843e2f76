#include "milter/author.h"

#include "milter/idn.h"
#include "milter/mailbox.h"

enum token_kind {
	TOKEN_END,
	TOKEN_ATOM,
	TOKEN_QUOTED,
	TOKEN_LITERAL, /* with its brackets */
	TOKEN_SPECIAL, /* one of <>@,;:. */
};

struct token {
	enum token_kind kind;
	struct slice bytes;
};

struct reader {
	struct slice rest;
	struct token token; /* the one in hand */
	struct arena *arena;
	struct authors authors;
	struct fault *fault;
	struct slice domain; /* of addresses without one; "": there are none */
	size_t max;          /* addresses */
	struct text local;   /* what may be the local part in hand */
	bool in_group;
};

static bool
refuse(struct reader *reader, const char *why)
{
	return fault_set(reader->fault, FAULT_INPUT, "%s", why);
}

static bool
is_space(char c)
{
	return ascii_is_wsp(c) || c == '\r' || c == '\n';
}

/* RFC 5322 3.2.3 atext, and the bytes of UTF-8. */
static bool
is_atom_byte(char c)
{
	return (unsigned char)c >= 0x80 || ascii_is_alpha(c) ||
	       ascii_is_digit(c) ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* The length up to and with the byte that closes what the first byte opens; 0
 * where none does. A backslash makes the next byte an ordinary one. Comments
 * nest (open is not 0): counted, so that depth costs nothing. */
static size_t
enclosed_len(struct slice text, char open, char close)
{
	size_t depth = 1;

	for (size_t i = 1; i < text.len; i++) {
		char c = text.bytes[i];

		if (c == '\\')
			i++;
		else if (c == close && --depth == 0)
			return i + 1;
		else if (c == open && open != '\0')
			depth++;
	}
	return 0;
}

static bool
space_skip(struct reader *reader)
{
	while (reader->rest.len > 0) {
		size_t len = 1;

		if (reader->rest.bytes[0] == '(')
			len = enclosed_len(reader->rest, '(', ')');
		else if (!is_space(reader->rest.bytes[0]))
			return true;
		if (len == 0)
			return refuse(reader, "a comment does not end");
		reader->rest = slice_from(reader->rest, len);
	}
	return true;
}

static bool
token_take(struct reader *reader, enum token_kind kind, size_t len)
{
	reader->token.kind = kind;
	reader->token.bytes = slice_sub(reader->rest, 0, len);
	reader->rest = slice_from(reader->rest, len);
	return true;
}

static bool
token_next(struct reader *reader)
{
	struct slice rest;
	size_t len = 0;

	if (!space_skip(reader))
		return false;
	rest = reader->rest;
	if (rest.len == 0)
		return token_take(reader, TOKEN_END, 0);
	if (rest.bytes[0] == '"') {
		len = enclosed_len(rest, '\0', '"');
		return len == 0 ? refuse(reader, "a quoted string does not end")
				: token_take(reader, TOKEN_QUOTED, len);
	}
	if (rest.bytes[0] == '[') {
		len = enclosed_len(rest, '\0', ']');
		return len == 0
			       ? refuse(reader, "a domain literal does not end")
			       : token_take(reader, TOKEN_LITERAL, len);
	}
	if (rest.bytes[0] != '\0' && strchr("<>@,;:.", rest.bytes[0]) != NULL)
		return token_take(reader, TOKEN_SPECIAL, 1);
	while (len < rest.len && is_atom_byte(rest.bytes[len]))
		len++;
	return len == 0 ? refuse(reader, "a character that may not stand there")
			: token_take(reader, TOKEN_ATOM, len);
}

static bool
token_is(const struct reader *reader, char special)
{
	return reader->token.kind == TOKEN_SPECIAL &&
	       reader->token.bytes.bytes[0] == special;
}

static bool
token_is_word(const struct reader *reader)
{
	return reader->token.kind == TOKEN_ATOM ||
	       reader->token.kind == TOKEN_QUOTED;
}

/* domain, with the token behind "@" in hand: atoms between dots, or a literal.
 * Leaves the token behind it in hand. */
static bool
domain_read(struct reader *reader, struct slice *domain_out)
{
	CLEAN(text_done) struct text domain = {0};

	if (reader->token.kind == TOKEN_LITERAL) {
		*domain_out = reader->token.bytes;
		return token_next(reader);
	}
	for (;;) {
		if (reader->token.kind != TOKEN_ATOM)
			return refuse(reader, "an address without a domain");
		text_add(&domain, reader->token.bytes);
		if (!token_next(reader))
			return false;
		if (!token_is(reader, '.'))
			break;
		text_add_byte(&domain, '.');
		if (!token_next(reader))
			return false;
	}
	*domain_out = arena_copy(reader->arena, text_slice(&domain));
	return true;
}

/* Adds the word in hand, without what only quotes it (RFC 5322 3.2.4). */
static void
local_add(struct reader *reader)
{
	if (reader->token.kind == TOKEN_QUOTED)
		mailbox_unquote(reader->token.bytes, &reader->local);
	else
		text_add(&reader->local, reader->token.bytes);
}

static void
dispute(struct reader *reader, const char *what)
{
	if (reader->authors.dispute == NULL)
		reader->authors.dispute = what;
}

/* Quoted they may stand there, and not every reader minds the quotes. */
static bool
is_deceptive(struct slice local)
{
	for (size_t i = 0; i < local.len; i++) {
		unsigned char c = (unsigned char)local.bytes[i];

		if (c < ' ' || c == 0x7f || strchr("@<>,;:()", c) != NULL)
			return true;
	}
	return false;
}

/* The local part is what local_add() put together. */
static bool
author_add(struct reader *reader, struct slice domain)
{
	struct authors *authors = &reader->authors;

	if (authors->count == reader->max)
		return refuse(reader, "too many addresses");
	if (domain.bytes[0] == '[')
		domain = arena_copy(reader->arena, domain);
	else if (!idn_to_ascii(domain, reader->arena, &domain, reader->fault))
		return false;
	authors->locals[authors->count] =
		arena_copy(reader->arena, text_slice(&reader->local));
	if (is_deceptive(text_slice(&reader->local)))
		dispute(reader, "a local part with an '@' or the like in it");
	authors->domains[authors->count++] = domain;
	return true;
}

/* A display name "b@example.net" that is not quoted: some show that. */
static void
compare_named(struct reader *reader, bool is_address, struct slice local,
	      struct slice domain)
{
	const struct authors *authors = &reader->authors;
	size_t last = authors->count - 1;

	if (!is_address || !slice_eq(local, authors->locals[last]) ||
	    !slice_eq_nocase(domain, authors->domains[last]))
		dispute(reader, "an '@' in a name that is not quoted");
}

/* obs-route, with the "@" in hand: passed over, up to and with its ":". */
static bool
route_skip(struct reader *reader)
{
	while (!token_is(reader, ':')) {
		bool is_fitting = token_is(reader, '@') ||
				  token_is(reader, ',') ||
				  token_is(reader, '.') ||
				  reader->token.kind == TOKEN_ATOM ||
				  reader->token.kind == TOKEN_LITERAL;

		if (!is_fitting)
			return refuse(reader, "a route without its end");
		if (!token_next(reader))
			return false;
	}
	return token_next(reader);
}

/* word *("." word), with its first token in hand, and dots anywhere: mobile
 * carriers have given out such. */
static bool
local_read(struct reader *reader)
{
	bool has_word = false, is_behind_dot = true;

	text_clear(&reader->local);
	while (token_is(reader, '.') ||
	       (token_is_word(reader) && is_behind_dot)) {
		is_behind_dot = token_is(reader, '.');
		if (is_behind_dot)
			text_add_byte(&reader->local, '.');
		else
			local_add(reader);
		has_word |= !is_behind_dot;
		if (!token_next(reader))
			return false;
	}
	return has_word || refuse(reader, "an address without a local part");
}

/* angle-addr, with "<" in hand; leaves the token behind ">" in hand. */
static bool
angle_read(struct reader *reader)
{
	struct slice domain;

	if (!token_next(reader))
		return false;
	if (token_is(reader, '@')) {
		dispute(reader, "a route before an address");
		if (!route_skip(reader))
			return false;
	}
	if (token_is(reader, '>'))
		return refuse(reader, "an empty address");
	if (!local_read(reader))
		return false;
	if (token_is(reader, '>') && reader->domain.len > 0)
		return author_add(reader, reader->domain) && token_next(reader);
	if (!token_is(reader, '@'))
		return refuse(reader, "an address without a domain");
	if (!token_next(reader) || !domain_read(reader, &domain))
		return false;
	if (!token_is(reader, '>'))
		return refuse(reader, "an address without its '>'");
	return author_add(reader, domain) && token_next(reader);
}

static bool
token_ends_address(const struct reader *reader)
{
	return reader->token.kind == TOKEN_END || token_is(reader, ',') ||
	       token_is(reader, ';');
}

/*
 * What stands before "<", "@" or ":" is a display name or a local part; which
 * one shows only there. is_local stays true while it may be what local_read()
 * takes.
 */
struct words {
	size_t count;
	bool is_local, dot_last, has_at;
	struct slice domain; /* behind the first "@" */
};

/* addr-spec behind its words, with "@" in hand; it may still turn out to be
 * part of a display name. */
static bool
words_at(struct reader *reader, struct words *words)
{
	if (words->has_at || words->count == 0)
		words->is_local = false;
	words->has_at = true;
	if (!token_next(reader))
		return false;
	if (reader->token.kind != TOKEN_ATOM &&
	    reader->token.kind != TOKEN_LITERAL) {
		words->is_local = false;
		return true;
	}
	return domain_read(reader, &words->domain);
}

static bool
words_read(struct reader *reader, struct words *words)
{
	*words = (struct words){.is_local = true};
	text_clear(&reader->local);
	for (;;) {
		if (token_is(reader, '@')) {
			if (!words_at(reader, words))
				return false;
			continue;
		}
		if (token_is_word(reader)) {
			if (words->has_at || (words->count > 0 &&
					      !words->dot_last))
				words->is_local = false;
			if (words->is_local)
				local_add(reader);
			words->dot_last = false;
			words->count++;
		} else if (token_is(reader, '.')) {
			if (words->has_at)
				words->is_local = false;
			text_add_byte(&reader->local, '.');
			words->dot_last = true;
		} else {
			return true;
		}
		if (!token_next(reader))
			return false;
	}
}

/* What stands between two commas of the list, or ends a group; leaves the
 * token that ends it in hand. */
static bool
element_read(struct reader *reader)
{
	struct slice named = SLICE_NONE;
	struct words words;

	if (!words_read(reader, &words))
		return false;
	if (token_is(reader, '<')) {
		if (words.has_at)
			named = arena_copy(reader->arena,
					   text_slice(&reader->local));
		if (!angle_read(reader))
			return false;
		if (words.has_at)
			compare_named(reader, words.is_local, named,
				      words.domain);
	} else if (token_is(reader, ':')) {
		if (reader->in_group || words.count == 0 || words.has_at)
			return refuse(reader, "a ':' that may not stand there");
		reader->in_group = true;
		return token_next(reader) && element_read(reader);
	} else if (words.has_at) {
		if (!words.is_local)
			return refuse(reader, "not an address");
		if (!author_add(reader, words.domain))
			return false;
	} else if (words.is_local && words.count > 0 && !words.dot_last &&
		   reader->domain.len > 0) {
		if (!author_add(reader, reader->domain))
			return false;
	} else if (words.count > 0 || words.dot_last) {
		return refuse(reader, "words that are no address");
	}
	if (!token_ends_address(reader))
		return refuse(reader, "something behind an address");
	return true;
}

static bool
list_read(struct reader *reader)
{
	if (!token_next(reader))
		return false;
	for (;;) {
		if (!element_read(reader))
			return false;
		/* Programs write it for a comma, too. */
		if (token_is(reader, ';') &&
		    (reader->in_group || reader->domain.len == 0)) {
			if (!reader->in_group)
				return refuse(reader, "a ';' without a group");
			reader->in_group = false;
			if (!token_next(reader))
				return false;
			if (!token_is(reader, ',') &&
			    reader->token.kind != TOKEN_END)
				return refuse(reader,
					      "something behind a group");
		}
		if (reader->token.kind == TOKEN_END)
			break;
		if (!token_next(reader))
			return false;
	}
	if (reader->in_group)
		return refuse(reader, "a group without its ';'");
	return true;
}

static bool
reader_run(struct reader *reader, struct authors *authors_out)
{
	struct authors *authors = &reader->authors;
	bool is_good;

	authors->locals = arena_array(reader->arena, reader->max,
				     sizeof(*authors->locals));
	authors->domains = arena_array(reader->arena, reader->max,
				      sizeof(*authors->domains));
	is_good = list_read(reader);
	text_done(&reader->local);
	if (is_good)
		*authors_out = *authors;
	return is_good;
}

static bool
list_parse(struct slice value, struct arena *arena,
	   struct authors *authors_out, struct fault *fault)
{
	struct reader reader = {.rest = value,
				.arena = arena,
				.max = AUTHORS_MAX,
				.fault = fault};

	return reader_run(&reader, authors_out);
}

/* The <address> at the end of a value that can have no other, however what
 * stands before it is read. */
static bool
only_address(struct slice value, struct slice *address_out)
{
	struct slice trimmed = value;
	size_t opens = 0, ats = 0, closes = 0, open = 0;

	while (trimmed.len > 0 && is_space(trimmed.bytes[trimmed.len - 1]))
		trimmed.len--;
	for (size_t i = 0; i < trimmed.len; i++) {
		char c = trimmed.bytes[i];

		if (((unsigned char)c < ' ' && !is_space(c)) || c == 0x7f)
			return false;
		if (c == '<' && opens++ == 0)
			open = i;
		ats += c == '@' && opens > 0;
		closes += c == '>';
		if (c == '@' && opens == 0)
			return false;
	}
	if (opens != 1 || ats != 1 || closes != 1 ||
	    trimmed.bytes[trimmed.len - 1] != '>')
		return false;
	*address_out = slice_from(trimmed, open);
	return true;
}

bool
authors_parse(struct slice value, struct arena *arena,
	      struct authors *authors_out, struct fault *fault)
{
	struct slice address;
	struct fault second;

	if (list_parse(value, arena, authors_out, fault))
		return true;
	if (!only_address(value, &address) ||
	    !list_parse(address, arena, authors_out, &second))
		return false;
	authors_out->dispute = "a name that has to stand in quotes";
	return true;
}

bool
mailboxes_parse(struct slice value, struct slice domain, size_t max,
		struct arena *arena, struct authors *mailboxes_out,
		struct fault *fault)
{
	struct reader reader = {.rest = value,
				.domain = domain,
				.max = max,
				.arena = arena,
				.fault = fault};

	return reader_run(&reader, mailboxes_out);
}

/* RFC 5322 3.2.3 dot-atom-text, and the bytes of UTF-8. */
static bool
is_dot_atom(struct slice local)
{
	bool behind_dot = true;

	for (size_t i = 0; i < local.len; i++) {
		bool is_dot = local.bytes[i] == '.';

		if (is_dot ? behind_dot : !is_atom_byte(local.bytes[i]))
			return false;
		behind_dot = is_dot;
	}
	return !behind_dot;
}

void
mailbox_write(struct slice local, struct slice domain, struct text *out)
{
	if (is_dot_atom(local))
		text_add(out, local);
	else
		text_add_quoted(out, local);
	text_add_byte(out, '@');
	text_add(out, domain);
}
