#include "relay/doctor/spf.h"

#include <arpa/inet.h>
#include <stdio.h>

/* RFC 7208 4.6.4: of the names that one "mx" or "ptr" leads to. */
#define NAMES_MAX 10
/* RFC 7208 7.3 */
#define NAME_LEN_MAX 253

struct check {
	const struct spf_question *question;
	struct spf_answer *answer;
	struct slice domain; /* whose record is read */
	unsigned voids;
	unsigned depth;
};

struct term {
	enum spf_result result; /* of its qualifier */
	struct slice name, value;
	bool has_value;
	bool is_modifier;
	unsigned v4_len, v6_len;
};

static enum spf_result record_check(struct check *check);

const char *
spf_result_name(enum spf_result result)
{
	static const char *const names[] = {
		[SPF_NONE] = "none",         [SPF_NEUTRAL] = "neutral",
		[SPF_PASS] = "pass",         [SPF_FAIL] = "fail",
		[SPF_SOFTFAIL] = "softfail", [SPF_TEMPERROR] = "temperror",
		[SPF_PERMERROR] = "permerror",
	};

	return names[result];
}

static enum spf_result
wrong(struct check *check, enum spf_result result, const char *what,
      struct slice detail)
{
	check->answer->reason =
		arena_printf(check->question->arena, "%s%s%.*s%s", what,
			     detail.len > 0 ? " '" : "", SLICE_ARG(detail),
			     detail.len > 0 ? "'" : "");
	return result;
}

/* ---- terms: RFC 7208 4.6.1, 5, 6 ---- */

static bool
is_address_mechanism(struct slice name)
{
	return slice_eq_nocase(name, SLICE("a")) ||
	       slice_eq_nocase(name, SLICE("mx"));
}

static bool
length_read(struct slice text, unsigned max, unsigned *len_out)
{
	uint64_t number;

	if (!slice_number(text, &number) || number > max ||
	    (text.len > 1 && text.bytes[0] == '0'))
		return false;
	*len_out = (unsigned)number;
	return true;
}

/* "/24", "//64", "/24//64" at the end of a value. */
static bool
lengths_take(struct slice *value, unsigned *v4_out, unsigned *v6_out)
{
	ptrdiff_t slash = slice_find(*value, '/');
	struct slice lens;

	if (slash < 0)
		return true;
	lens = slice_from(*value, (size_t)slash);
	value->len = (size_t)slash;
	if (!slice_starts(lens, SLICE("//"))) {
		struct slice v4;
		struct slice rest = slice_from(lens, 1);

		slash = slice_find(rest, '/');
		v4 = slash < 0 ? rest : slice_sub(rest, 0, (size_t)slash);
		if (!length_read(v4, 32, v4_out))
			return false;
		if (slash < 0)
			return true;
		lens = slice_from(rest, (size_t)slash);
	}
	return slice_starts(lens, SLICE("//")) &&
	       length_read(slice_from(lens, 2), 128, v6_out);
}

static bool
qualifier_take(struct slice *word, enum spf_result *result_out)
{
	static const struct {
		char sign;
		enum spf_result result;
	} signs[] = {{'+', SPF_PASS},
		     {'-', SPF_FAIL},
		     {'~', SPF_SOFTFAIL},
		     {'?', SPF_NEUTRAL}};

	*result_out = SPF_PASS;
	for (size_t i = 0; word->len > 0 && i < COUNT(signs); i++)
		if (word->bytes[0] == signs[i].sign) {
			*result_out = signs[i].result;
			*word = slice_from(*word, 1);
			return true;
		}
	return false;
}

static bool
name_is_good(struct slice name)
{
	if (name.len == 0 || !ascii_is_alpha(name.bytes[0]))
		return false;
	for (size_t i = 1; i < name.len; i++)
		if (!ascii_is_alpha(name.bytes[i]) &&
		    !ascii_is_digit(name.bytes[i]) &&
		    strchr("-_.", name.bytes[i]) == NULL)
			return false;
	return true;
}

static const struct {
	const char *name;
	bool needs_value, may_have_value;
} mechanisms[] = {
	{"all", false, false}, {"include", true, true}, {"a", false, true},
	{"mx", false, true},   {"ptr", false, true},    {"ip4", true, true},
	{"ip6", true, true},   {"exists", true, true},
};

