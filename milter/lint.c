#include "milter/lint.h"

#include <assert.h>

/* smtp_line_length_limit, and L= of Sendmail's smtp mailers
 * (SMTP_MAILER_LL): their defaults. */
static const size_t line_limits[LINT_MTAS] = {
	[LINT_POSTFIX] = 998,
	[LINT_SENDMAIL] = 990,
};

/* H_FROM and H_RCPT of Sendmail, as far as they may be signed. */
static const char *const address_fields[] = {
	"From",        "Sender",        "Reply-To",  "To",       "Cc",
	"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc"};
static_assert(COUNT(address_fields) == COUNT(((struct lint *)NULL)->addresses),
	      "one of each");

/* Sendmail's checkMIMEFieldHeaders and checkMIMEHeaders, as far as they may be
 * signed: its answer to readers that broke at such fields. Of one parameter it
 * leaves so much. */
static const char *const mime_fields[] = {
	"Content-Type", "Content-Disposition", "Content-Transfer-Encoding",
	"Content-Id", "MIME-Version"};
#define MIME_FIELD_MAX 1023

/* NULL: that MTA does no such thing behind its milters. */
static const char *const sentences[LINT_WARNINGS][LINT_MTAS] = {
	[LINT_LONG_BODY] =
		{"a line of the body has over 998 octets, and Postfix folds it "
		 "on delivery: the sender should encode it; else "
		 "smtp_line_length_limit = 0 keeps it",
		 "a line of the body has over 990 octets, and Sendmail folds "
		 "it on delivery (for a smarthost, over 2040): the sender "
		 "should encode it; else "
		 "define(`SMTP_MAILER_LL', `0') keeps it"},
	[LINT_LONG_HEADER] =
		{"a line of a signed field has over 998 octets, and Postfix "
		 "folds it on delivery: the sender should fold it; else "
		 "smtp_line_length_limit = 0 keeps it",
		 "a line of a signed field has over 990 octets, and Sendmail "
		 "folds it on delivery (for a smarthost, over 2040): the "
		 "sender should fold it; else "
		 "define(`SMTP_MAILER_LL', `0') keeps it"},
	[LINT_EIGHT_BIT] =
		{"the body is 8-bit, and Postfix recodes it for a host without "
		 "8BITMIME unless disable_mime_output_conversion = yes",
		 "the body is 8-bit, and Sendmail recodes it for a host "
		 "without 8BITMIME unless MODIFY_MAILER_FLAGS(`SMTP', `+8') "
		 "and the same for `ESMTP'"},
	[LINT_BARE_CR] =
		{"the body has a CR that is no line end, which hosts on the "
		 "way change: message_strip_characters = \\r removes it before "
		 "it is signed",
		 "the body has a CR that is no line end, which hosts on the "
		 "way change: the sender has to encode it"},
	[LINT_NO_DATE] =
		{"there is no Date, which is signed, and a host on the way may "
		 "add one: always_add_missing_headers = yes adds it before it "
		 "is signed",
		 "there is no Date, which is signed, and Sendmail adds one on "
		 "delivery: signing.oversign without Date allows that"},
	[LINT_NO_MESSAGE_ID] =
		{"there is no Message-ID, which is signed, and a host on the "
		 "way may add one: always_add_missing_headers = yes adds it "
		 "before it is signed",
		 "there is no Message-ID, which is signed, and Sendmail adds "
		 "one on delivery: signing.oversign without Message-ID allows "
		 "that"},
	[LINT_UNQUALIFIED] =
		{NULL, "a signed field has an address without a domain, and "
		       "Sendmail adds one on delivery: let the sender write "
		       "it, or a first daemon (etc/sendmail/README.md)"},
	[LINT_COMPACT_LIST] =
		{NULL, "the addresses of a signed field are not separated by "
		       "\", \", and Sendmail sees to that on delivery: let the "
		       "sender do so, or a first daemon "
		       "(etc/sendmail/README.md)"},
	[LINT_LAYOUT] =
		{NULL, "the addresses of a signed field are folded, or have "
		       "white space at their ends, and Sendmail lays them out "
		       "anew on delivery: signing.canonicalization = "
		       "\"relaxed/relaxed\" allows that"},
	[LINT_PHRASE] = {NULL,
			 "a name before an address has a \".\" or a \"'\" "
			 "without quotes, and Sendmail adds them on delivery "
			 "unless define(`confMUST_QUOTE_CHARS', `')"},
	[LINT_MIME] = {NULL,
		       "quotes or parentheses of a signed MIME field do not "
		       "match, or it is very long, and Sendmail mends or cuts "
		       "it on delivery unless "
		       "define(`confMAX_MIME_HEADER_LENGTH', `0/0')"},
};

