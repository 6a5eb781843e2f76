#include "milter/authres.h"

#include "milter/idn.h"

/* RFC 6008 4 and RFC 8601 2.7.1: as much of b= as tells two apart. */
#define B_LEN_MIN 8
#define B_LEN_MAX 64
/* Longer ones, which no signer of good faith writes, are left out. */
#define PROPERTY_LEN_MAX 253
#define REASON_LEN_MAX 200

/* ---- writing ---- */

const char *
authres_result(const struct verification *result)
{
	switch (result->status) {
	case VERIFY_PASS:
		return "pass";
	case VERIFY_FAIL:
		/* RFC 6376 3.6.1: a failure in test mode counts as no more
		 * than no signature. */
		return result->is_testing ? "neutral" : "fail";
	case VERIFY_TEMPERROR:
		return "temperror";
	case VERIFY_PERMERROR:
		if (result->cause == VERIFY_CAUSE_SYNTAX)
			return "neutral";
		if (result->cause == VERIFY_CAUSE_POLICY)
			return "policy";
		return "permerror";
	case VERIFY_PENDING:
		break;
	}
	ASSERT(false); /* a result is still pending */
	return NULL;
}

static bool
is_printable(char c)
{
	return c >= ' ' && c < 0x7f;
}

/* RFC 2045 5.1. */
static bool
is_token(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (!is_printable(c) || c == ' ' ||
		    strchr("()<>@,;:\\\"/[]?=", c) != NULL)
			return false;
	}
	return value.len > 0;
}

/* Within a quoted-string or a comment. What would need a backslash there is
 * written otherwise: not every reader knows them, and many cut at each ";". */
static void
plain_add(struct text *out, struct slice value)
{
	static const char from[] = "\"\\();", to[] = "'/[],";

	for (size_t i = 0; i < value.len; i++) {
		char c = is_printable(value.bytes[i]) ? value.bytes[i] : '?';
		const char *special = strchr(from, c);

		text_add_byte(out, special == NULL ? c : to[special - from]);
	}
}

static void
quoted_add(struct text *out, struct slice value)
{
	text_add_byte(out, '"');
	plain_add(out, value);
	text_add_byte(out, '"');
}

static void
value_add(struct text *out, struct slice value)
{
	if (is_token(value))
		text_add(out, value);
	else
		quoted_add(out, value);
}

/* Puts a word behind a space, or on the next line where it does not fit. */
static void
word_add(struct text *out, const struct text *word)
{
	ptrdiff_t end = slice_find_last(text_slice(out), '\n');
	size_t column = out->len - (size_t)(end + 1);

	text_add_string(out, column + 1 + word->len > AUTHRES_LINE_MAX
				     ? "\r\n\t"
				     : " ");
	text_add(out, text_slice(word));
}

/* What domains, selectors, algorithms and base64 consist of. */
static bool
is_plain(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
		    (c == '\0' || strchr("-._+/=", c) == NULL))
			return false;
	}
	return value.len > 0 && value.len <= PROPERTY_LEN_MAX;
}

static void
property_add(struct text *out, const char *name, struct slice value)
{
	CLEAN(text_done) struct text word = {0};

	if (!is_plain(value))
		return;
	text_addf(&word, "header.%s=", name);
	value_add(&word, value);
	word_add(out, &word);
}

/* The start of b=, without its white space. */
static struct slice
b_start(struct slice b, char out[B_LEN_MAX])
{
	size_t len = 0;

	for (size_t i = 0; i < b.len && len < B_LEN_MAX; i++) {
		char c = b.bytes[i];

		if (!ascii_is_wsp(c) && c != '\r' && c != '\n')
			out[len++] = c;
	}
	return slice_of(out, len);
}

