#include "relay/doctor/spf_private.h"

static bool
is_address_mechanism(struct slice name)
{
	return slice_eq_nocase(name, SLICE("a")) ||
	       slice_eq_nocase(name, SLICE("mx"));
}

bool
spf_length_read(struct slice text, unsigned max, unsigned *len_out)
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
		if (!spf_length_read(v4, 32, v4_out))
			return false;
		if (slash < 0)
			return true;
		lens = slice_from(rest, (size_t)slash);
	}
	return slice_starts(lens, SLICE("//")) &&
	       spf_length_read(slice_from(lens, 2), 128, v6_out);
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
	{"mx", false, true},   {"ptr", false, true},	{"ip4", true, true},
	{"ip6", true, true},   {"exists", true, true},
};

/* Whether it is a known mechanism, written as it should be. */
static bool
mechanism_check(const struct term *term)
{
	for (size_t i = 0; i < COUNT(mechanisms); i++)
		if (slice_eq_nocase(term->name, SLICE(mechanisms[i].name)))
			return term->has_value ? mechanisms[i].may_have_value &&
							 term->value.len > 0
					       : !mechanisms[i].needs_value;
	return false;
}

bool
spf_term_parse(struct slice word, struct term *out)
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
