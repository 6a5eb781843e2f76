#include "relay/login.h"

#include <criterion/criterion.h>
#include <sys/stat.h>

#include "relay/options.h"
#include "tests/unit/keys/files.h"

static struct files files;
static unsigned warnings;

static void
files_init(void)
{
	files_new(&files);
}

static void
files_end(void)
{
	files_done(&files);
}

TestSuite(login, .init = files_init, .fini = files_end);

static void
count_warning(const char *text)
{
	cr_expect_not_null(strstr(text, "chmod 600"), "%s", text);
	warnings++;
}

static bool
read_it(struct slice bytes, unsigned mode, bool strict, struct text *out,
	struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};

	files_put(&files, "password", bytes, mode);
	text_addf(&path, "%s/password", text_string(&files.directory));
	warnings = 0;
	return login_read(text_slice(&path), strict, count_warning, out, fault);
}

#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define LONGEST FIFTY FIFTY FIFTY FIFTY FIFTY "12345"

/* The password itself may be what was given as the file's name. */
Test(login, repeats_no_name_that_is_none)
{
	CLEAN(secret_cleanse) struct text out = {0};
	CLEAN(text_done) struct text path = {0};
	struct fault fault = {0};

	text_addf(&path, "%s/hunter2", text_string(&files.directory));
	cr_expect_not(login_read(text_slice(&path), true, count_warning, &out,
				 &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect_null(strstr(fault.text, "hunter2"), "%s", fault.text);
	cr_expect_not_null(strstr(fault.text, "'auth_password_file'"), "%s",
			   fault.text);
}

Test(login, reads_the_first_line)
{
	static const struct {
		const char *bytes, *password, *says;
	} rows[] = {
		{"secret", "secret", NULL},
		{"secret\n", "secret", NULL},
		{"secret\r\n", "secret", NULL},
		{" se cret \nmore\n", " se cret ", NULL},
		{"p\xc3\xa4ss\n", "p\xc3\xa4ss", NULL},
		{LONGEST "\n", LONGEST, NULL},
		{LONGEST "\r\n", LONGEST, NULL},
		{LONGEST "6\n", NULL, "more than 255 octets"},
		{LONGEST FIFTY FIFTY, NULL, "more than 255 octets"},
		{"", NULL, "first line is empty"},
		{"\nsecret\n", NULL, "first line is empty"},
		{"\r\n", NULL, "first line is empty"},
		{"se\tcret\n", NULL, "control character"},
		{"secret\r", "secret", NULL},
		{"se\rcret\n", NULL, "control character"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(secret_cleanse) struct text out = {0};
		struct fault fault = {0};
		bool is_good = read_it(SLICE(rows[i].bytes), 0600, true, &out,
				       &fault);

		cr_expect_eq(is_good, rows[i].password != NULL, "%zu: %s", i,
			     fault.text);
		if (rows[i].password != NULL) {
			cr_expect_str_eq(text_string(&out), rows[i].password);
			continue;
		}
		cr_expect_eq(out.len, 0, "%zu", i);
		cr_expect_not_null(strstr(fault.text, rows[i].says), "%zu: %s",
				   i, fault.text);
		cr_expect_null(strstr(fault.text, "cret"), "%zu: %s", i,
			       fault.text);
	}
}

Test(login, a_nul_is_no_password)
{
	CLEAN(secret_cleanse) struct text out = {0};
	struct fault fault;

	cr_expect_not(read_it(slice_of("a\0b\n", 4), 0600, true, &out, &fault));
}

Test(login, looks_at_the_mode)
{
	static const struct {
		unsigned mode;
		bool is_private;
	} rows[] = {{0600, true}, {0400, true}, {0640, false}, {0604, false},
		    {0620, false}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(secret_cleanse) struct text out = {0}, strict = {0};
		struct fault fault = {0};

		cr_expect(read_it(SLICE("secret"), rows[i].mode, false, &out,
				  &fault));
		cr_expect_eq(warnings, rows[i].is_private ? 0 : 1, "%04o",
			     rows[i].mode);
		cr_expect_eq(read_it(SLICE("secret"), rows[i].mode, true,
				     &strict, &fault), rows[i].is_private,
			     "%04o", rows[i].mode);
		if (!rows[i].is_private)
			cr_expect_eq(fault.kind, FAULT_DENIED);
	}
}

Test(login, is_no_directory_and_not_absent)
{
	CLEAN(secret_cleanse) struct text out = {0};
	struct fault fault;

	cr_expect_not(login_read(text_slice(&files.directory), false, NULL,
				 &out, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT);
	cr_expect_not(login_read(SLICE("/nowhere/x"), false, NULL, &out,
				 &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
}

/* The path is not said (see above): so which option it was. */
Test(login, says_whose_password_is_not_there)
{
	struct route_options routes[] = {
		{.pattern = SLICE_LITERAL("example.org")},
		{.pattern = SLICE_LITERAL("example.net"),
		 .login = {.user = SLICE_LITERAL("user"),
			   .password_file = SLICE_LITERAL("/nowhere/hunter2")}},
	};
	struct options *options = options_default();
	CLEAN(secret_cleanse) struct text out = {0};
	struct fault fault = {0};

	options->routes = routes;
	options->routes_count = COUNT(routes);
	cr_expect_not(login_read_all(options, NULL, &out, &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect_eq(strncmp(fault.text, "route \"example.net\": ", 21), 0,
		     "%s", fault.text);
	options->delivery.login = routes[1].login;
	cr_expect_not(login_read_all(options, NULL, &out, &fault));
	cr_expect_eq(strncmp(fault.text, "delivery: ", 10), 0, "%s",
		     fault.text);
	options->delivery.login = (struct login_options){0};
	options->routes = NULL;
	options->routes_count = 0;
	options_free(options);
}

Test(login, joins_lines_and_options)
{
	static const struct {
		const char *lines;
		bool is_good;
	} rows[] = {
		{"\none\n\n", true},    {"one\n\n\n", false},
		{"\none\ntwo\n", false}, {"\n\n\n", false},
		{"\none", false},       {"", false},
	};
	struct route_options routes[] = {
		{.login = {.user = SLICE_LITERAL("user")}},
		{.pattern = SLICE_LITERAL("example.net")},
	};
	struct options *options = options_default();

	options->routes = routes;
	options->routes_count = COUNT(routes);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct logins *logins = NULL;
		struct fault fault;

		cr_assert_eq(logins_new(options, SLICE(rows[i].lines), &logins,
					&fault), rows[i].is_good, "%zu", i);
		if (!rows[i].is_good)
			continue;
		cr_expect_null(logins_at(logins, 0));
		cr_assert_not_null(logins_at(logins, 1));
		cr_expect(slice_eq(logins_at(logins, 1)->user, SLICE("user")));
		cr_expect(slice_eq(logins_at(logins, 1)->password,
				   SLICE("one")));
		cr_expect_null(logins_at(logins, 2));
		logins_free(logins);
	}
	options_free(options);
}
