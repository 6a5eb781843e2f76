/*
 * Each row runs in a child, which gives something up, tries what it should not
 * be able to do any more, and tells by its exit status.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"

static int
status_of(int (*run)(void))
{
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(run());
	cr_assert_eq(waitpid(child, &status, 0), child);
	return status;
}

static bool
is_well(int (*run)(void))
{
	int status = status_of(run);

	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- privileges ---- */

static int
without_privileges(void)
{
	struct rlimit core;
	struct stat status;

	if (!sandbox_privileges(NULL) || getrlimit(RLIMIT_CORE, &core) < 0)
		return 1;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || core.rlim_max != 0)
		return 2;
	/* What only a capability allowed: to give a file away. */
	if (stat("/dev/shm", &status) < 0 ||
	    chown("/dev/shm", 1, (gid_t)-1) == 0 || errno != EPERM)
		return 3;
	return setgid(1) == 0 ? 4 : 0;
}

Test(sandbox, privileges)
{
	cr_expect(is_well(without_privileges));
}

/* ---- files ---- */

static char inside[] = "/tmp/signet-sandbox-XXXXXX";

static int
in_one_directory(void)
{
	char path[64];
	int file;

	snprintf(path, sizeof(path), "%s/file", inside);
	if (!sandbox_privileges(NULL) || !sandbox_files(inside, NULL))
		return 1;
	file = open(path, O_WRONLY | O_CREAT, 0700);
	if (file < 0 || ftruncate(file, 1) < 0 || unlink(path) < 0)
		return 2;
	if (open("/tmp/signet-sandbox", O_WRONLY | O_CREAT, 0600) >= 0 ||
	    errno != EACCES)
		return 3;
	if (rmdir(inside) == 0 || open("/dev/null", O_WRONLY) >= 0)
		return 4;
	if (execl("/bin/true", "true", NULL) == 0 || errno != EACCES)
		return 5;
	return open("/etc/passwd", O_RDONLY) >= 0 ? 0 : 6;
}

Test(sandbox, files)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0,
		    LANDLOCK_CREATE_RULESET_VERSION) < 1)
		cr_skip("no Landlock in this kernel\n");
	cr_assert_not_null(mkdtemp(inside));
	cr_expect(is_well(in_one_directory));
	rmdir(inside);
}

static int
in_no_directory(void)
{
	struct fault fault = {0};

	if (!sandbox_privileges(NULL))
		return 1;
	if (sandbox_files("/nowhere", &fault))
		return 2;
	return strstr(fault.text, "/nowhere") != NULL ? 0 : 3;
}

Test(sandbox, a_directory_that_is_not_there)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0,
		    LANDLOCK_CREATE_RULESET_VERSION) < 1)
		cr_skip("no Landlock in this kernel\n");
	cr_expect(is_well(in_no_directory));
}

/* ---- system calls ---- */

static const int refused[] = {SCMP_SYS(getppid)};
static const int deadly[] = {SCMP_SYS(umask)};
static const struct sandbox_calls lists[] = {
	{refused, COUNT(refused), SCMP_ACT_ERRNO(ENOSYS)},
	{deadly, COUNT(deadly), SCMP_ACT_KILL_PROCESS},
};
static const struct sandbox_condition conditions[] = {
	{SCMP_SYS(dup), SCMP_ACT_ERRNO(EACCES), SCMP_A0(SCMP_CMP_EQ, 1)},
};
static const struct sandbox_filter filter = {
	.lists = lists,
	.lists_count = COUNT(lists),
	.conditions = conditions,
	.conditions_count = COUNT(conditions),
	.others = SCMP_ACT_ALLOW,
};

static int
with_a_filter(void)
{
	if (!sandbox_privileges(NULL) || !sandbox_filter(&filter, NULL))
		return 1;
	if (syscall(SYS_getppid) >= 0 || errno != ENOSYS)
		return 2;
	if (dup(2) < 0 || dup(1) >= 0 || errno != EACCES)
		return 3;
	umask(0);
	return 4;
}

Test(sandbox, a_filter)
{
	int status = status_of(with_a_filter);

	cr_expect(WIFSIGNALED(status));
	cr_expect_eq(WTERMSIG(status), SIGSYS, "%x", (unsigned)status);
}

static int
with_a_second_filter(void)
{
	static const struct sandbox_filter all = {.others = SCMP_ACT_ALLOW};

	if (!sandbox_privileges(NULL) || !sandbox_filter(&filter, NULL) ||
	    !sandbox_filter(&all, NULL))
		return 1;
	return syscall(SYS_getppid) < 0 && errno == ENOSYS ? 0 : 2;
}

Test(sandbox, a_second_filter_gives_nothing_back)
{
	cr_expect(is_well(with_a_second_filter));
}