enum lint_mta
lint_mta_of(struct slice version)
{
	return slice_starts(version, SLICE("Postfix")) ? LINT_POSTFIX
						       : LINT_SENDMAIL;
}

void
lint_init(struct lint *lint)
{
	*lint = (struct lint){0};
}

void
lint_done(struct lint *lint)
{
	for (size_t i = 0; i < lint->longs_count; i++)
		text_done(&lint->longs[i].name);
}

/* ---- addresses (RFC 5322 3.4), as far as it matters ---- */

/* One address under way. */
struct item {
	bool has_octets, has_at, has_angle, has_special;
};

struct scan {
	struct lint_addresses *found;
	struct item item;
	unsigned comments; /* deep */
	bool is_quoted, is_escaped, in_angle;
};

static void
item_end(struct scan *scan)
{
	const struct item *item = &scan->item;

	if (item->has_octets && !item->has_at)
		scan->found->is_unqualified = true;
	if (item->has_angle && item->has_special)
		scan->found->has_phrase = true;
	scan->item = (struct item){0};
	scan->in_angle = false;
}

/* Outside of quotes and comments. */
static void
scan_plain(struct scan *scan, char c)
{
	struct item *item = &scan->item;

	switch (c) {
	case ',':
	case ';':
		item_end(scan);
		break;
	case ':':
		/* A group's name is no address. */
		if (!scan->in_angle)
			*item = (struct item){0};
		break;
	case '<':
		item->has_angle = scan->in_angle = true;
		break;
	case '>':
		scan->in_angle = false;
		break;
	case '@':
		item->has_at = true;
		break;
	case '.':
	case '\'':
		if (!scan->in_angle && !item->has_angle)
			item->has_special = true;
		item->has_octets = true;
		break;
	default:
		if (!ascii_is_wsp(c) && c != '\r' && c != '\n')
			item->has_octets = true;
	}
}

/* False: c is part of a quoted string or of a comment. */
static bool
scan_is_plain(struct scan *scan, char c)
{
	bool was_escaped = scan->is_escaped;

	scan->is_escaped = false;
	if (!scan->is_quoted && scan->comments == 0) {
		scan->is_quoted = c == '"';
		scan->comments = c == '(';
		scan->item.has_octets |= scan->is_quoted;
		return !scan->is_quoted && scan->comments == 0;
	}
	if (was_escaped)
		return false;
	if (c == '\\')
		scan->is_escaped = true;
	else if (scan->is_quoted)
		scan->is_quoted = c != '"';
	else if (c == '(')
		scan->comments++;
	else if (c == ')')
		scan->comments--;
	return false;
}

static bool
is_space(char c)
{
	return ascii_is_wsp(c) || c == '\r' || c == '\n';
}

/* It keeps spaces in front of the first address, and nothing else. */
static bool
is_framed(struct slice value)
{
	size_t i = 0;

	while (i < value.len && value.bytes[i] == ' ')
		i++;
	return i < value.len && (is_space(value.bytes[i]) ||
				 is_space(value.bytes[value.len - 1]));
}

static void
addresses_look(struct lint_addresses *found, struct slice value)
{
	struct scan scan = {.found = found};
	bool is_list = false, is_folded = false;

	found->is_laid_out |= is_framed(value);
	value = slice_trim(value);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		is_folded |= c == '\n';
		if (!scan_is_plain(&scan, c))
			continue;
		is_list |= c == ',';
		if (c == ',' &&
		    ((i + 1 < value.len && !is_space(value.bytes[i + 1])) ||
		     (i > 0 && is_space(value.bytes[i - 1]))))
			found->is_compact = true;
		scan_plain(&scan, c);
	}
	found->is_laid_out |= is_list && is_folded;
	item_end(&scan);
}