static void
b_add(struct text *out, const struct authres *authres, size_t mine)
{
	char buf[B_LEN_MAX], other_buf[B_LEN_MAX];
	struct slice b = b_start(authres->results[mine].b, buf);
	size_t len = B_LEN_MIN;

	for (size_t i = 0; i < authres->count; i++) {
		struct slice other =
			b_start(authres->results[i].b, other_buf);

		if (i == mine || slice_eq(b, other))
			continue;
		while (len < b.len &&
		       slice_eq(slice_sub(b, 0, len), slice_sub(other, 0, len)))
			len++;
	}
	property_add(out, "b", slice_sub(b, 0, len));
}

static void
resinfo_begin(struct text *out, const char *result)
{
	text_addf(out, ";\r\n\tdkim=%s", result);
}

static void
reason_add(struct text *out, const struct verification *result)
{
	CLEAN(text_done) struct text word = {0};
	struct slice reason = slice_sub(result->reason, 0, REASON_LEN_MAX);

	if (result->status == VERIFY_PASS) {
		text_add_byte(&word, '(');
		plain_add(&word, reason);
		text_add_byte(&word, ')');
	} else {
		text_add_string(&word, "reason=");
		quoted_add(&word, reason);
	}
	word_add(out, &word);
}

static void
resinfo_add(struct text *out, const struct authres *authres, size_t i)
{
	const struct verification *result = &authres->results[i];
	bool has_domain = result->domain_name.len > 0;
	bool has_selector = result->selector_name.len > 0;

	resinfo_begin(out, authres_result(result));
	reason_add(out, result);
	property_add(out, "d",
		     has_domain ? result->domain_name : result->domain);
	property_add(out, "s",
		     has_selector ? result->selector_name : result->selector);
	property_add(out, "a", result->algorithm);
	b_add(out, authres, i);
}

void
authres_write(const struct authres *authres, struct text *out)
{
	text_add_string(out, "Authentication-Results: ");
	value_add(out, authres->id);
	for (size_t i = 0; i < authres->count; i++)
		resinfo_add(out, authres, i);
	if (authres->count == 0)
		resinfo_begin(out, "none");
	if (authres->ignored > 0) {
		resinfo_begin(out, "policy");
		text_addf(out, " reason=\"%zu more are not looked at\"",
			  authres->ignored);
	}
	text_add_string(out, "\r\n");
}

bool
authres_id_is_sound(struct slice id)
{
	for (size_t i = 0; i < id.len; i++)
		if (id.bytes[i] <= ' ' || id.bytes[i] > '~' ||
		    strchr("()<>@,;:\\\"/[]?=", id.bytes[i]) != NULL)
			return false;
	return id.len > 0;
}

/* ---- claiming ---- */

/* A way to misread: any set of these. */
enum {
	READ_NESTING = 1 << 0, /* comments nest */
	READ_ESCAPES = 1 << 1, /* a backslash in a comment means something */
	READ_QUOTES = 1 << 2,  /* a parenthesis in quotes opens no comment */
	READ_JOINED = 1 << 3,  /* space around dots is nothing */
	READINGS = 1 << 4,
};

/* Longer words are no authserv-id in anybody's eyes. */
#define WORD_LEN_MAX 4096

/* Behind the comment that starts here; 0: it does not end. */
static size_t
comment_end(struct slice value, size_t at, unsigned reading)
{
	size_t depth = 0;

	for (; at < value.len; at++) {
		char c = value.bytes[at];

		if (c == '\\' && (reading & READ_ESCAPES) != 0)
			at++;
		else if (c == '(' && (depth == 0 || (reading & READ_NESTING)))
			depth++;
		else if (c == ')' && --depth == 0)
			return at + 1;
	}
	return 0;
}

static void
comments_drop(struct slice value, unsigned reading, struct text *out)
{
	bool in_quotes = false, has_comments = true;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];
		size_t end = 0;

		if (c == '"' && (reading & READ_QUOTES) != 0)
			in_quotes = !in_quotes;
		if (c == '(' && !in_quotes && has_comments) {
			end = comment_end(value, i, reading);
			has_comments = end != 0;
		}
		text_add_byte(out, end == 0 ? c : ' ');
		if (end != 0)
			i = end - 1;
		else if (c == '\\' && in_quotes && i + 1 < value.len)
			text_add_byte(out, value.bytes[++i]);
	}
}

