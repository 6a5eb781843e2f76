#include "keys/signer_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "keys/signer_wire.h"

#if SIGNER_SANITIZED
/* A report ends the process, so that its exit status tells. */
const char *__ubsan_default_options(void);

const char *
__ubsan_default_options(void)
{
	return "halt_on_error=1:print_stacktrace=1";
}
#endif

/* What stays allowed, and what for. The memory calls have rules of their own
 * below. On machines that lack one of them libseccomp passes over it. */
static const int allowed_calls[] = {
	/* requests, answers, control */
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl),
	SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg), SCMP_SYS(recvmmsg_time64),
	SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(shutdown),
	/* key files, as descriptors that were handed in */
	SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(close),
	/* threads and memory */
	SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(munmap),
	SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
	/* OpenSSL: its random numbers, and did we fork */
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
	/* clocks, where they are no vDSO call */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_gettime64),
	SCMP_SYS(gettimeofday), SCMP_SYS(time),
	/* to end, also by ASSERT */
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(tgkill),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigreturn), SCMP_SYS(restart_syscall),
};

#if SIGNER_SANITIZED
/* What a report is made with. The file that it goes to may be made; nothing
 * that is there may be opened, nor another process started: the report comes
 * without source lines then. */
static const int sanitizer_calls[] = {
	SCMP_SYS(sigaltstack), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(getppid), SCMP_SYS(fstat), SCMP_SYS(lseek),
	SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(kill),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
};
static const int sanitizer_refused_calls[] = {
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat),
	SCMP_SYS(newfstatat), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(fork), SCMP_SYS(vfork),
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(ioctl), SCMP_SYS(prctl),
	SCMP_SYS(personality), SCMP_SYS(getcwd), SCMP_SYS(statx),
	SCMP_SYS(getdents64), SCMP_SYS(wait4), SCMP_SYS(process_vm_readv),
	SCMP_SYS(uname), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(fcntl),
};
#endif

static bool
fault_from(int result, struct fault *fault, const char *what)
{
	errno = -result;
	return fault_errno(fault, "%s", what);
}

bool
sandbox_process(struct fault *fault)
{
	static const struct rlimit none = {0, 0};
	struct rlimit limit;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return fault_errno(fault, "prctl");
	prctl(PR_SET_NAME, "signet-signer", 0, 0, 0);
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return fault_errno(fault, "RLIMIT_CORE");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	/* Only without a limit: under one, a later allocation would fail. */
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
	    limit.rlim_cur == RLIM_INFINITY)
		mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	return true;
}

static int
allow_all(scmp_filter_ctx filter, const int *calls, size_t count,
	  uint32_t action)
{
	for (size_t i = 0; i < count; i++) {
		int result = seccomp_rule_add(filter, action, calls[i], 0);

		if (result < 0)
			return result;
	}
	return 0;
}

struct conditional {
	int call;
	uint32_t action;
	struct scmp_arg_cmp condition;
};

static int
add_conditional(scmp_filter_ctx filter, const struct conditional *rows,
		size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int result = seccomp_rule_add(filter, rows[i].action,
					      rows[i].call, 1,
					      rows[i].condition);

		if (result < 0)
			return result;
	}
	return 0;
}

/* Memory is never made executable, and nothing is written but to stderr. */
static int
allow_with_conditions(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp not_executable =
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	const struct scmp_arg_cmp to_stderr =
		SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO);
	const struct conditional rows[] = {
		{SCMP_SYS(mmap), SCMP_ACT_ALLOW, not_executable},
		{SCMP_SYS(mmap2), SCMP_ACT_ALLOW, not_executable},
		{SCMP_SYS(mprotect), SCMP_ACT_ALLOW, not_executable},
		{SCMP_SYS(write), SCMP_ACT_ALLOW, to_stderr},
		{SCMP_SYS(writev), SCMP_ACT_ALLOW, to_stderr},
	};

	return add_conditional(filter, rows, COUNT(rows));
}

#if SIGNER_SANITIZED
static int
allow_sanitizer(scmp_filter_ctx filter)
{
	const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
	const struct conditional rows[] = {
		{SCMP_SYS(write), SCMP_ACT_ALLOW,
		 SCMP_A0(SCMP_CMP_GT, SIGNER_CONTROL)},
		{SCMP_SYS(open), SCMP_ACT_ALLOW,
		 SCMP_A1(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT)},
		{SCMP_SYS(openat), SCMP_ACT_ALLOW,
		 SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT)},
		{SCMP_SYS(open), refuse,
		 SCMP_A1(SCMP_CMP_MASKED_EQ, O_CREAT, 0)},
		{SCMP_SYS(openat), refuse,
		 SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT, 0)},
	};
	int result = allow_all(filter, sanitizer_calls, COUNT(sanitizer_calls),
			       SCMP_ACT_ALLOW);

	if (result == 0)
		result = allow_all(filter, sanitizer_refused_calls,
				   COUNT(sanitizer_refused_calls), refuse);
	if (result == 0)
		result = add_conditional(filter, rows, COUNT(rows));
	return result;
}
#endif

static int
filter_fill(scmp_filter_ctx filter)
{
	int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (result == 0)
		result = allow_all(filter, allowed_calls, COUNT(allowed_calls),
				   SCMP_ACT_ALLOW);
	if (result == 0)
		result = allow_with_conditions(filter);
#if SIGNER_SANITIZED
	if (result == 0)
		result = allow_sanitizer(filter);
#endif
	return result;
}

bool
sandbox_calls(struct fault *fault)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int result;

	if (filter == NULL)
		return fault_set(fault, FAULT_SYSTEM, "seccomp filter");
	result = filter_fill(filter);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	if (result < 0)
		return fault_from(result, fault, "seccomp filter");
	return true;
}
