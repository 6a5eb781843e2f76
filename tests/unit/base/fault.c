#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "base/fault.h"

Test(fault, reads_from_the_outside_in)
{
	struct fault fault = {0};

	cr_expect_not(fault_set(&fault, FAULT_DENIED, "readable by group"));
	cr_expect_not(fault_within(&fault, "key file '%s'", "a.pem"));
	cr_expect_str_eq(fault.text, "key file 'a.pem': readable by group");
	cr_expect_eq(fault.kind, FAULT_DENIED);
	cr_expect_eq(fault_exit_code(&fault), EX_NOPERM);
}

Test(fault, a_long_text_is_cut_and_says_so)
{
	struct fault fault = {0};
	char name[2000];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fault_set(&fault, FAULT_INPUT, "%s", name);
	cr_expect_eq(strlen(fault.text), sizeof(fault.text) - 1);
	cr_expect_str_eq(fault.text + strlen(fault.text) - 3, "...");
	fault_within(&fault, "file");
	cr_expect_eq(strncmp(fault.text, "file: xxx", 9), 0);
	cr_expect_str_eq(fault.text + strlen(fault.text) - 3, "...");
}

Test(fault, each_kind_has_its_exit_code)
{
	static const struct {
		enum fault_kind kind;
		int code;
	} rows[] = {
		{FAULT_NONE, EX_OK},          {FAULT_INPUT, EX_DATAERR},
		{FAULT_ABSENT, EX_UNAVAILABLE}, {FAULT_DENIED, EX_NOPERM},
		{FAULT_BUSY, EX_TEMPFAIL},    {FAULT_LIMIT, EX_DATAERR},
		{FAULT_UNTRUSTED, EX_UNAVAILABLE},
		{FAULT_SYSTEM, EX_TEMPFAIL},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(fault_exit_code(
				     &(struct fault){.kind = rows[i].kind}),
			     rows[i].code, "%zu", i);
}

Test(fault, the_kind_follows_from_errno)
{
	struct fault fault = {0};

	errno = ENOENT;
	fault_errno(&fault, "opening '%s'", "x");
	cr_expect_eq(fault.kind, FAULT_ABSENT);
	cr_expect_eq(fault.system, ENOENT);
	cr_expect_str_eq(fault.text, "opening 'x': No such file or directory");
	errno = EACCES;
	fault_errno(&fault, "opening");
	cr_expect_eq(fault.kind, FAULT_DENIED);
	fault_errno(NULL, "nobody asks");
}