static bool
is_separator(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';' ||
	       c == ',' || c == '(' || c == ')' || c == '\0';
}

static bool
is_dropped(char c)
{
	return c == '"' || c == '\\' || c == 0x7f || (unsigned char)c < ' ';
}

/* Of the next byte that is neither space nor dropped. */
static size_t
gap_end(struct slice value, size_t at)
{
	while (at < value.len && (ascii_is_wsp(value.bytes[at]) ||
				  is_dropped(value.bytes[at])))
		at++;
	return at;
}

/* The space here is around a dot. */
static bool
is_joined(struct slice value, size_t at, const struct text *word)
{
	size_t end = gap_end(value, at);

	return word->bytes[word->len - 1] == '.' ||
	       (end < value.len && value.bytes[end] == '.');
}

/* The first word. */
static void
word_read(struct slice value, unsigned reading, struct text *out)
{
	for (size_t i = 0; i < value.len && out->len < WORD_LEN_MAX; i++) {
		char c = value.bytes[i];
		bool is_space = ascii_is_wsp(c) || c == '\r' || c == '\n';

		/* The whole of it at once: there may be much. */
		if (is_space && out->len > 0 && (reading & READ_JOINED) &&
		    is_joined(value, i, out)) {
			i = gap_end(value, i) - 1;
			continue;
		}
		if (is_separator(c) && out->len > 0)
			return;
		if (!is_separator(c) && !is_dropped(c))
			text_add_byte(out, c);
	}
}

/* Without what is not ASCII at its ends: a no-break space or a mark of byte
 * order, of any character set, which some readers take for white space. */
static struct slice
edges_trim(struct slice word)
{
	while (word.len > 0 && (unsigned char)word.bytes[0] > 0x7f)
		word = slice_from(word, 1);
	while (word.len > 0 &&
	       (unsigned char)word.bytes[word.len - 1] > 0x7f)
		word.len--;
	return word;
}

static bool
word_is(struct slice word, struct slice id)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct slice ascii, id_ascii;

	while (word.len > 0 && word.bytes[word.len - 1] == '.')
		word.len--;
	while (id.len > 0 && id.bytes[id.len - 1] == '.')
		id.len--;
	if (slice_eq_nocase(word, id))
		return true;
	return idn_to_ascii(word, &arena, &ascii, NULL) &&
	       idn_to_ascii(id, &arena, &id_ascii, NULL) &&
	       slice_eq(ascii, id_ascii);
}

static bool
word_claims(struct slice word, struct slice id)
{
	ptrdiff_t slash = slice_find(word, '/');

	/* No encoded word (RFC 2047 5) belongs here, but some decode first. */
	return slice_starts(word, SLICE("=?")) || word_is(word, id) ||
	       word_is(edges_trim(word), id) ||
	       (slash > 0 && word_is(slice_sub(word, 0, (size_t)slash), id));
}

bool
authres_is_field(struct slice name)
{
	return slice_eq_nocase(slice_trim(name),
			       SLICE("Authentication-Results"));
}

bool
authres_claims(struct slice value, struct slice id)
{
	CLEAN(text_done) struct text plain = {0}, word = {0}, last = {0};

	ASSERT(id.len > 0);
	for (unsigned reading = 0; reading < READINGS; reading++) {
		text_clear(&plain);
		text_clear(&word);
		comments_drop(value, reading, &plain);
		word_read(text_slice(&plain), reading, &word);
		/* Most fields read the same in every way. */
		if (word.len == 0 ||
		    slice_eq(text_slice(&word), text_slice(&last)))
			continue;
		if (word_claims(text_slice(&word), id))
			return true;
		text_clear(&last);
		text_add(&last, text_slice(&word));
	}
	return false;
}