/* Whether it is a known mechanism, written as it should be. */
static bool
mechanism_check(const struct term *term)
{
	for (size_t i = 0; i < COUNT(mechanisms); i++)
		if (slice_eq_nocase(term->name, SLICE(mechanisms[i].name)))
			return term->has_value
				       ? mechanisms[i].may_have_value &&
						 term->value.len > 0
				       : !mechanisms[i].needs_value;
	return false;
}

static bool
term_parse(struct slice word, struct term *out)
{
	struct term term = {.v4_len = 32, .v6_len = 128};
	bool has_qualifier = qualifier_take(&word, &term.result);
	size_t end = 0;

	while (end < word.len && strchr(":=/", word.bytes[end]) == NULL)
		end++;
	term.name = slice_sub(word, 0, end);
	term.is_modifier = end < word.len && word.bytes[end] == '=';
	term.has_value = end < word.len && word.bytes[end] != '/';
	term.value = slice_from(word, end + (term.has_value ? 1 : 0));
	if (!name_is_good(term.name) || (term.is_modifier && has_qualifier))
		return false;
	if (is_address_mechanism(term.name) && !term.is_modifier) {
		if (!lengths_take(&term.value, &term.v4_len, &term.v6_len))
			return false;
	} else if (!term.has_value && end < word.len) {
		return false;
	}
	*out = term;
	return term.is_modifier || mechanism_check(&term);
}

/* ---- macros: RFC 7208 7 ---- */

static struct slice
client_dotted(const struct spf_question *question)
{
	const struct address *client = question->client;
	CLEAN(text_done) struct text out = {0};

	if (client->any.sa_family == AF_INET) {
		const uint8_t *v4 = (const uint8_t *)&client->v4.sin_addr;

		text_addf(&out, "%u.%u.%u.%u", v4[0], v4[1], v4[2], v4[3]);
	} else {
		for (size_t i = 0; i < 16; i++) {
			unsigned byte = client->v6.sin6_addr.s6_addr[i];

			text_addf(&out, "%s%x.%x", i == 0 ? "" : ".",
				  byte >> 4, byte & 15);
		}
	}
	return arena_copy(question->arena, text_slice(&out));
}

static bool
letter_expand(const struct check *check, char letter, struct slice *out)
{
	const struct spf_question *question = check->question;

	switch (ascii_lower(letter)) {
	case 's':
		*out = arena_printf(question->arena, "%.*s@%.*s",
				    SLICE_ARG(question->local),
				    SLICE_ARG(question->domain));
		return true;
	case 'l':
		*out = question->local;
		return true;
	case 'o':
		*out = question->domain;
		return true;
	case 'd':
		*out = check->domain;
		return true;
	case 'i':
		*out = client_dotted(question);
		return true;
	case 'p': /* 7.3: not to be used; this is what it is when unknown */
		*out = SLICE("unknown");
		return true;
	case 'v':
		*out = question->client->any.sa_family == AF_INET
			       ? SLICE("in-addr")
			       : SLICE("ip6");
		return true;
	case 'h':
		*out = question->helo;
		return true;
	default:
		return false;
	}
}

/* Splits at the delimiters, reverses, keeps so many from the right. */
static void
parts_write(struct slice value, const char *delimiters, bool is_reversed,
	    uint64_t keep, struct text *out)
{
	struct slice parts[NAME_LEN_MAX];
	size_t count = 0, begin = 0, first;

	for (size_t i = 0; i <= value.len && count < COUNT(parts); i++)
		if (i == value.len ||
		    strchr(delimiters, value.bytes[i]) != NULL) {
			parts[count++] = slice_sub(value, begin, i - begin);
			begin = i + 1;
		}
	first = keep > 0 && keep < count ? count - (size_t)keep : 0;
	for (size_t i = first; i < count; i++) {
		if (i > first)
			text_add_byte(out, '.');
		text_add(out, parts[is_reversed ? count - 1 - i : i]);
	}
}

