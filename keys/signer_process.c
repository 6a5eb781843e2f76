#include "keys/signer_process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/sandbox.h"

/* The answers to SIGNER_CALLS_MAX calls fit into a socket of this size, each
 * with what the kernel adds to it. */
#define CLIENT_SOCKET_SIZE (256 << 10)
/* How long an ending signer is given before it is killed. */
#define STOP_TIMEOUT_MS 5000
/* A deadline that has passed. */
#define DO_NOT_WAIT 1

bool
process_send(struct signer_process *process, struct control_message *message,
	     enum control_verb verb, const int *descriptors, size_t count,
	     uint64_t deadline_ms, struct fault *fault)
{
	message->verb = verb;
	message->serial = ++process->serial;
	message->len = 0;
	return control_send(process->control, message, descriptors, count,
			    deadline_ms, fault);
}

/* The answer to a look may come before that to what was asked behind it. */
static void
look_hear(struct signer_process *process, const struct control_message *message)
{
	if (message->verb != CONTROL_LOOK || process->asked == 0 ||
	    message->serial != process->asked)
		return;
	process->heard = process->asked;
	process->asked = 0;
	process->looks_stuck = message->count;
	process->clients = message->index;
}

/* Answers of a call that was given up on may still come: they are passed
 * over. */
bool
process_receive(struct signer_process *process, struct control_message *message,
		enum control_verb verb, uint64_t deadline_ms,
		struct fault *fault)
{
	int descriptors[CONTROL_KEYS_MAX];
	size_t count;

	do {
		if (!control_receive(process->control, message, descriptors,
				     &count, deadline_ms, fault)) {
			/* "Absent" is for files, to callers. */
			if (fault != NULL && fault->kind != FAULT_SYSTEM)
				fault->kind = FAULT_BUSY;
			return false;
		}
		while (count > 0)
			close(descriptors[--count]);
		look_hear(process, message);
	} while (message->serial != process->serial);
	if (message->verb == CONTROL_FAULT)
		return control_fault_read(message, fault);
	if (message->verb != (uint32_t)verb)
		return fault_set(fault, FAULT_SYSTEM,
				 "the signer process answers out of turn");
	return true;
}

/* ---- the child, between fork and exec: async-signal-safe calls only ---- */

static _Noreturn void
child_fail(int control, const char *what)
{
	struct control_message message = {.verb = CONTROL_FAULT,
					  .detail = FAULT_SYSTEM,
					  .system = errno};
	const char *parts[] = {what, ": ", strerrordesc_np(errno)};

	if (errno == EPERM || errno == EACCES)
		message.detail = FAULT_DENIED;
	for (size_t i = 0; i < COUNT(parts) && parts[i] != NULL; i++) {
		size_t len = strlen(parts[i]);

		memcpy(message.bytes + message.len, parts[i], len);
		message.len += (uint32_t)len;
	}
	_exit(control_send(control, &message, NULL, 0, 0, NULL) ? EX_NOPERM
								 : EX_OSERR);
}

/* Its life ends with the control socket, and by no signal that goes to a whole
 * group (a terminal's ^C, a service manager's stop): mail in flight still
 * needs it then. Ignored signals stay so over exec. */
