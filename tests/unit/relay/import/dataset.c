#include "relay/import/dataset.h"

#include <criterion/criterion.h>

#define PLACE ((struct conf_place){"opendkim.conf", 7})

/* "key=value|key=value" */
static void
rows_write(const struct dataset *dataset, struct text *out)
{
	for (size_t i = 0; i < dataset->count; i++)
		text_addf(out, "%s%.*s=%.*s", i > 0 ? "|" : "",
			  SLICE_ARG(dataset->rows[i].key),
			  SLICE_ARG(dataset->rows[i].value));
}

static const struct row {
	const char *name, *input, *expected; /* NULL: an error */
} lists[] = {
	{"one", "127.0.0.1", "127.0.0.1="},
	{"several", "127.0.0.1, 10.0.0.0/8 ,x", "127.0.0.1=|10.0.0.0/8=|x="},
	{"with the kind", "csl:a,b", "a=|b="},
	{"the kind in capitals", "CSL:a", "a="},
	{"values", "csl:k=example.com:s:/p,l = v", "k=example.com:s:/p|l=v"},
	{"colons behind a comma", "127.0.0.1,::1", "127.0.0.1=|::1="},
	{"a colon in the first one", "k=example.com:s:/p", NULL},
	{"a colon that names no kind", "::1,127.0.0.1", NULL},
	{"a value without a key", "a,=b", NULL},
	{"empty ones", ",a,,", "a="},
	{"a database", "db:/etc/x", NULL},
	{"a database by its name", "/etc/x.db", NULL},
	{"an unknown kind", "ldap://ldap.example.com/x", NULL},
	{"a file that is not there", "file:/nonexistent/x", NULL},
};

Test(dataset, lists)
{
	for (size_t i = 0; i < COUNT(lists); i++) {
		const struct row *row = &lists[i];
		CLEAN(conf_errors_done) struct conf_errors errors = {0};
		CLEAN(text_done) struct text got = {0};
		struct arena arena = {0};
		struct dataset dataset = {0};
		bool is_good = dataset_read(SLICE(row->input), SLICE_NONE,
					    PLACE, &arena, &dataset, &errors);

		cr_expect_eq(is_good, row->expected != NULL, "%s", row->name);
		cr_expect_eq(errors.count, is_good ? 0 : 1, "%s", row->name);
		rows_write(&dataset, &got);
		cr_expect(!is_good ||
				  slice_eq(text_slice(&got),
					   SLICE(row->expected)),
			  "%s: %s", row->name, text_string(&got));
		arena_done(&arena);
	}
}

static const struct row files[] = {
	{"key and value", "a b\n", "a=b"},
	{"no end of line", "a b", "a=b"},
	{"tabs", "a\t\t b\t\n", "a=b"},
	{"CRLF", "a b\r\nc\r\n", "a=b|c="},
	{"comments", "# x\na b # c\n#\n", "a=b"},
	{"empty lines", "\n \n\t\na\n\n", "a="},
	{"spaces before", "   a b", "a=b"},
	{"a value of several words", "a b c", "a=b c"},
	{"a NUL", NULL, NULL},
};

Test(dataset, files)
{
	for (size_t i = 0; i < COUNT(files); i++) {
		const struct row *row = &files[i];
		CLEAN(conf_errors_done) struct conf_errors errors = {0};
		CLEAN(text_done) struct text got = {0};
		struct arena arena = {0};
		struct dataset dataset = {0};
		struct slice input = row->input != NULL
					     ? SLICE(row->input)
					     : slice_of("a\0b", 3);
		bool is_good = dataset_parse(input, "t", &arena, &dataset,
					     &errors);

		cr_expect_eq(is_good, row->expected != NULL, "%s", row->name);
		rows_write(&dataset, &got);
		cr_expect(!is_good ||
				  slice_eq(text_slice(&got),
					   SLICE(row->expected)),
			  "%s: %s", row->name, text_string(&got));
		arena_done(&arena);
	}
}

Test(dataset, long_lines)
{
	for (size_t len = DATASET_LINE_MAX; len <= DATASET_LINE_MAX + 1;
	     len++) {
		CLEAN(conf_errors_done) struct conf_errors errors = {0};
		CLEAN(text_done) struct text line = {0};
		struct arena arena = {0};
		struct dataset dataset = {0};

		for (size_t i = 0; i < len; i++)
			text_add_byte(&line, 'a');
		cr_expect_eq(dataset_parse(text_slice(&line), "t", &arena,
					   &dataset, &errors),
			     len == DATASET_LINE_MAX, "%zu bytes", len);
		arena_done(&arena);
	}
}
