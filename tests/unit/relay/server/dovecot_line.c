#include "relay/server/dovecot_line.h"

#include <criterion/criterion.h>

static const struct line_row {
	const char *line;
	enum dovecot_word word;
	uint32_t id;
	const char *data, *user;
	bool is_temporary, is_no_login;
} line_rows[] = {
	{"SPID\t12", DOVECOT_OTHER},
	{"COOKIE\t0123456789abcdef", DOVECOT_OTHER},
	{"", DOVECOT_OTHER},
	{"ok\t1\tuser=a", DOVECOT_OTHER},
	{"DONE", DOVECOT_DONE},
	{"VERSION\t1\t2", DOVECOT_VERSION},
	{"VERSION", DOVECOT_MALFORMED},
	{"VERSION\tone", DOVECOT_MALFORMED},
	{"MECH\tPLAIN\tplaintext", DOVECOT_MECH},
	{"MECH", DOVECOT_MALFORMED},
	{"CONT\t7\tVXNlcm5hbWU6", DOVECOT_CONT, 7, "Username:"},
	{"CONT\t7\t", DOVECOT_CONT, 7},
	{"CONT\t7", DOVECOT_CONT, 7},
	{"CONT\t7\t*", DOVECOT_MALFORMED, 7},
	{"CONT\t\t", DOVECOT_MALFORMED},
	{"CONT", DOVECOT_MALFORMED},
	{"OK\t4294967295\tuser=a", DOVECOT_OK, UINT32_MAX, "", "a"},
	{"OK\t4294967296\tuser=a", DOVECOT_MALFORMED},
	{"OK\t-1\tuser=a", DOVECOT_MALFORMED},
	{"OK\t1", DOVECOT_OK, 1},
	{"OK\t1\tuser=a@example.com\toriginal_user=A\t", DOVECOT_OK, 1, "",
	 "a@example.com"},
	{"OK\t1\tuser=a\1tb\1nc\1rd\0011e\1xf", DOVECOT_OK, 1, "",
	 "a\tb\nc\rd\1exf"},
	{"OK\t1\tuser=a\1", DOVECOT_OK, 1, "", "a\1"},
	{"OK\t1\tuser=a\tnologin", DOVECOT_OK, 1, "", "a", .is_no_login = true},
	{"OK\t1\tuser=a\tnologin\tproxy\thost=x", DOVECOT_OK, 1, "", "a"},
	{"FAIL\t2\tuser=a", DOVECOT_FAIL, 2, "", "a"},
	{"FAIL\t2\tuser=a\ttemp", DOVECOT_FAIL, 2, "", "a",
	 .is_temporary = true},
	{"FAIL\t2\tcode=temp_fail\treason=temporary", DOVECOT_FAIL, 2,
	 .is_temporary = true},
	{"FAIL\t2\tuser=temp", DOVECOT_FAIL, 2, "", "temp"},
	{"FAIL", DOVECOT_MALFORMED},
};

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

Test(dovecot_line, lines)
{
	struct dovecot_line line = {0};

	for (size_t i = 0; i < COUNT(line_rows); i++) {
		const struct line_row *row = &line_rows[i];

		dovecot_line_parse(SLICE(row->line), &line);
		cr_expect_eq(line.word, row->word, "'%s': %d", row->line,
			     (int)line.word);
		if (row->word != DOVECOT_MALFORMED)
			cr_expect_eq(line.id, row->id, "'%s'", row->line);
		cr_expect_str_eq(text_string(&line.user),
				 or_empty(row->user), "'%s'", row->line);
		cr_expect_str_eq(text_string(&line.data),
				 or_empty(row->data), "'%s'", row->line);
		cr_expect_eq(line.is_temporary, row->is_temporary, "'%s'",
			     row->line);
		cr_expect_eq(line.is_no_login, row->is_no_login, "'%s'",
			     row->line);
	}
	dovecot_line_done(&line);
}

/* A NUL in a name is of the name. */
Test(dovecot_line, nul)
{
	struct dovecot_line line = {0};

	dovecot_line_parse(SLICE("OK\t1\tuser=a\0010b"), &line);
	cr_expect(slice_eq(text_slice(&line.user), slice_of("a\0b", 3)));
	dovecot_line_done(&line);
}
