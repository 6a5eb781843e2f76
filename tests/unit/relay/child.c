/*
 * A child is this program's own file, started again: as "child-role" it tells
 * over its control socket what it was given, and waits.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/child.h"
#include "tests/fake/clock.h"

static bool
is_open(int descriptor)
{
	return fcntl(descriptor, F_GETFD) >= 0;
}

static bool
has_others(void)
{
	for (int i = 4; i < 1024; i++)
		if (is_open(i))
			return true;
	return false;
}

static __attribute__((constructor)) void
child_role(int argc, char **argv)
{
	char text[512], place[256] = "?";
	int len;

	if (argc != 2 || strcmp(argv[1], "child-role") != 0)
		return;
	if (getcwd(place, sizeof(place)) == NULL)
		_exit(1);
	len = snprintf(text, sizeof(text), "%s in %s with %s", argv[0], place,
		       has_others() ? "others" : "one");
	if (send(3, text, (size_t)len, 0) != len)
		_exit(2);
	pause();
	_exit(3);
}

static const struct identity nobody_else;

static struct child_setup
setup_of(int directory)
{
	return (struct child_setup){
		.title = "signet: test",
		.command = "child-role",
		.name = "test",
		.directory = directory,
		.identity = &nobody_else,
	};
}

static void
expect_told(const struct child_setup *setup, const char *wanted)
{
	struct child child = {0};
	struct fault fault = {0};
	char text[512] = "";
	int control, status;

	cr_assert(child_start(&child, setup, &control, &fault), "%s",
		  fault.text);
	cr_expect_gt(recv(control, text, sizeof(text) - 1, 0), 0);
	cr_expect_str_eq(text, wanted);
	child_kill(&child);
	cr_expect_eq(recv(control, text, sizeof(text), 0), 0,
		     "its end is seen at once");
	cr_assert_eq(waitpid(child.pid, &status, 0), child.pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(control);
}

Test(child, gets_its_socket_and_nothing_else)
{
	struct child_setup setup = setup_of(-1);

	for (int i = 0; i < 5; i++)
		cr_assert_geq(dup(0), 0);
	expect_told(&setup, "signet: test in / with one");
}

Test(child, in_a_directory)
{
	char path[] = "/tmp/signet-child-XXXXXX", wanted[128];
	struct child_setup setup;
	int directory;

	cr_assert_neq(mkdtemp(path), NULL);
	directory = open(path, O_DIRECTORY | O_CLOEXEC);
	setup = setup_of(directory);
	snprintf(wanted, sizeof(wanted), "signet: test in %s with one", path);
	expect_told(&setup, wanted);
	rmdir(path);
}

/* Lives so long each time, and then waits so long. */
Test(child, waits_longer_each_time)
{
	static const struct {
		const char *name;
		uint64_t lived_ms, waits_ms;
	} rows[] = {
		{"at once", 0, 0},
		{"a second", 10, 1 * SECOND},
		{"two", 0, 2 * SECOND},
		{"four", 59 * SECOND, 4 * SECOND},
		{"eight", 0, 8 * SECOND},
		{"sixteen", 0, 16 * SECOND},
		{"the longest", 0, 32 * SECOND},
		{"and not longer", MINUTE, 32 * SECOND},
		{"one that has lived", MINUTE + 1, 0},
		{"and from the start again", 0, 1 * SECOND},
	};
	struct child child = {0};

	fake_clock_pass(HOUR);
	for (size_t i = 0; i < COUNT(rows); i++) {
		child.pid = 1;
		child.started_ms = clock_now_ms();
		fake_clock_pass(rows[i].lived_ms);
		child_died(&child);
		cr_expect_eq(child.restart_at_ms,
			     clock_now_ms() + rows[i].waits_ms, "%s",
			     rows[i].name);
		cr_expect_eq(child.pid, 0, "%s", rows[i].name);
	}
}

Test(child, nothing_to_kill)
{
	struct child child = {0};

	child_kill(&child); /* and not our whole process group */
}
