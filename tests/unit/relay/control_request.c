#include <criterion/criterion.h>

#include "relay/control_request.h"
#include "relay/limits.h"

#define ID "01KAN2Q4B1ZZZZZZZZZZZZZZZZ"

static const struct parse_row {
	const char *name, *line;
	bool is_good;
	enum control_verb verb;
} parse_rows[] = {
	{"status", "status", true, CONTROL_STATUS},
	{"all of it", "status\tjson\tall", true, CONTROL_STATUS},
	{"list", "list", true, CONTROL_LIST},
	{"some of it", "list\tdomain=x.example\tsender=", true, CONTROL_LIST},
	{"an address with a sign", "hold\tsender=a=b@x.example", true,
	 CONTROL_HOLD},
	{"show", "show\tid=" ID, true, CONTROL_SHOW},
	{"delete", "delete\tid=" ID, true, CONTROL_DELETE},
	{"going on", "retry\tall\tfrom=" ID "-" ID "-5", true, CONTROL_RETRY},
	{"nothing", "", false, CONTROL_STATUS},
	{"no verb", "\tall", false, CONTROL_STATUS},
	{"unknown", "stop", false, CONTROL_STATUS},
	{"a prefix", "relea", false, CONTROL_STATUS},
	{"a space is no tab", "delete all", false, CONTROL_STATUS},
	{"nothing is not all", "delete", false, CONTROL_STATUS},
	{"a cursor is not all", "delete\tfrom=" ID "-" ID "-5", false,
	 CONTROL_STATUS},
	{"another word is not all", "delete\tother", false, CONTROL_STATUS},
	{"nor is a domain that is not named", "delete\tdomain", false,
	 CONTROL_STATUS},
	{"all and less", "delete\tall\tsender=a@x.example", false,
	 CONTROL_STATUS},
	{"one and others", "delete\tid=" ID "\tdomain=x.example", false,
	 CONTROL_STATUS},
	{"twice", "list\tdomain=x.example\tdomain=y.example", false,
	 CONTROL_STATUS},
	{"no such field of this verb", "list\tid=" ID, false, CONTROL_STATUS},
	{"a flag with a value", "list\tjson=1", false, CONTROL_STATUS},
	{"a value that is none", "list\tdomain", false, CONTROL_STATUS},
	{"no id", "show\tid=x", false, CONTROL_STATUS},
	{"half a cursor", "delete\tall\tfrom=" ID "-" ID, false,
	 CONTROL_STATUS},
	{"a control", "list\tsender=a\x01", false, CONTROL_STATUS},
	{"an empty field", "list\t\tjson", false, CONTROL_STATUS},
};

Test(control_request, parse)
{
	for (size_t i = 0; i < COUNT(parse_rows); i++) {
		const struct parse_row *row = &parse_rows[i];
		struct control_request request = {0};
		struct fault fault = {0};

		cr_expect_eq(control_request_parse(SLICE(row->line), &request,
						   &fault),
			     row->is_good, "%s", row->name);
		cr_expect_eq(request.verb, row->verb, "%s", row->name);
	}
}

Test(control_request, written_and_read_again)
{
	CLEAN(text_done) struct text line = {0};
	struct control_request request = {
		.verb = CONTROL_DELETE,
		.selection = {true, true, SLICE_LITERAL("x.example"),
			      SLICE_LITERAL("a b@x.example")},
		.cursor = {message_id_new(), message_id_new(), 1234567},
	}, again;
	struct fault fault = {0};

	cr_assert(control_request_write(&request, &line, &fault));
	cr_assert(control_request_parse(
		slice_sub(text_slice(&line), 0, line.len - 1), &again,
		&fault));
	cr_expect_eq(again.verb, CONTROL_DELETE);
	cr_expect(slice_eq(again.selection.domain, SLICE("x.example")));
	cr_expect(slice_eq(again.selection.sender, SLICE("a b@x.example")));
	cr_expect(message_id_eq(&again.cursor.after, &request.cursor.after));
	cr_expect(message_id_eq(&again.cursor.until, &request.cursor.until));
	cr_expect_eq(again.cursor.begun_ms, 1234567);
	text_clear(&line);
	request.selection.sender = SLICE("a\tall");
	cr_expect_not(control_request_write(&request, &line, &fault),
		      "no value makes a field");
}
