#include "relay/import/opendkim_conf.h"

#include <criterion/criterion.h>

struct parsed {
	struct arena arena;
	struct opendkim_conf conf;
	struct report report;
	struct conf_errors errors;
	struct text said;
};

static void
parse(struct parsed *parsed, const char *text)
{
	*parsed = (struct parsed){0};
	opendkim_conf_parse(SLICE(text), "f", &parsed->arena, &parsed->conf,
			    &parsed->report, &parsed->errors);
	text_add(&parsed->said, text_slice(&parsed->report.lines));
	conf_errors_write(&parsed->errors, &parsed->said);
}

static void
parsed_done(struct parsed *parsed)
{
	conf_errors_done(&parsed->errors);
	report_done(&parsed->report);
	text_done(&parsed->said);
	arena_done(&parsed->arena);
}

static const struct value_row {
	const char *name, *input, *value; /* of Socket */
} value_rows[] = {
	{"a line", "Socket inet:1@localhost\n", "inet:1@localhost"},
	{"no end of line", "Socket x", "x"},
	{"case", "sOCKET x\n", "x"},
	{"tabs", "\tSocket\t\tx\t\n", "x"},
	{"spaces in it", "Socket x  y \n", "x  y"},
	{"a comment behind", "Socket x # y\n", "x"},
	{"a comment within", "Socket x#y\n", "x"},
	{"CRLF", "Socket x\r\n", "x"},
	{"twice: the last", "Socket x\nSocket y\n", "y"},
	{"not there", "Mode s\n", NULL},
	{"in a comment", "#Socket x\n", NULL},
};

Test(opendkim_conf, values)
{
	for (size_t i = 0; i < COUNT(value_rows); i++) {
		const struct value_row *row = &value_rows[i];
		const struct opendkim_setting *setting;
		struct parsed parsed;

		parse(&parsed, row->input);
		setting = opendkim_setting(&parsed.conf, "Socket");
		cr_expect_eq(parsed.errors.count, 0, "%s: %s", row->name,
			     text_string(&parsed.said));
		cr_expect(row->value == NULL
				  ? setting == NULL
				  : setting != NULL &&
					    slice_eq(setting->value,
						     SLICE(row->value)),
			  "%s", row->name);
		parsed_done(&parsed);
	}
}

/* What is said of it: a part of it, or "" for nothing. */
static const struct said_row {
	const char *name, *input, *said;
	bool is_error, is_incomplete;
} said_rows[] = {
	{"carried over", "Mode s\n", "", false, false},
	{"an unknown option", "\nMood s\n", "f:2: unknown option 'Mood'", true,
	 false},
	{"no value", "Mode\n", "f:1: Mode: a value is missing", true, false},
	{"a value cut off", "Mode #s\n", "f:1: Mode: a value is missing", true,
	 false},
	{"no bool", "SubDomains maybe\n", "f:1: SubDomains: the value", true,
	 false},
	{"no number", "UMask 00x\n", "f:1: UMask: the value", true, false},
	{"too large a number", "UMask 99999999999\n", "f:1: UMask", true,
	 false},
	{"no meaning", "Syslog yes\n", "f:1: note: Syslog has no meaning here",
	 false, false},
	{"missed", "Diagnostics yes\n", "f:1: not carried over: Diagnostics",
	 false, false},
	{"missed, but off", "Diagnostics no\n", "", false, false},
	{"missed, but the default", "On-BadSignature accept\n", "", false,
	 false},
	{"a default as a number", "MinimumKeyBits 1024\n", "", false, false},
	{"decisive", "SenderHeaders Sender,From\n",
	 "f:1: NOT CARRIED OVER: SenderHeaders", false, true},
	{"decisive, but the default", "SenderHeaders From\n", "", false, false},
	{"set twice", "Mode s\nMode v\n", "f:1: note: Mode is set again in f:2",
	 false, false},
	{"only what holds counts", "Diagnostics yes\nDiagnostics no\n",
	 "f:1: note: Diagnostics is set again", false, false},
};

Test(opendkim_conf, said)
{
	for (size_t i = 0; i < COUNT(said_rows); i++) {
		const struct said_row *row = &said_rows[i];
		struct parsed parsed;
		const char *said;

		parse(&parsed, row->input);
		said = text_string(&parsed.said);
		cr_expect(row->said[0] == '\0' ? said[0] == '\0'
					       : strstr(said, row->said) == said,
			  "%s: %s", row->name, said);
		cr_expect_eq(parsed.errors.count > 0, row->is_error, "%s",
			     row->name);
		cr_expect_eq(parsed.report.is_incomplete, row->is_incomplete,
			     "%s", row->name);
		parsed_done(&parsed);
	}
}

/* What a line about it would need. */
Test(opendkim_conf, table)
{
	for (size_t i = 0; i < opendkim_options_count; i++) {
		const struct opendkim_option *option = &opendkim_options[i];

		cr_expect(option->text != NULL && option->text[0] != '\0',
			  "%s has no text", option->name);
		cr_expect(option->harmless == NULL ||
				  option->fate == OPENDKIM_LOST ||
				  option->fate == OPENDKIM_DECISIVE,
			  "%s: harmless, but never missed", option->name);
		for (size_t k = 0; k < i; k++)
			cr_expect(!slice_eq_nocase(
					  SLICE(option->name),
					  SLICE(opendkim_options[k].name)),
				  "%s stands twice", option->name);
	}
}
