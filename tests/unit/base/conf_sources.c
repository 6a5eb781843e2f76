#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/base/conf_stand.h"

Test(conf_sources, includes_from_sources)
{
	CLEAN(fixture_done) struct fixture f = {0};

	conf_sources_add(&f.sources, SLICE("/e/a"),
			 SLICE("include \"sub/b\"\nis_on = x\n"));
	conf_sources_add(&f.sources, SLICE("/e/sub/b"),
			 SLICE("outer \"o\" {\ninclude \"./c\"\n"
			       "include \"/d\"\n}\n"));
	conf_sources_add(&f.sources, SLICE("/e/sub/c"), SLICE("port = 26\n"));
	conf_sources_add(&f.sources, SLICE("/d"), SLICE("}\nport = 27\n"));
	fixture_parse(&f);
	cr_expect_str_eq(text_string(&f.said),
			 "/d:1: this '}' closes nothing\n"
			 "/d:2: duplicate option 'port': the first is in "
			 "/e/sub/c, line 1\n"
			 "/e/a:2: 'is_on': 'x' is neither true nor false\n");
}

Test(conf_sources, bounds_the_depth_of_includes)
{
	CLEAN(fixture_done) struct fixture f = {0};

	for (unsigned i = 0; i < 20; i++) {
		char name[16], contents[32];

		snprintf(name, sizeof(name), "f%u", i);
		snprintf(contents, sizeof(contents), "include \"f%u\"", i + 1);
		conf_sources_add(&f.sources, SLICE(name), SLICE(contents));
	}
	fixture_parse(&f);
	cr_expect_str_eq(text_string(&f.said),
			 "f15:1: 'f16': includes nest deeper than 16\n");
}

Test(conf_sources, bounds_the_number_of_includes, .timeout = 120)
{
	CLEAN(fixture_done) struct fixture f = {0};

	/* 4 to the power of 12 if nobody counted. */
	for (unsigned i = 0; i < 12; i++) {
		CLEAN(text_done) struct text name = {0}, contents = {0};

		text_addf(&name, "f%u", i);
		for (unsigned j = 0; j < 4; j++)
			text_addf(&contents, "include \"f%u\"\n", i + 1);
		conf_sources_add(&f.sources, text_slice(&name),
				 text_slice(&contents));
	}
	conf_sources_add(&f.sources, SLICE("f12"), SLICE_NONE);
	fixture_parse(&f);
	cr_expect_neq(strstr(text_string(&f.said), "more than 4096 files"),
		      NULL);
	cr_expect_lt(f.errors.count, 100);
}

static char directory[] = "/tmp/signet-conf-XXXXXX";

static void
file_write(const char *name, const char *contents)
{
	CLEAN(text_done) struct text path = {0};
	FILE *file;

	text_addf(&path, "%s/%s", directory, name);
	file = fopen(text_string(&path), "w");
	cr_assert_neq(file, NULL);
	fputs(contents, file);
	fclose(file);
}

static void
directory_make(void)
{
	cr_assert_neq(mkdtemp(directory), NULL);
}

static void
directory_remove(void)
{
	static const char *const names[] = {"a",   "b",  "fifo", "c2.d",
					    "c1.d", "c3.d", ".c.d", "c3.d~"};

	for (size_t i = 0; i < COUNT(names); i++) {
		CLEAN(text_done) struct text path = {0};

		text_addf(&path, "%s/%s", directory, names[i]);
		unlink(text_string(&path));
	}
	rmdir(directory);
}

TestSuite(conf_files, .init = directory_make, .fini = directory_remove);

static void
fixture_read(struct fixture *fixture, const char *name)
{
	CLEAN(text_done) struct text path = {0};

	*fixture = (struct fixture){0};
	text_addf(&path, "%s%s%s", directory, name[0] ? "/" : "", name);
	fixture->root = conf_read(text_string(&path), &fixture->sources,
				  &fixture->arena, &fixture->errors);
	conf_errors_write(&fixture->errors, &fixture->said);
}

Test(conf_files, what_was_read_parses_again_from_memory)
{
	CLEAN(fixture_done) struct fixture f, again = {0};

	file_write("a", "include \"b\"\n");
	file_write("b", "paint { count = 9 }\n");
	fixture_read(&f, "a");
	cr_assert_str_eq(text_string(&f.said), "");
	cr_expect_eq(f.sources.count, 2);
	cr_assert(conf_sources_copy(text_slice(&f.sources.bytes),
				    &again.sources, NULL));
	directory_remove();
	fixture_parse(&again);
	cr_expect_str_eq(text_string(&again.said), "");
	cr_expect_eq(again.target.count, 9);
}