/* ---- the message ---- */

static size_t
longest_line(struct slice name, struct slice value)
{
	size_t column = name.len + 1, longest = 0;

	for (size_t i = 0; i < value.len; i++) {
		if (value.bytes[i] == '\n') {
			column = 0;
		} else if (value.bytes[i] != '\r') {
			column++;
			longest = column > longest ? column : longest;
		}
	}
	return longest;
}

/* What Sendmail's shorten_rfc822_string() leaves alone. */
static bool
is_balanced(struct slice value)
{
	size_t depth = 0;
	bool in_quotes = false;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (c == '\\')
			i++;
		else if (c == '"' && depth == 0)
			in_quotes = !in_quotes;
		else if (c == '(' && !in_quotes)
			depth++;
		else if (c == ')' && !in_quotes && depth-- == 0)
			return false;
	}
	return depth == 0 && !in_quotes;
}

void
lint_header(struct lint *lint, struct slice name, struct slice value)
{
	size_t octets = longest_line(name, value);

	for (size_t i = 0; i < COUNT(address_fields); i++)
		if (slice_eq_nocase(name, SLICE(address_fields[i])))
			addresses_look(&lint->addresses[i], value);
	for (size_t i = 0; i < COUNT(mime_fields); i++)
		if (slice_eq_nocase(name, SLICE(mime_fields[i])) &&
		    (value.len > MIME_FIELD_MAX || !is_balanced(value)))
			lint->bad_mime_fields |= 1u << i;
	lint->has_date |= slice_eq_nocase(name, SLICE("Date"));
	lint->has_message_id |= slice_eq_nocase(name, SLICE("Message-ID"));
	/* What a part says of itself is not looked at. */
	lint->says_8bit |=
		(slice_eq_nocase(name, SLICE("Content-Transfer-Encoding")) &&
		 slice_eq_nocase(slice_trim(value), SLICE("8bit"))) ||
		(slice_eq_nocase(name, SLICE("Content-Type")) &&
		 slice_starts_nocase(slice_trim(value), SLICE("multipart/")));
	if (octets > line_limits[LINT_SENDMAIL] &&
	    lint->longs_count < LINT_NAMES_MAX) {
		lint->longs[lint->longs_count].octets = octets;
		text_add(&lint->longs[lint->longs_count++].name, name);
	}
}

static bool
has_8bit(struct slice bytes)
{
	unsigned char all = 0;

	for (size_t i = 0; i < bytes.len; i++)
		all |= (unsigned char)bytes.bytes[i];
	return all >= 0x80;
}

/* A line before its LF, or a piece of one. */
static void
line_look(struct lint *lint, struct slice line, bool has_lf)
{
	ptrdiff_t cr = slice_find(line, '\r');
	size_t cr_len = line.len > 0 && line.bytes[line.len - 1] == '\r';
	bool is_bare = lint->ends_in_cr && line.len > 0;

	lint->has_bare_cr |=
		is_bare || (cr >= 0 && (size_t)cr < line.len - cr_len);
	lint->ends_in_cr = cr_len > 0 && !has_lf;
	/* A CR at the end of a piece counts once it is known to be bare. */
	lint->column += line.len - cr_len + is_bare;
	if (lint->column > lint->longest)
		lint->longest = lint->column;
	if (has_lf)
		lint->column = 0;
}

void
lint_body(struct lint *lint, struct slice bytes)
{
	lint->has_8bit = lint->has_8bit || has_8bit(bytes);
	while (bytes.len > 0) {
		ptrdiff_t lf = slice_find(bytes, '\n');
		size_t len = lf < 0 ? bytes.len : (size_t)lf;

		line_look(lint, slice_sub(bytes, 0, len), lf >= 0);
		bytes = slice_from(bytes, len + (lf >= 0));
	}
}

/* ---- the verdict ---- */

