#include "relay/send/send_arguments.h"

#include "base/clock.h"
#include "base/conf_value.h"

#define TIMEOUT_MAX (1 * DAY)

enum option {
	OPTION_FROM,
	OPTION_TO,
	OPTION_CC,
	OPTION_BCC,
	OPTION_SUBJECT,
	OPTION_TEXT,
	OPTION_HTML,
	OPTION_ATTACH,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTIONS,
};

static const struct {
	const char *name;
	enum { TAKES_NONE, TAKES_ONE, TAKES_SOME } takes;
} options[OPTIONS] = {
	[OPTION_FROM] = {"--from", TAKES_ONE},
	[OPTION_TO] = {"--to", TAKES_SOME},
	[OPTION_CC] = {"--cc", TAKES_SOME},
	[OPTION_BCC] = {"--bcc", TAKES_SOME},
	[OPTION_SUBJECT] = {"--subject", TAKES_ONE},
	[OPTION_TEXT] = {"--text", TAKES_ONE},
	[OPTION_HTML] = {"--html", TAKES_ONE},
	[OPTION_ATTACH] = {"--attach", TAKES_SOME},
	[OPTION_TIMEOUT] = {"--timeout", TAKES_ONE},
	[OPTION_JSON] = {"--json", TAKES_NONE},
};

/* What each option was given, in order. */
struct values {
	char **items;
	size_t count;
};

/* ---- words ---- */

/* A line end would begin a field of its own; the others are not for people. */
static bool
word_check(const char *word, struct fault *fault)
{
	struct slice text = SLICE(word);

	for (size_t i = 0; i < text.len;) {
		size_t len = slice_utf8_length(text, i);

		if (len == 0)
			return fault_set(fault, FAULT_INPUT,
					 "an argument is not UTF-8");
		if ((unsigned char)text.bytes[i] < ' ' ||
		    text.bytes[i] == 0x7f)
			return fault_set(fault, FAULT_INPUT,
					 "a line end or another control "
					 "character in an argument");
		i += len;
	}
	return true;
}

/* The option of "--to" and of "--to=VALUE". */
static bool
option_find(char *word, enum option *option_out, char **value_out)
{
	for (int i = 0; i < OPTIONS; i++) {
		size_t len = strlen(options[i].name);

		if (strncmp(word, options[i].name, len) != 0 ||
		    (word[len] != '\0' && word[len] != '='))
			continue;
		*option_out = (enum option)i;
		*value_out = word[len] == '=' ? word + len + 1 : NULL;
		return true;
	}
	return false;
}

static bool
value_add(struct values *values, enum option option, char *value,
	  struct fault *fault)
{
	if (values->count > 0 && options[option].takes != TAKES_SOME)
		return fault_set(fault, FAULT_INPUT, "%s: more than once",
				 options[option].name);
	values->items[values->count++] = value;
	return true;
}

/* A word that begins like an option is none where a value has to come. */
static bool
words_sort(int argc, char **argv, struct values given[OPTIONS],
	   struct fault *fault)
{
	enum option option = OPTION_JSON;

	for (int i = 1; i < argc; i++) {
		char *value = argv[i];
		bool is_word = value[0] != '-' || value[1] == '\0';

		if (!word_check(argv[i], fault))
			return false;
		if (is_word && options[option].takes != TAKES_SOME)
			return fault_set(fault, FAULT_INPUT,
					 "'%s': what is it for?", value);
		if (!is_word && !option_find(argv[i], &option, &value))
			return fault_set(fault, FAULT_INPUT,
					 "'%s': no such option", argv[i]);
		if (options[option].takes == TAKES_NONE && value != NULL)
			return fault_set(fault, FAULT_INPUT,
					 "%s takes no value",
					 options[option].name);
		if (options[option].takes != TAKES_NONE && value == NULL) {
			value = argv[++i]; /* NULL at the end */
			if (value == NULL)
				return fault_set(fault, FAULT_INPUT,
						 "%s: its value is missing",
						 options[option].name);
			if (!word_check(value, fault))
				return false;
		}
		if (!value_add(&given[option], option, value, fault))
			return false;
	}
	return true;
}

/* ---- what they say ---- */

static struct slice
value_of(const struct values *values)
{
	return values->count > 0 ? SLICE(values->items[0]) : SLICE_NONE;
}

static const char *
path_of(const struct values *values)
{
	return values->count > 0 ? values->items[0] : NULL;
}

/* Commas and semicolons are between addresses, or in names. */
static size_t
addresses_most(const struct values *given, size_t count)
{
	size_t most = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < given[i].count; j++) {
			most++;
			for (const char *c = given[i].items[j]; *c != '\0'; c++)
				most += *c == ',' || *c == ';';
		}
	return most;
}

/* All of one option, into the value of a field. */
static bool
field_fill(const char *name, const char *option, const struct values *values,
	   struct mailing *mailing, struct arena *arena, struct text *value_out,
	   struct fault *fault)
{
	struct addressees addressees = {.name = name};
	bool is_good = true;

