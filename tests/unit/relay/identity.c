#include "relay/identity.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static void
directory_new(void)
{
	snprintf(directory, sizeof(directory), "/tmp/signet-state-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
}

static void
directory_remove(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	cr_assert_eq(system(command), 0);
}

TestSuite(identity, .init = directory_new, .fini = directory_remove);

static void
file_put(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	cr_assert_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
}

static uid_t
owner_of(const char *name)
{
	char path[128];
	struct stat status;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	cr_assert_eq(lstat(path, &status), 0);
	return status.st_uid;
}

Test(identity, users)
{
	static const struct row {
		const char *name, *user, *signer;
		bool is_found, is_root;
	} rows[] = {
		{"a user", "nobody", "", true},
		{"root, which is said", "root", "", true, true},
		{"both", "nobody", "daemon", true},
		{"no such user", "signet-nobody-is-so", "", false},
		{"no such signer", "nobody", "signet-nobody-is-so", false},
	};

	if (geteuid() != 0)
		cr_skip_test("only root becomes another");
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEAN(text_done) struct text warning = {0};
		struct options *options = options_default();
		struct identity relay = {0}, signer = {0};
		struct fault fault = {0};

		options->user = SLICE(rows[i].user);
		options->signer_user = SLICE(rows[i].signer);
		cr_expect_eq(identity_find(options, &relay, &signer, &warning,
					   &fault),
			     rows[i].is_found, "%s", rows[i].name);
		cr_expect_eq(warning.len > 0, rows[i].is_root, "%s",
			     rows[i].name);
		if (rows[i].is_found)
			cr_expect_eq(relay.uid == 0, rows[i].is_root, "%s",
				     rows[i].name);
		else
			cr_expect_eq(fault.kind, FAULT_INPUT, "%s",
				     rows[i].name);
		options_free(options);
	}
}

Test(identity, the_queue_of_another_user_is_taken_over)
{
	const struct identity other = {65534, 65534};
	struct fault fault = {0};
	int descriptor = -1;

	if (geteuid() != 0)
		cr_skip_test("only root gives files away");
	file_put("data.mdb");
	cr_assert(identity_state_dir(&other, directory, &descriptor, &fault),
		  "%s", fault.text);
	cr_expect_eq(owner_of("."), 65534);
	cr_expect_eq(owner_of("data.mdb"), 65534);
	close(descriptor);
}

Test(identity, what_is_not_ours_stays)
{
	const struct identity other = {65534, 65534};
	struct fault fault = {0};
	int descriptor = -1;

	if (geteuid() != 0)
		cr_skip_test("only root gives files away");
	file_put("data.mdb");
	file_put("passwords");
	cr_expect(!identity_state_dir(&other, directory, &descriptor, &fault));
	cr_expect_eq(fault.kind, FAULT_DENIED);
	cr_expect(strstr(fault.text, "passwords") != NULL, "%s", fault.text);
	cr_expect_eq(owner_of("."), geteuid());
	cr_expect_eq(owner_of("data.mdb"), geteuid());
	cr_expect_eq(descriptor, -1);
}

/* A link in it is given away, never what it points to. */
Test(identity, links_are_not_followed)
{
	const struct identity other = {65534, 65534};
	char target[128], link[128];
	struct fault fault = {0};
	struct stat status;
	int descriptor = -1;

	if (geteuid() != 0)
		cr_skip_test("only root gives files away");
	snprintf(target, sizeof(target), "%s-target", directory);
	snprintf(link, sizeof(link), "%s/queue", directory);
	cr_assert_eq(mkdir(target, 0700), 0);
	cr_assert_eq(symlink(target, link), 0);
	cr_assert(identity_state_dir(&other, directory, &descriptor, &fault),
		  "%s", fault.text);
	cr_assert_eq(stat(target, &status), 0);
	cr_expect_eq(status.st_uid, geteuid());
	close(descriptor);
	rmdir(target);
}

Test(identity, says_whose_a_directory_is)
{
	static const mode_t modes[] = {0755, 0700};
	const struct identity unused = {0};

	if (geteuid() != 0)
		cr_skip_test("only root can become another");
	for (size_t i = 0; i < COUNT(modes); i++) {
		struct fault fault = {0};
		int descriptor = -1;

		cr_assert_eq(chmod(directory, modes[i]), 0);
		cr_assert_eq(seteuid(65534), 0);
		cr_expect(!identity_state_dir(&unused, directory, &descriptor,
					      &fault));
		cr_assert_eq(seteuid(0), 0);
		cr_expect_eq(fault.kind, FAULT_DENIED);
		cr_expect_not_null(
			strstr(fault.text,
			       "is user 0's, and this runs as user 65534"),
			"%s", fault.text);
		cr_expect_eq(descriptor, -1);
	}
}

Test(identity, a_missing_directory_is_made)
{
	const struct identity nobody_else = {geteuid(), getegid()};
	char path[128];
	struct fault fault = {0};
	struct stat status;
	int descriptor = -1;

	snprintf(path, sizeof(path), "%s/a/b", directory);
	cr_assert(identity_state_dir(&nobody_else, path, &descriptor, &fault),
		  "%s", fault.text);
	cr_assert_eq(fstat(descriptor, &status), 0);
	cr_expect_eq(status.st_mode & 0777, 0700);
	close(descriptor);
}

/* What a crafted queue or a host does to a command that root calls is done by
 * the relay's user; root's shell reads from the same terminal. */
Test(identity, who_was_root_types_nothing_for_root)
{
	struct options options = {.user = SLICE("nobody")};
	struct fault fault = {0};
	pid_t child;
	int status;

	if (geteuid() != 0)
		cr_skip_test("only root becomes another");
	child = fork();
	if (child == 0) {
		if (!identity_leave_root(&options, &fault))
			_exit(1);
		if (geteuid() == 0)
			_exit(2);
		_exit(ioctl(STDIN_FILENO, TIOCSTI, "x") < 0 && errno == EPERM
			      ? 0
			      : 3);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0, "it ends with %d", WEXITSTATUS(status));
}
