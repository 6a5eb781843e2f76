#include "relay/doctor/spf_private.h"

/* RFC 7208 4.6.4: of the names that one "mx" or "ptr" leads to. */
#define NAMES_MAX 10

struct check {
	struct spf_place place;
	struct spf_answer *answer;
	unsigned voids;
	unsigned depth;
};

static enum spf_result record_check(struct check *check);

const char *
spf_result_name(enum spf_result result)
{
	static const char *const names[] = {
		[SPF_NONE] = "none",	       [SPF_NEUTRAL] = "neutral",
		[SPF_PASS] = "pass",	       [SPF_FAIL] = "fail",
		[SPF_SOFTFAIL] = "softfail",   [SPF_TEMPERROR] = "temperror",
		[SPF_PERMERROR] = "permerror",
	};

	return names[result];
}

static enum spf_result
wrong(struct check *check, enum spf_result result, const char *what,
      struct slice detail)
{
	check->answer->reason =
		arena_printf(check->place.question->arena, "%s%s%.*s%s", what,
			     detail.len > 0 ? " '" : "", SLICE_ARG(detail),
			     detail.len > 0 ? "'" : "");
	return result;
}

/* ---- the DNS ---- */

enum asked { ASKED, ASKED_ERROR };

/* An answer with nothing in it counts (4.6.4). */
static enum asked
ask(struct check *check, struct slice name, enum dns_type type,
    struct dns_answer *answer, enum spf_result *result_out)
{
	const struct spf_question *question = check->place.question;

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
	const struct address *client = check->place.question->client;
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
exists_match(struct check *check, struct slice name, enum spf_result *error_out)
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
	struct slice before = check->place.domain;
	enum spf_result result;

	check->place.domain = name;
	result = record_check(check);
	check->place.domain = before;
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
	struct slice host = slash < 0
				    ? term->value
				    : slice_sub(term->value, 0, (size_t)slash);
	unsigned len = is_v4 ? 32 : 128;
	struct address base;

	if (slash >= 0 &&
	    !spf_length_read(slice_from(term->value, (size_t)slash + 1), len,
			     &len))
		return MATCH_ERROR;
	if (!address_parse_host(host, 0, &base) ||
	    base.any.sa_family != (is_v4 ? AF_INET : AF_INET6))
		return MATCH_ERROR;
	return is_within(check->place.question->client, &base, len) ? MATCH_YES
								    : MATCH_NO;
}

static enum match
lookup_match(struct check *check, const struct term *term, struct slice name,
	     enum spf_result *error_out)
{
	if (++check->answer->lookups > SPF_LOOKUPS_MAX) {
		*error_out =
			wrong(check, SPF_PERMERROR,
			      "it takes more than 10 DNS lookups", SLICE_NONE);
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
	struct slice name = check->place.domain;
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
	if (term->has_value &&
	    !spf_name_expand(&check->place, term->value, &name)) {
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

	if (ask(check, check->place.domain, DNS_TXT, &answer, result_out) ==
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
	*result_out = count == 0 ? SPF_NONE
				 : wrong(check, SPF_PERMERROR,
					 "there is more than one record at",
					 check->place.domain);
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
	if (term->is_modifier &&
	    !slice_eq_nocase(term->name, SLICE("redirect")))
		return true;
	return term->value.len == 0 ||
	       spf_name_expand(&check->place, term->value, &name);
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
		if (!spf_term_parse(word, &term) ||
		    !value_is_good(check, &term)) {
			wrong(check, SPF_PERMERROR, "cannot be read:", word);
			return false;
		}
		if (!term.is_modifier ||
		    !slice_eq_nocase(term.name, SLICE("redirect")))
			continue;
		if (redirect->len > 0 || term.value.len == 0) {
			wrong(check, SPF_PERMERROR,
			      "a redirect too much:", word);
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

	if (!spf_name_expand(&check->place, spec, &name))
		return wrong(check, SPF_PERMERROR,
			     "no domain in redirect=", spec);
	if (++check->answer->lookups > SPF_LOOKUPS_MAX)
		return wrong(check, SPF_PERMERROR,
			     "it takes more than 10 DNS lookups", SLICE_NONE);
	check->place.domain = name;
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
		if (word.len == 0 || !spf_term_parse(word, &term) ||
		    term.is_modifier)
			continue;
		switch (term_match(check, &term, word, &error)) {
		case MATCH_NO:
			break;
		case MATCH_YES:
			check->answer->reason =
				arena_copy(check->place.question->arena, word);
			return term.result;
		case MATCH_ERROR:
			return error;
		}
	}
	if (redirect.len > 0)
		return redirect_follow(check, redirect);
	check->answer->reason =
		SLICE("no term matches, and there is no \"all\"");
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
	struct check check = {.place = {question, question->domain},
			      .answer = answer_out};

	*answer_out = (struct spf_answer){0};
	answer_out->result = record_check(&check);
}
