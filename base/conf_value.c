#include "base/conf_value.h"

#include "base/clock.h"

struct unit {
	char letter;
	uint64_t factor;
};

static const struct unit sizes[] = {
	{'G', (uint64_t)1 << 30},
	{'M', (uint64_t)1 << 20},
	{'K', (uint64_t)1 << 10},
};

static const struct unit durations[] = {
	{'d', DAY},
	{'h', HOUR},
	{'m', MINUTE},
	{'s', SECOND},
};

struct slice
conf_key_within(const struct conf_option *option, struct slice path)
{
	struct slice rest = SLICE(option->key);

	if (path.len > 0) {
		if (!slice_starts(rest, path) || rest.len <= path.len ||
		    rest.bytes[path.len] != '.')
			return SLICE_NONE;
		rest = slice_from(rest, path.len + 1);
	}
	return slice_find(rest, '.') < 0 ? rest : SLICE_NONE;
}

bool
conf_kind_is_quoted(enum conf_kind kind)
{
	return kind == CONF_TEXT || kind == CONF_PARSED || kind == CONF_LIST;
}

bool
conf_kind_is_list(enum conf_kind kind)
{
	return kind == CONF_DURATIONS || kind == CONF_LIST;
}

static bool
is_duration(enum conf_kind kind)
{
	return kind == CONF_DURATION || kind == CONF_DURATIONS;
}

/* ---- numbers ---- */

void
conf_number_write(enum conf_kind kind, uint64_t number, struct text *out)
{
	const struct unit *units = is_duration(kind) ? durations : sizes;
	size_t count = is_duration(kind)   ? COUNT(durations)
		       : kind == CONF_SIZE ? COUNT(sizes)
					   : 0;

	for (size_t i = 0; i < count && number > 0; i++)
		if (number % units[i].factor == 0) {
			text_addf(
				out, "%llu%c",
				(unsigned long long)(number / units[i].factor),
				units[i].letter);
			return;
		}
	text_addf(out, "%llu", (unsigned long long)number);
}

static bool
range_check(const struct conf_option *option, uint64_t number,
	    struct fault *fault)
{
	CLEAN(text_done) struct text words = {0};

	if (option->max == 0 ||
	    (number >= option->min && number <= option->max))
		return true;
	conf_number_write(option->kind, number, &words);
	text_add_string(&words, " is out of range: ");
	conf_number_write(option->kind, option->min, &words);
	text_add_string(&words, " to ");
	conf_number_write(option->kind, option->max, &words);
	return fault_set(fault, FAULT_INPUT, "%s", text_string(&words));
}

/* Takes the unit off *digits. */
static bool
unit_take(enum conf_kind kind, struct slice *digits, uint64_t *factor_out)
{
	char last = digits->len > 0 ? digits->bytes[digits->len - 1] : '\0';

	if (kind == CONF_SIZE) {
		for (size_t i = 0; i < COUNT(sizes); i++)
			if (ascii_lower(sizes[i].letter) == ascii_lower(last))
				*factor_out = sizes[i].factor;
	} else if (is_duration(kind)) {
		for (size_t i = 0; i < COUNT(durations); i++)
			if (durations[i].letter == last)
				*factor_out = durations[i].factor;
	}
	if (*factor_out > 1)
		digits->len--;
	return *factor_out > 1;
}

static const char *
number_example(enum conf_kind kind)
{
	if (kind == CONF_SIZE)
		return "a size, such as \"50M\" (K, M, G)";
	if (is_duration(kind))
		return "a time, such as \"5m\" (s, m, h, d)";
	return "a number";
}

static bool
number_parse(const struct conf_option *option, struct slice text,
	     uint64_t *number_out, struct fault *fault)
{
	struct slice digits = text;
	uint64_t factor = 1, number;
	bool has_unit = unit_take(option->kind, &digits, &factor);
	bool is_number = digits.len > 0;

	for (size_t i = 0; i < digits.len; i++)
		is_number = is_number && ascii_is_digit(digits.bytes[i]);
	if (!is_number)
		return fault_set(fault, FAULT_INPUT, "'%.*s' is not %s",
				 SLICE_ARG(text), number_example(option->kind));
	if (!slice_number(digits, &number) ||
	    __builtin_mul_overflow(number, factor, &number))
		return fault_set(fault, FAULT_INPUT, "'%.*s' is too large",
				 SLICE_ARG(text));
	if (is_duration(option->kind) && !has_unit && number > 0)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' lacks a unit: s, m, h or d",
				 SLICE_ARG(text));
	if (!range_check(option, number, fault))
		return false;
	*number_out = number;
	return true;
}

static bool
number_read(const struct conf_option *option, struct slice text, void *field,
	    struct fault *fault)
{
	size_t size = option->kind == CONF_DURATIONS ? sizeof(uint64_t)
						     : option->size;
	uint64_t number = 0;