/* Neither made nor included before in the order of their names. */
Test(conf_files, a_pattern_includes_what_matches_by_name)
{
	CLEAN(fixture_done) struct fixture f, again = {0};
	CLEAN(text_done) struct text expected = {0};

	file_write("a", "include \"c2.d\"\ninclude \"*.d\"\n");
	file_write("c2.d", "name = \"two\"\n");
	file_write("c1.d", "name = \"one\"\npaint { count = 9 }\n");
	file_write("c3.d", "name = \"three\"\n");
	file_write(".c.d", "name = hidden\n");
	file_write("c3.d~", "name = former\n");
	fixture_read(&f, "a");
	cr_expect_eq(f.sources.count, 4);
	cr_assert(conf_sources_copy(text_slice(&f.sources.bytes),
				    &again.sources, NULL));
	directory_remove();
	fixture_parse(&again);
	for (int i = 1; i <= 3; i++)
		text_addf(&expected, "%s/c%d.d:1: duplicate option 'name': the "
				     "first is in %s/c2.d, line 1\n",
			  directory, i, directory);
	cr_expect_str_eq(text_string(&again.said), text_string(&expected));
	cr_expect_eq(again.target.count, 9);
}

Test(conf_files, a_pattern_that_nothing_matches_is_named)
{
	CLEAN(text_done) struct text expected = {0};
	CLEAN(fixture_done) struct fixture f;

	file_write("a", "include \"c*.d\"\ninclude \"d/*\"\n");
	fixture_read(&f, "a");
	text_addf(&expected,
		  "%s/a:1: '%s/c*.d': no file matches\n"
		  "%s/a:2: '%s/d/*': cannot look for files: No such file or "
		  "directory\n",
		  directory, directory, directory, directory);
	cr_expect_str_eq(text_string(&f.said), text_string(&expected));
}

static const struct {
	const char *name, *said;
} file_rows[] = {
	{"b", "/b: cannot open: No such file or directory\n"},
	{"", ": not a regular file\n"},
	{"fifo", "/fifo: not a regular file\n"},
	{"a", "/a:2: 'DIR/b': cannot open: No such file or directory\n"},
};

Test(conf_files, what_cannot_be_read_is_named, .timeout = 120)
{
	CLEAN(text_done) struct text fifo = {0};

	text_addf(&fifo, "%s/fifo", directory);
	cr_assert_eq(mkfifo(text_string(&fifo), 0600), 0);
	file_write("a", "\ninclude \"b\"\n");
	for (size_t i = 0; i < COUNT(file_rows); i++) {
		CLEAN(text_done) struct text expected = {0};
		CLEAN(fixture_done) struct fixture f;
		const char *rest = strstr(file_rows[i].said, "DIR");

		fixture_read(&f, file_rows[i].name);
		text_add_string(&expected, directory);
		if (rest == NULL)
			text_add_string(&expected, file_rows[i].said);
		else
			text_addf(&expected, "%.*s%s%s",
				  (int)(rest - file_rows[i].said),
				  file_rows[i].said, directory, rest + 3);
		cr_expect_str_eq(text_string(&f.said), text_string(&expected));
		cr_expect_not(f.errors.is_denied);
	}
}

Test(conf_files, an_unreadable_file_is_denied)
{
	CLEAN(text_done) struct text path = {0};
	CLEAN(fixture_done) struct fixture f;

	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	else
		cr_log_info("not root: our own file, without permission");
	text_addf(&path, "%s/a", directory);
	if (geteuid() == 65534) {
		cr_assert_eq(seteuid(0), 0);
		file_write("a", "");
		chmod(text_string(&path), 0);
		chmod(directory, 0755);
		cr_assert_eq(seteuid(65534), 0);
	} else {
		file_write("a", "");
		chmod(text_string(&path), 0);
	}
	fixture_read(&f, "a");
	cr_expect(f.errors.is_denied);
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
}

Test(conf_files, a_huge_file_is_refused)
{
	CLEAN(text_done) struct text path = {0};
	CLEAN(fixture_done) struct fixture f;

	file_write("a", "");
	text_addf(&path, "%s/a", directory);
	cr_assert_eq(truncate(text_string(&path), CONF_FILE_MAX + 1), 0);
	fixture_read(&f, "a");
	cr_expect_neq(strstr(text_string(&f.said),
			     "/a: larger than 8388608 bytes\n"), NULL);
}

Test(conf_sources, damaged_sources_are_refused)
{
	struct conf_sources sources = {0}, copy = {0};

	conf_sources_add(&sources, SLICE("a"), SLICE("b"));
	for (size_t len = 0; len < sources.bytes.len; len++)
		cr_expect_not(conf_sources_copy(
			slice_of(sources.bytes.bytes, len), &copy, NULL));
	cr_assert(conf_sources_copy(text_slice(&sources.bytes), &copy, NULL));
	conf_sources_done(&copy);
	sources.bytes.bytes[3] = '\xff';
	cr_expect_not(conf_sources_copy(text_slice(&sources.bytes), &copy,
					NULL));
	conf_sources_done(&sources);
}