/* "%{ir.}": from behind "%{" up to and with "}". */
static bool
macro_expand(const struct check *check, struct slice *rest, struct text *out)
{
	char delimiters[8] = "";
	size_t delimiters_len = 0, i = 1;
	struct slice value;
	uint64_t keep = 0;
	bool is_reversed = false;

	if (rest->len < 2 || !letter_expand(check, rest->bytes[0], &value))
		return false;
	for (; i < rest->len && ascii_is_digit(rest->bytes[i]); i++)
		keep = keep < NAME_LEN_MAX
			       ? keep * 10 + (uint64_t)(rest->bytes[i] - '0')
			       : keep;
	if (i > 1 && keep == 0)
		return false;
	if (i < rest->len && ascii_lower(rest->bytes[i]) == 'r') {
		is_reversed = true;
		i++;
	}
	for (; i < rest->len && strchr(".-+,/_=", rest->bytes[i]) != NULL; i++)
		if (delimiters_len < sizeof(delimiters) - 1 &&
		    strchr(delimiters, rest->bytes[i]) == NULL)
			delimiters[delimiters_len++] = rest->bytes[i];
	if (i >= rest->len || rest->bytes[i] != '}')
		return false;
	parts_write(value, delimiters_len > 0 ? delimiters : ".", is_reversed,
		    keep, out);
	*rest = slice_from(*rest, i + 1);
	return true;
}

/* A domain-spec; what is over 253 octets loses labels on the left. */
static bool
name_expand(const struct check *check, struct slice spec, struct slice *out)
{
	CLEAN(text_done) struct text name = {0};
	struct slice rest = spec;

	while (rest.len > 0) {
		char c = rest.bytes[0];

		rest = slice_from(rest, 1);
		if (c != '%') {
			if (c <= ' ' || c > '~')
				return false;
			text_add_byte(&name, c);
			continue;
		}
		if (rest.len == 0)
			return false;
		c = rest.bytes[0];
		rest = slice_from(rest, 1);
		if (c == '%')
			text_add_byte(&name, '%');
		else if (c == '_')
			text_add_byte(&name, ' ');
		else if (c == '-')
			text_add_string(&name, "%20");
		else if (c != '{' || !macro_expand(check, &rest, &name))
			return false;
	}
	if (name.len > 0 && name.bytes[name.len - 1] == '.')
		name.len--;
	while (name.len > NAME_LEN_MAX) {
		ptrdiff_t dot = slice_find(text_slice(&name), '.');

		if (dot < 0)
			return false;
		text_drop_front(&name, (size_t)dot + 1);
	}
	*out = arena_copy(check->question->arena, text_slice(&name));
	return true;
}

/* ---- the DNS ---- */

enum asked { ASKED, ASKED_ERROR };

/* An answer with nothing in it counts (4.6.4). */
static enum asked
ask(struct check *check, struct slice name, enum dns_type type,
    struct dns_answer *answer, enum spf_result *result_out)
{
	const struct spf_question *question = check->question;

	question->ask(question->owner, name, type, answer);
	if (answer->status == DNS_FAILED) {
		*result_out = wrong(check, SPF_TEMPERROR,
				    "the DNS does not answer for", name);
		return ASKED_ERROR;
	}
	if (answer->status != DNS_FOUND)
		answer->count = 0;
	return ASKED;
}

static bool
void_count(struct check *check, const struct dns_answer *answer,
	   enum spf_result *result_out)
{
	if (answer->count > 0 || ++check->voids <= SPF_VOIDS_MAX)
		return true;
	*result_out = wrong(check, SPF_PERMERROR,
			    "more than 2 names in it do not exist", SLICE_NONE);
	return false;
}

static bool
is_within(const struct address *client, const struct address *base,
	  unsigned len)
{
	bool is_v4 = client->any.sa_family == AF_INET;
	const uint8_t *a, *b;

	if (base->any.sa_family != client->any.sa_family)
		return false;
	a = is_v4 ? (const uint8_t *)&client->v4.sin_addr
		  : client->v6.sin6_addr.s6_addr;
	b = is_v4 ? (const uint8_t *)&base->v4.sin_addr
		  : base->v6.sin6_addr.s6_addr;
	for (unsigned bit = 0; bit < len; bit += 8) {
		unsigned left = len - bit;
		unsigned mask = left >= 8 ? 0xff : 0xffu << (8 - left) & 0xff;

		if ((a[bit / 8] & mask) != (b[bit / 8] & mask))
			return false;
	}
	return true;
}

enum match { MATCH_NO, MATCH_YES, MATCH_ERROR };

/* Whether the client is among the addresses of a host. */
static enum match
host_match(struct check *check, struct slice host, const struct term *term,
	   bool counts, enum spf_result *error_out)
{
	const struct address *client = check->question->client;
	bool is_v4 = client->any.sa_family == AF_INET;
	struct dns_answer answer;

	if (ask(check, host, is_v4 ? DNS_A : DNS_AAAA, &answer, error_out) ==
	    ASKED_ERROR)
		return MATCH_ERROR;
	if (counts && !void_count(check, &answer, error_out))
		return MATCH_ERROR;
	for (size_t i = 0; i < answer.count; i++)
		if (is_within(client, &answer.records[i].address,
			      is_v4 ? term->v4_len : term->v6_len))
			return MATCH_YES;
	return MATCH_NO;
}

