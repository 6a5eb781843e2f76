#include "relay/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* A child that dies again is started again after 0, 1, 2, 4, … 32 s; one that
 * lived this long starts from 0. */
#define RESTART_FORGET_MS (60 * SECOND)
#define RESTART_DELAY_MAX_MS (32 * SECOND)
/* What it is in the middle of may be a call that nothing interrupts. */
#define HOLD_LOOKS_MAX 100
/* Where a child finds its control socket. */
#define CHILD_CONTROL 3

void
child_died(struct child *child)
{
	uint64_t now_ms = clock_now_ms();

	if (now_ms - child->started_ms > RESTART_FORGET_MS)
		child->delay_ms = 0;
	child->restart_at_ms = now_ms + child->delay_ms;
	child->delay_ms = child->delay_ms == 0 ? SECOND : 2 * child->delay_ms;
	if (child->delay_ms > RESTART_DELAY_MAX_MS)
		child->delay_ms = RESTART_DELAY_MAX_MS;
	child->pid = 0;
}

void
child_kill(const struct child *child)
{
	if (child->pid != 0)
		kill(child->pid, SIGKILL);
}

/* Whether it stands still, or has ended. */
static bool
is_still(const struct child *child)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)child->pid, &info,
		      WSTOPPED | WEXITED | WNOHANG | WNOWAIT) < 0 ||
	       info.si_pid != 0;
}

bool
child_hold(const struct child *child)
{
	static const struct timespec a_moment = {.tv_nsec = 1000000};

	if (child->pid == 0 || is_still(child) ||
	    kill(child->pid, SIGSTOP) < 0)
		return false;
	for (int i = 0; i < HOLD_LOOKS_MAX && !is_still(child); i++)
		nanosleep(&a_moment, NULL);
	return true;
}

void
child_let_go(const struct child *child)
{
	kill(child->pid, SIGCONT);
}

_Noreturn static void
exec_fail(const struct child_setup *setup, const struct fault *fault)
{
	fprintf(stderr, "signet: starting the %s process: %s\n", setup->name,
		fault->text);
	_exit(fault->kind == FAULT_DENIED ? EX_NOPERM : EX_TEMPFAIL);
}

/* In the child. It takes the control socket along and nothing else: whoever
 * started us may have left descriptors open. */
_Noreturn static void
child_exec(const struct child_setup *setup, int control, pid_t parent)
{
	char *const arguments[] = {(char *)(uintptr_t)setup->title,
				   (char *)(uintptr_t)setup->command, NULL};
	struct fault fault = {0};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Before its directory, which root may not be let into: a container's
	 * lacks capabilities. */
	if (!identity_become(setup->identity, &fault))
		exec_fail(setup, &fault);
	if (setup->directory >= 0 ? fchdir(setup->directory) < 0
				  : chdir("/") < 0) {
		fault_errno(&fault, "its directory");
		exec_fail(setup, &fault);
	}
	if (control == CHILD_CONTROL ? fcntl(control, F_SETFD, 0) < 0
				     : dup2(control, CHILD_CONTROL) < 0) {
		fault_errno(&fault, "control socket");
		exec_fail(setup, &fault);
	}
	closefrom(CHILD_CONTROL + 1);
	/* After the change of user, which would clear it; what ended before
	 * sends no signal. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(EX_UNAVAILABLE);
	execv("/proc/self/exe", arguments);
	fault_errno(&fault, "/proc/self/exe");
	exec_fail(setup, &fault);
}

bool
child_start(struct child *child, const struct child_setup *setup,
	    int *control_out, struct fault *fault)
{
	pid_t parent = getpid();
	int pair[2];

	ASSERT(child->pid == 0);
	child->started_ms = clock_now_ms();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_errno(fault, "control socket");
	child->pid = fork();
	if (child->pid == 0)
		child_exec(setup, pair[1], parent);
	if (child->pid < 0) {
		child->pid = 0;
		fault_errno(fault, "starting the %s process", setup->name);
		close(pair[0]);
		close(pair[1]);
		return false;
	}
	close(pair[1]);
	*control_out = pair[0];
	return true;
}