	for (size_t i = 0; is_good && i < values->count; i++)
		is_good = addressees_add(&addressees, SLICE(values->items[i]),
					 mailing, arena, fault) ||
			  fault_within(fault, "%s '%s'", option,
				       values->items[i]);
	*value_out = addressees.value;
	return is_good;
}

static bool
from_fill(const struct values *values, struct arena *arena,
	  struct send_arguments *out, struct fault *fault)
{
	struct mailing mailing = {
		.addresses = arena_array(arena, 2, sizeof(struct slice)),
		.max = 2,
	};

	if (!field_fill("From", "--from", values, &mailing, arena,
			&out->from_value, fault))
		return false;
	if (mailing.count != 1)
		return fault_set(fault, FAULT_INPUT,
				 "--from takes one address");
	out->from = mailing.addresses[0];
	return true;
}

static bool
recipients_fill(const struct values *given, struct arena *arena,
		struct send_arguments *out, struct fault *fault)
{
	struct mailing *mailing = &out->recipients;
	size_t most = addresses_most(&given[OPTION_TO],
				     OPTION_BCC - OPTION_TO + 1);
	CLEAN(text_done) struct text hidden = {0};

	*mailing = (struct mailing){
		.addresses = arena_array(arena, most, sizeof(struct slice)),
		.max = most,
	};
	if (!field_fill("To", "--to", &given[OPTION_TO], mailing, arena,
			&out->to_value, fault) ||
	    !field_fill("Cc", "--cc", &given[OPTION_CC], mailing, arena,
			&out->cc_value, fault) ||
	    !field_fill("Bcc", "--bcc", &given[OPTION_BCC], mailing, arena,
			&hidden, fault))
		return false;
	return mailing->count > 0 ||
	       fault_set(fault, FAULT_INPUT,
			 "no recipient: --to, --cc and --bcc name them");
}

static bool
timeout_fill(const struct values *values, struct arena *arena,
	     struct send_arguments *out, struct fault *fault)
{
	static const struct conf_option duration = {
		.key = "--timeout",
		.kind = CONF_DURATION,
		.size = sizeof(uint64_t),
		.min = 1 * SECOND,
		.max = TIMEOUT_MAX,
	};

	out->timeout_ms = 5 * MINUTE;
	return values->count == 0 ||
	       conf_element_read(&duration, value_of(values), arena,
				 &out->timeout_ms, fault) ||
	       fault_within(fault, "--timeout");
}

/* Standard input can be read once. */
static bool
stdin_check(const struct values *given, struct fault *fault)
{
	size_t count = 0;

	for (int i = OPTION_TEXT; i <= OPTION_ATTACH; i++)
		for (size_t j = 0; j < given[i].count; j++)
			count += strcmp(given[i].items[j], "-") == 0;
	return count <= 1 ||
	       fault_set(fault, FAULT_INPUT,
			 "'-' is standard input, for one file only");
}

static bool
required_check(const struct values *given, struct fault *fault)
{
	if (given[OPTION_FROM].count == 0)
		return fault_set(fault, FAULT_INPUT, "--from is missing");
	if (given[OPTION_SUBJECT].count == 0)
		return fault_set(fault, FAULT_INPUT, "--subject is missing");
	return true;
}

bool
send_arguments_parse(int argc, char **argv, struct arena *arena,
		     struct send_arguments *out, struct fault *fault)
{
	struct values given[OPTIONS];

	*out = (struct send_arguments){0};
	for (int i = 0; i < OPTIONS; i++)
		given[i] = (struct values){
			.items = arena_array(arena, (size_t)argc,
					     sizeof(char *))};
	if (!words_sort(argc, argv, given, fault) ||
	    !required_check(given, fault) || !stdin_check(given, fault) ||
	    !from_fill(&given[OPTION_FROM], arena, out, fault) ||
	    !recipients_fill(given, arena, out, fault) ||
	    !timeout_fill(&given[OPTION_TIMEOUT], arena, out, fault)) {
		send_arguments_done(out);
		return false;
	}
	out->subject = value_of(&given[OPTION_SUBJECT]);
	out->text_path = path_of(&given[OPTION_TEXT]);
	out->html_path = path_of(&given[OPTION_HTML]);
	out->attach_paths = given[OPTION_ATTACH].items;
	out->attach_count = given[OPTION_ATTACH].count;
	out->as_json = given[OPTION_JSON].count > 0;
	return true;
}

void
send_arguments_done(struct send_arguments *arguments)
{
	text_done(&arguments->from_value);
	text_done(&arguments->to_value);
	text_done(&arguments->cc_value);
}

struct slice
send_file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (strcmp(path, "-") == 0)
		return SLICE("attachment");
	return SLICE(slash != NULL ? slash + 1 : path);
}