static enum match
mx_match(struct check *check, struct slice name, const struct term *term,
	 enum spf_result *error_out)
{
	struct dns_answer answer;

	if (ask(check, name, DNS_MX, &answer, error_out) == ASKED_ERROR ||
	    !void_count(check, &answer, error_out))
		return MATCH_ERROR;
	if (answer.count > NAMES_MAX) {
		*error_out = wrong(check, SPF_PERMERROR,
				   "more than 10 MX records at", name);
		return MATCH_ERROR;
	}
	for (size_t i = 0; i < answer.count; i++) {
		enum match match = host_match(check, answer.records[i].name,
					      term, false, error_out);

		if (match != MATCH_NO)
			return match;
	}
	return MATCH_NO;
}

static enum match
exists_match(struct check *check, struct slice name,
	     enum spf_result *error_out)
{
	struct dns_answer answer;

	if (ask(check, name, DNS_A, &answer, error_out) == ASKED_ERROR ||
	    !void_count(check, &answer, error_out))
		return MATCH_ERROR;
	return answer.count > 0 ? MATCH_YES : MATCH_NO;
}

/* ---- mechanisms ---- */

static enum match
include_match(struct check *check, struct slice name,
	      enum spf_result *error_out)
{
	struct slice before = check->domain;
	enum spf_result result;

	check->domain = name;
	result = record_check(check);
	check->domain = before;
	switch (result) {
	case SPF_PASS:
		return MATCH_YES;
	case SPF_FAIL:
	case SPF_SOFTFAIL:
	case SPF_NEUTRAL:
		return MATCH_NO;
	case SPF_NONE:
		*error_out = wrong(check, SPF_PERMERROR,
				   "there is no record at the included", name);
		return MATCH_ERROR;
	case SPF_TEMPERROR:
	case SPF_PERMERROR:
		break;
	}
	*error_out = result;
	return MATCH_ERROR;
}

static enum match
network_match(const struct check *check, const struct term *term, bool is_v4)
{
	ptrdiff_t slash = slice_find(term->value, '/');
	struct slice host = slash < 0 ? term->value
				      : slice_sub(term->value, 0,
						  (size_t)slash);
	unsigned len = is_v4 ? 32 : 128;
	struct address base;

	if (slash >= 0 &&
	    !length_read(slice_from(term->value, (size_t)slash + 1), len, &len))
		return MATCH_ERROR;
	if (!address_parse_host(host, 0, &base) ||
	    base.any.sa_family != (is_v4 ? AF_INET : AF_INET6))
		return MATCH_ERROR;
	return is_within(check->question->client, &base, len) ? MATCH_YES
							      : MATCH_NO;
}

static enum match
lookup_match(struct check *check, const struct term *term, struct slice name,
	     enum spf_result *error_out)
{
	if (++check->answer->lookups > SPF_LOOKUPS_MAX) {
		*error_out = wrong(check, SPF_PERMERROR,
				   "it takes more than 10 DNS lookups",
				   SLICE_NONE);
		return MATCH_ERROR;
	}
	if (slice_eq_nocase(term->name, SLICE("include")))
		return include_match(check, name, error_out);
	if (slice_eq_nocase(term->name, SLICE("a")))
		return host_match(check, name, term, true, error_out);
	if (slice_eq_nocase(term->name, SLICE("mx")))
		return mx_match(check, name, term, error_out);
	if (slice_eq_nocase(term->name, SLICE("exists")))
		return exists_match(check, name, error_out);
	return MATCH_NO; /* ptr (5.5): not to be used, and slow */
}

static enum match
term_match(struct check *check, const struct term *term, struct slice word,
	   enum spf_result *error_out)
{
	struct slice name = check->domain;
	enum match match;

	if (slice_eq_nocase(term->name, SLICE("all")))
		return MATCH_YES;
	if (slice_eq_nocase(term->name, SLICE("ip4")) ||
	    slice_eq_nocase(term->name, SLICE("ip6"))) {
		match = network_match(check, term,
				      ascii_lower(term->name.bytes[2]) == '4');
		if (match == MATCH_ERROR)
			*error_out = wrong(check, SPF_PERMERROR,
					   "no address in", word);
		return match;
	}
	if (term->has_value && !name_expand(check, term->value, &name)) {
		*error_out = wrong(check, SPF_PERMERROR, "no domain in", word);
		return MATCH_ERROR;
	}
	return lookup_match(check, term, name, error_out);
}

