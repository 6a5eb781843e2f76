#include "tests/unit/relay/options_stand.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char options_directory[] = "/tmp/signet-options-XXXXXX";

void
fixture_done(struct fixture *fixture)
{
	conf_sources_done(&fixture->sources);
	options_free(fixture->options);
	text_done(&fixture->said);
}

void
options_stand_init(void)
{
	cr_assert_neq(mkdtemp(options_directory), NULL);
	cr_assert_eq(chdir(options_directory), 0);
}

void
options_stand_done(void)
{
	CLEAN(text_done) struct text command = {0};

	text_addf(&command, "rm -r '%s'", options_directory);
	cr_expect_eq(system(text_string(&command)), 0);
}

void
file_write(const char *name, const char *contents)
{
	FILE *file = fopen(name, "w");

	cr_assert_neq(file, NULL);
	fputs(contents, file);
	fclose(file);
}

bool
fixture_of(struct fixture *fixture, const char *contents)
{
	*fixture = (struct fixture){0};
	file_write("c", contents);
	return options_load("c", &fixture->said, &fixture->options,
			    &fixture->sources.bytes, &fixture->fault);
}