	if (!number_parse(option, text, &number, fault))
		return false;
	if (size == sizeof(uint64_t)) {
		*(uint64_t *)field = number;
	} else if (size == sizeof(uint32_t)) {
		ASSERT(number <= UINT32_MAX);
		*(uint32_t *)field = (uint32_t)number;
	} else {
		ASSERT(size == sizeof(uint16_t));
		ASSERT(number <= UINT16_MAX);
		*(uint16_t *)field = (uint16_t)number;
	}
	return true;
}

/* ---- words ---- */

size_t
conf_distance(struct slice a, struct slice b)
{
	/* Optimal string alignment; three rows of its table are enough. */
	size_t rows[3][64];

	ASSERT(a.len < COUNT(rows[0]));
	ASSERT(b.len < COUNT(rows[0]));
	for (size_t j = 0; j <= b.len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *row = rows[i % 3], *above = rows[(i - 1) % 3];
		const size_t *above_that = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t best =
				above[j - 1] + (ascii_lower(a.bytes[i - 1]) !=
						ascii_lower(b.bytes[j - 1]));

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 &&
			    a.bytes[i - 1] == b.bytes[j - 2] &&
			    a.bytes[i - 2] == b.bytes[j - 1] &&
			    above_that[j - 2] + 1 < best)
				best = above_that[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a.len % 3][b.len];
}

bool
conf_is_near(struct slice a, struct slice b)
{
	size_t longer = a.len > b.len ? a.len : b.len;

	return a.len > 0 && b.len > 0 && longer < 64 &&
	       conf_distance(a, b) <= (longer < 4 ? 1 : (longer + 2) / 4);
}

static bool
word_refuse(const struct conf_option *option, struct slice text, size_t first,
	    size_t last, struct fault *fault)
{
	CLEAN(text_done) struct text list = {0};
	const char *nearest = NULL;

	for (size_t i = first; i <= last; i++) {
		text_addf(&list, "%s%s", list.len > 0 ? ", " : "",
			  option->words[i]);
		if (nearest == NULL &&
		    conf_is_near(text, SLICE(option->words[i])))
			nearest = option->words[i];
	}
	fault_set(fault, FAULT_INPUT, "'%.*s' is none of: %s", SLICE_ARG(text),
		  text_string(&list));
	if (nearest != NULL && fault != NULL) {
		struct fault plain = *fault;

		fault_set(fault, FAULT_INPUT, "%s; did you mean '%s'?",
			  plain.text, nearest);
	}
	return false;
}

static bool
word_read(const struct conf_option *option, struct slice text, void *field,
	  struct fault *fault)
{
	size_t count = 0, last;

	while (option->words[count] != NULL)
		count++;
	last = option->max == 0 ? count - 1 : (size_t)option->max;
	for (size_t i = (size_t)option->min; i <= last; i++)
		if (slice_eq_nocase(text, SLICE(option->words[i]))) {
			ASSERT(option->size == sizeof(unsigned));
			*(unsigned *)field = (unsigned)i;
			return true;
		}
	return word_refuse(option, text, (size_t)option->min, last, fault);
}

static bool
bool_read(struct slice text, bool *field, struct fault *fault)
{
	static const char *const words[] = {"false", "true", "no",
					    "yes",   "off",  "on"};

	for (size_t i = 0; i < COUNT(words); i++)
		if (slice_eq_nocase(text, SLICE(words[i]))) {
			*field = i % 2 == 1;
			return true;
		}
	return fault_set(fault, FAULT_INPUT, "'%.*s' is neither true nor false",
			 SLICE_ARG(text));
}

static bool
text_read(const struct conf_option *option, struct slice text,
	  struct arena *arena, struct slice *field, struct fault *fault)
{
	if (text.len < option->min)
		return fault_set(fault, FAULT_INPUT, "must not be empty");
	if (option->max > 0 && text.len > option->max)
		return fault_set(fault, FAULT_INPUT, "longer than %llu bytes",
				 (unsigned long long)option->max);
	*field = arena_copy(arena, text);
	return true;
}

bool
conf_element_read(const struct conf_option *option, struct slice text,
		  struct arena *arena, void *element, struct fault *fault)
{
	switch (option->kind) {
	case CONF_TEXT:
		return text_read(option, text, arena, element, fault);
	case CONF_BOOL:
		return bool_read(text, element, fault);
	case CONF_WORD:
		return word_read(option, text, element, fault);
	case CONF_COUNT:
	case CONF_SIZE:
	case CONF_DURATION:
	case CONF_DURATIONS:
		return number_read(option, text, element, fault);
	case CONF_PARSED:
	case CONF_LIST:
		return option->parse(text, arena, element, fault);
	case CONF_SECTION:
	case CONF_TITLED:
		break;
	}
	ASSERT(option->kind != CONF_SECTION && option->kind != CONF_TITLED);
	return false;
}