/* ---- records ---- */

static bool
record_find(struct check *check, struct slice *record_out,
	    enum spf_result *result_out)
{
	struct slice version = SLICE("v=spf1");
	struct dns_answer answer;
	size_t count = 0;

	if (ask(check, check->domain, DNS_TXT, &answer, result_out) ==
	    ASKED_ERROR)
		return false;
	for (size_t i = 0; i < answer.count; i++) {
		struct slice text = answer.records[i].name;

		if (!slice_starts_nocase(text, version) ||
		    (text.len > version.len && text.bytes[version.len] != ' '))
			continue;
		*record_out = slice_from(text, version.len);
		count++;
	}
	if (count == 1)
		return true;
	*result_out = count == 0
			      ? SPF_NONE
			      : wrong(check, SPF_PERMERROR,
				      "there is more than one record at",
				      check->domain);
	return false;
}

static bool
value_is_good(const struct check *check, const struct term *term)
{
	bool is_v4 = slice_eq_nocase(term->name, SLICE("ip4"));
	struct slice name;

	if (!term->is_modifier &&
	    (is_v4 || slice_eq_nocase(term->name, SLICE("ip6"))))
		return network_match(check, term, is_v4) != MATCH_ERROR;
	if (term->is_modifier && !slice_eq_nocase(term->name, SLICE("redirect")))
		return true;
	return term->value.len == 0 || name_expand(check, term->value, &name);
}

/* All of it has to be well formed before any of it counts (4.6). */
static bool
record_is_good(struct check *check, struct slice record, struct slice *redirect)
{
	struct slice rest = record, word;
	struct term term;

	while (slice_split(&rest, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (!term_parse(word, &term) || !value_is_good(check, &term)) {
			wrong(check, SPF_PERMERROR, "cannot be read:", word);
			return false;
		}
		if (!term.is_modifier ||
		    !slice_eq_nocase(term.name, SLICE("redirect")))
			continue;
		if (redirect->len > 0 || term.value.len == 0) {
			wrong(check, SPF_PERMERROR, "a redirect too much:",
			      word);
			return false;
		}
		*redirect = term.value;
	}
	return true;
}

static enum spf_result
redirect_follow(struct check *check, struct slice spec)
{
	enum spf_result result;
	struct slice name;

	if (!name_expand(check, spec, &name))
		return wrong(check, SPF_PERMERROR, "no domain in redirect=",
			     spec);
	if (++check->answer->lookups > SPF_LOOKUPS_MAX)
		return wrong(check, SPF_PERMERROR,
			     "it takes more than 10 DNS lookups", SLICE_NONE);
	check->domain = name;
	result = record_check(check);
	return result != SPF_NONE
		       ? result
		       : wrong(check, SPF_PERMERROR,
			       "there is no record at redirect=", name);
}

static enum spf_result
terms_check(struct check *check, struct slice record, struct slice redirect)
{
	struct slice rest = record, word;
	enum spf_result error;
	struct term term;

	while (slice_split(&rest, ' ', &word)) {
		if (word.len == 0 || !term_parse(word, &term) ||
		    term.is_modifier)
			continue;
		switch (term_match(check, &term, word, &error)) {
		case MATCH_NO:
			break;
		case MATCH_YES:
			check->answer->reason =
				arena_copy(check->question->arena, word);
			return term.result;
		case MATCH_ERROR:
			return error;
		}
	}
	if (redirect.len > 0)
		return redirect_follow(check, redirect);
	check->answer->reason = SLICE("no term matches, and there is no \"all\"");
	return SPF_NEUTRAL;
}

static enum spf_result
record_check(struct check *check)
{
	struct slice record = SLICE_NONE, redirect = SLICE_NONE;
	enum spf_result result;

	if (!record_find(check, &record, &result))
		return result;
	if (check->depth++ == 0)
		check->answer->record = record;
	return record_is_good(check, record, &redirect)
		       ? terms_check(check, record, redirect)
		       : SPF_PERMERROR;
}

void
spf_check(const struct spf_question *question, struct spf_answer *answer_out)
{
	struct check check = {.question = question,
			      .answer = answer_out,
			      .domain = question->domain};

	*answer_out = (struct spf_answer){0};
	answer_out->result = record_check(&check);
}