static void
child_ignore_signals(void)
{
	static const int ignored[] = {SIGTERM, SIGINT,  SIGHUP, SIGQUIT,
				      SIGPIPE, SIGUSR1, SIGUSR2};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t none;

	for (size_t i = 0; i < COUNT(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
child_become(int control, uid_t uid, gid_t gid)
{
	static const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	if (!sandbox_heirs(NULL))
		child_fail(control, "capabilities");
	if (geteuid() != 0)
		return;
	/* So that key memory can be locked; whether it may is seen there. */
	setrlimit(RLIMIT_MEMLOCK, &all);
	if (uid == 0 && gid == 0)
		return;
	if (setgroups(0, NULL) < 0)
		child_fail(control, "setgroups");
	if (gid != 0 && setresgid(gid, gid, gid) < 0)
		child_fail(control, "setresgid");
	if (uid != 0 && setresuid(uid, uid, uid) < 0)
		child_fail(control, "setresuid");
}

/* control and null are above 3. */
static _Noreturn void
child_run(int control, int null, uid_t uid, gid_t gid)
{
	static char name[] = "signet", verb[] = "signer-process";
	char *arguments[] = {name, verb, NULL};

	child_ignore_signals();
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(control, SIGNER_CONTROL) < 0)
		child_fail(control, "dup2");
	/* No descriptor of the signer's own may come to be its stderr. */
	if (fcntl(STDERR_FILENO, F_GETFD) < 0 && dup2(null, STDERR_FILENO) < 0)
		child_fail(control, "dup2");
	closefrom(SIGNER_CONTROL + 1);
	control = SIGNER_CONTROL;
	if (chdir("/") < 0)
		child_fail(control, "chdir");
	child_become(control, uid, gid);
	execve("/proc/self/exe", arguments, environ);
	child_fail(control, "execve /proc/self/exe");
}

/* ---- start, attach, stop ---- */

/* Above the descriptors that the child puts in place. */
static bool
move_up(int *descriptor, struct fault *fault)
{
	int moved = fcntl(*descriptor, F_DUPFD_CLOEXEC, SIGNER_CONTROL + 1);

	if (moved < 0)
		return fault_errno(fault, "signer process");
	close(*descriptor);
	*descriptor = moved;
	return true;
}

static bool
signer_fork(uid_t uid, gid_t gid, struct signer_process *process,
	    struct fault *fault)
{
	CLEAN(clean_descriptor) int theirs = -1, null = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_errno(fault, "signer process");
	process->control = pair[0];
	theirs = pair[1];
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return fault_errno(fault, "/dev/null");
	if (!move_up(&process->control, fault) || !move_up(&theirs, fault) ||
	    !move_up(&null, fault))
		return false;
	process->pid = fork();
	if (process->pid == 0)
		child_run(theirs, null, uid, gid);
	if (process->pid < 0)
		return fault_errno(fault, "starting the signer process");
	return true;
}

bool
signer_start(uid_t uid, gid_t gid, struct signer_process *process_out,
	     struct fault *fault)
{
	struct signer_process process = {.pid = -1, .control = -1};
	uint64_t deadline_ms = clock_now_ms() + SIGNER_CONTROL_TIMEOUT_MS;
	struct control_message message;

	if (geteuid() != 0 && ((uid != 0 && uid != geteuid()) ||
			       (gid != 0 && gid != getegid())))
		return fault_set(fault, FAULT_DENIED,
				 "only root can start the signer process as "
				 "another user");
	if (!signer_fork(uid, gid, &process, fault) ||
	    !process_receive(&process, &message, CONTROL_HELLO, deadline_ms,
			     fault)) {
		signer_stop(&process);
		if (WIFSIGNALED(process.pid_status))
			fault_within(fault, "killed by signal %d",
				     WTERMSIG(process.pid_status));
		return fault_within(fault, "starting the signer process");
	}
	*process_out = process;
	return true;
}

bool
signer_attach(struct signer_process *process, int *client_out,
	      struct fault *fault)
{
	uint64_t deadline_ms = clock_now_ms() + SIGNER_CONTROL_TIMEOUT_MS;
	CLEAN(clean_descriptor) int ours = -1, theirs = -1;
	struct control_message message = {0};
	int size = CLIENT_SOCKET_SIZE, pair[2];

	if (socketpair(AF_UNIX,
		       SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       pair) < 0)
		return fault_errno(fault, "client of the signer process");
	ours = pair[0];
	theirs = pair[1];
	if (setsockopt(theirs, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		return fault_errno(fault, "client of the signer process");
	if (!process_send(process, &message, CONTROL_ATTACH, &theirs, 1,
			  deadline_ms, fault) ||
	    !process_receive(process, &message, CONTROL_DONE, deadline_ms,
			     fault))
		return false;
	*client_out = descriptor_take(&ours);
	return true;
}

static bool
look_is_answered(struct signer_process *process)
{
	struct pollfd answer = {.fd = process->control, .events = POLLIN};
	int descriptors[CONTROL_KEYS_MAX];
	struct control_message message;
	size_t count;

	while (process->asked != 0 && poll(&answer, 1, 0) > 0 &&
	       control_receive(process->control, &message, descriptors, &count,
			       0, NULL)) {
		while (count > 0)
			close(descriptors[--count]);
		look_hear(process, &message);
	}
	return process->asked == 0;
}

unsigned
signer_look(struct signer_process *process)
{
	struct control_message message = {0};

	if (look_is_answered(process)) {
		bool is_sent = process_send(process, &message, CONTROL_LOOK,
					    NULL, 0, DO_NOT_WAIT, NULL);

		if (is_sent)
			process->asked = process->serial;
		process->looks_unanswered =
			is_sent ? 0 : process->looks_unanswered + 1;
	} else {
		process->looks_unanswered++;
	}
	return process->looks_unanswered > process->looks_stuck
		       ? process->looks_unanswered
		       : process->looks_stuck;
}

bool
signer_owes_look(struct signer_process *process)
{
	return !look_is_answered(process);
}

/* Waits until the process has ended; kills one that takes too long. */
static void
reap(struct signer_process *process)
{
	struct pollfd ended = {.events = POLLIN};
	int ready = 0;

	ended.fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	if (ended.fd >= 0) {
		uint64_t until = clock_now_ms() + STOP_TIMEOUT_MS, now;

		do {
			now = clock_now_ms();
			ready = now < until ? poll(&ended, 1,
						   (int)(until - now))
					    : 0;
		} while (ready < 0 && errno == EINTR);
		close(ended.fd);
	}
	/* Root without CAP_KILL may be refused that. */
	if (ready <= 0 && kill(process->pid, SIGKILL) < 0)
		return;
	while (waitpid(process->pid, &process->pid_status, 0) < 0 &&
	       errno == EINTR)
		;
}

void
signer_stop(struct signer_process *process)
{
	clean_descriptor(&process->control);
	if (process->pid > 0)
		reap(process);
	process->pid = -1;
}
