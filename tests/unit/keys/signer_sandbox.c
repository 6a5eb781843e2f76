#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys/signer_sandbox.h"
#include "keys/signer_wire.h"
#include "tests/unit/keys/signer_stage.h"

static void
proc_path(const struct stage *stage, const char *name, char *out, size_t size)
{
	snprintf(out, size, "/proc/%ld/%s", (long)stage->process.pid, name);
}

static void
status_field(const struct stage *stage, const char *field, char *out,
	     size_t size)
{
	char path[64], line[256];
	FILE *file;

	proc_path(stage, "status", path, sizeof(path));
	file = fopen(path, "r");
	cr_assert_not_null(file);
	*out = '\0';
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			snprintf(out, size, "%s",
				 line + strlen(field) + strspn(line +
							strlen(field), "\t "));
	fclose(file);
	out[strcspn(out, "\n")] = '\0';
}

Test(signer_sandbox, is_confined)
{
	struct stage stage;
	char value[256], path[64];

	stage_start(&stage);
	status_field(&stage, "Seccomp:", value, sizeof(value));
	cr_expect_str_eq(value, "2");
	status_field(&stage, "NoNewPrivs:", value, sizeof(value));
	cr_expect_str_eq(value, "1");
	status_field(&stage, "Name:", value, sizeof(value));
	cr_expect_str_eq(value, "signet-signer");
	proc_path(&stage, "mem", path, sizeof(path));
	if (geteuid() != 0)
		cr_expect_lt(open(path, O_RDONLY), 0);
	stage_stop(&stage, false);
}

static const char *
descriptor_target(const struct stage *stage, const char *name)
{
	static char target[256];
	char path[400], link[300];
	ssize_t len;

	snprintf(link, sizeof(link), "fd/%s", name);
	proc_path(stage, link, path, sizeof(path));
	len = readlink(path, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	return target;
}

Test(signer_sandbox, holds_no_descriptors_but_its_own)
{
	struct stage stage;
	struct signer_client *client;
	char path[64];
	DIR *directory;
	size_t sockets = 0, others = 0;

	/* Something that must not be inherited, even without O_CLOEXEC. */
	cr_assert(dup2(STDERR_FILENO, 77) == 77);
	stage_start(&stage);
	client = attach(&stage);
	proc_path(&stage, "fd", path, sizeof(path));
	directory = opendir(path);
	/* What is not dumpable shows them to root only. */
	cr_expect_eq(directory != NULL, geteuid() == 0);
	for (struct dirent *entry;
	     directory != NULL && (entry = readdir(directory)) != NULL;) {
		const char *target = descriptor_target(&stage, entry->d_name);

		if (entry->d_name[0] == '.' ||
		    strcmp(target, "/dev/null") == 0 ||
		    strcmp(target, "anon_inode:[eventpoll]") == 0 ||
		    strcmp(entry->d_name, "2") == 0)
			continue;
		if (strncmp(target, "socket:", 7) == 0)
			sockets++;
		else
			others++;
	}
	if (directory != NULL) {
		closedir(directory);
		cr_expect_eq(sockets, 2, "%zu sockets: control and one client",
			     sockets);
	}
	cr_expect_eq(others, 0);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_sandbox, becomes_another_user_and_is_not_dumpable)
{
	struct stage stage;
	struct fault fault = {0};
	struct stat status;
	char path[64], value[256];

	stage_init(&stage);
	if (geteuid() != 0) {
		cr_expect_not(signer_start(geteuid() + 1, 0, &stage.process,
					   &fault));
		cr_expect_eq(fault.kind, FAULT_DENIED);
		files_done(&stage.files);
		return;
	}
	cr_assert(signer_start(65534, 65533, &stage.process, &fault), "%s",
		  fault.text);
	status_field(&stage, "Uid:", value, sizeof(value));
	cr_expect_str_eq(value, "65534\t65534\t65534\t65534");
	status_field(&stage, "Gid:", value, sizeof(value));
	cr_expect_str_eq(value, "65533\t65533\t65533\t65533");
	status_field(&stage, "Groups:", value, sizeof(value));
	cr_expect_str_eq(value, "");
	status_field(&stage, "CapEff:", value, sizeof(value));
	cr_expect_str_eq(value, "0000000000000000");
	/* proc(5): what is not dumpable belongs to root. */
	proc_path(&stage, "mem", path, sizeof(path));
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_uid, 0);
	cr_expect(stage_load(&stage, false, &fault), "%s", fault.text);
	stage_stop(&stage, false);
}

Test(signer_sandbox, ignores_signals_that_go_to_everyone)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	struct stage stage;
	struct signer_client *client;
	struct ask ask;

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(signals); i++)
		kill(stage.process.pid, signals[i]);
	ask_init(&ask, public_at(&stage, 1), 1);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect(ask_is_signed(&ask, public_at(&stage, 1)), "%s", ask.text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_sandbox, ends_with_the_process_that_started_it)
{
	struct stage stage;
	struct pollfd end = {.events = 0};
	int ends[2];
	pid_t parent;

	stage_init(&stage);
	cr_assert_eq(pipe(ends), 0);
	parent = fork();
	if (parent == 0) {
		/* The signer keeps only stderr: the pipe ends with it. */
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		if (!signer_start(0, 0, &stage.process, NULL))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(ends[1]);
	end.fd = ends[0];
	cr_expect_eq(poll(&end, 1, 60000), 1);
	cr_expect(end.revents & POLLHUP);
	cr_assert_eq(waitpid(parent, NULL, 0), parent);
	close(ends[0]);
	files_done(&stage.files);
}

/* ---- what the filter refuses ---- */

static int
try_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int
try_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int
try_open(void)
{
	return open("/dev/null", O_RDONLY);
}

static int
try_execve(void)
{
	static char name[] = "true";
	char *arguments[] = {name, NULL};

	return execve("/bin/true", arguments, arguments + 1);
}

static int
try_fork(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	return child;
}

static int
try_executable_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? -1
		       : 0;
}

static int
try_ptrace(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int
try_write_elsewhere(void)
{
	return (int)write(SIGNER_CONTROL, "x", 1);
}

static int
try_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static const struct {
	const char *name;
	int (*run)(void);
} forbidden[] = {
	{"an Internet socket", try_socket},
	{"a local socket", try_unix_socket},
	{"opening a file", try_open},
	{"another program", try_execve},
	{"another process", try_fork},
	{"executable memory", try_executable_memory},
	{"tracing", try_ptrace},
	{"writing to the control socket", try_write_elsewhere},
	{"being dumpable again", try_dumpable},
};

/* Killed by SIGSYS; with sanitizers some are refused instead. */
Test(signer_sandbox, other_calls_end_the_process)
{
	for (size_t i = 0; i < COUNT(forbidden); i++) {
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			if (!sandbox_process(NULL) || !sandbox_calls(NULL))
				_exit(1);
			_exit(forbidden[i].run() < 0 ? 0 : 2);
		}
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_expect((WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) ||
				  (SANITIZED && WIFEXITED(status) &&
				   WEXITSTATUS(status) == 0),
			  "%s: %x", forbidden[i].name, status);
	}
}