static bool
is_named(const struct lint_signature *signature, struct slice name)
{
	for (size_t i = 0; i < signature->names_count; i++)
		if (slice_eq_nocase(signature->names[i], name))
			return true;
	return false;
}

static bool
has_long_field(const struct lint *lint, enum lint_mta mta,
	       const struct lint_signature *signature)
{
	for (size_t i = 0; i < lint->longs_count; i++)
		if (lint->longs[i].octets > line_limits[mta] &&
		    is_named(signature, text_slice(&lint->longs[i].name)))
			return true;
	return false;
}

static bool
has_bad_mime_field(const struct lint *lint,
		   const struct lint_signature *signature)
{
	for (size_t i = 0; i < COUNT(mime_fields); i++)
		if ((lint->bad_mime_fields & 1u << i) != 0 &&
		    is_named(signature, SLICE(mime_fields[i])))
			return true;
	return false;
}

static struct lint_addresses
addresses_named(const struct lint *lint, const struct lint_signature *signature)
{
	struct lint_addresses all = {0};

	for (size_t i = 0; i < COUNT(address_fields); i++) {
		const struct lint_addresses *one = &lint->addresses[i];

		if (!is_named(signature, SLICE(address_fields[i])))
			continue;
		all.is_unqualified |= one->is_unqualified;
		all.is_compact |= one->is_compact;
		all.is_laid_out |= one->is_laid_out;
		all.has_phrase |= one->has_phrase;
	}
	return all;
}

/* White space that is put elsewhere is all that relaxed does not see: a line
 * broken within a word, and quotes, it does. */
unsigned
lint_judge(const struct lint *lint, enum lint_mta mta,
	   const struct lint_signature *signature)
{
	struct lint_addresses named = addresses_named(lint, signature);
	const bool found[LINT_WARNINGS] = {
		[LINT_LONG_BODY] = lint->longest > line_limits[mta],
		[LINT_LONG_HEADER] = has_long_field(lint, mta, signature),
		[LINT_EIGHT_BIT] = lint->has_8bit &&
				   (lint->says_8bit || mta == LINT_SENDMAIL),
		[LINT_BARE_CR] = lint->has_bare_cr,
		[LINT_NO_DATE] =
			!lint->has_date && is_named(signature, SLICE("Date")),
		[LINT_NO_MESSAGE_ID] = !lint->has_message_id &&
				       is_named(signature, SLICE("Message-ID")),
		[LINT_UNQUALIFIED] = named.is_unqualified,
		[LINT_COMPACT_LIST] = named.is_compact,
		[LINT_LAYOUT] = named.is_laid_out &&
				signature->header_canon == CANON_SIMPLE,
		[LINT_PHRASE] = named.has_phrase,
		[LINT_MIME] = has_bad_mime_field(lint, signature),
	};
	unsigned warnings = 0;

	for (unsigned i = 0; i < LINT_WARNINGS; i++)
		if (found[i] && sentences[i][mta] != NULL)
			warnings |= 1u << i;
	return warnings;
}

const char *
lint_sentence(enum lint_mta mta, enum lint_warning warning)
{
	return sentences[warning][mta];
}

/* FNV-1a. Who chooses addresses to meet others has warnings shared. */
static size_t
client_place(struct slice client)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < client.len; i++)
		hash = (hash ^ (unsigned char)client.bytes[i]) * 16777619u;
	return (hash ^ hash >> 16) % LINT_CLIENTS;
}

unsigned
lint_due(struct lint_history *history, struct slice client, unsigned warnings,
	 uint64_t now_ms)
{
	_Atomic uint64_t *given_ms = history->given_ms[client_place(client)];
	unsigned due = 0;

	for (unsigned i = 0; i < LINT_WARNINGS; i++) {
		uint64_t given = atomic_load(&given_ms[i]);

		if ((warnings & (1u << i)) == 0 ||
		    (given != 0 && now_ms - given < LINT_PAUSE_MS))
			continue;
		/* Another thread may have been faster. */
		if (atomic_compare_exchange_strong(&given_ms[i], &given,
						   now_ms))
			due |= 1u << i;
	}
	return due;
}
