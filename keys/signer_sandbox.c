#include "keys/signer_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "keys/signer_wire.h"

#if SANITIZED
/* A report ends the process, so that its exit status tells. */
const char *__ubsan_default_options(void);

const char *
__ubsan_default_options(void)
{
	return "halt_on_error=1:print_stacktrace=1";
}
#endif

#define REFUSE SCMP_ACT_ERRNO(EPERM)
#define NOT_EXECUTABLE SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)
#define TO_STDERR SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO)

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

/* What a report is made with. The file that it goes to may be made; nothing
 * that is there may be opened, nor another process started: the report comes
 * without source lines then. */
static const int sanitizer_calls[] = {
	SCMP_SYS(sigaltstack), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(getuid32), SCMP_SYS(geteuid32),
	SCMP_SYS(getppid), SCMP_SYS(fstat), SCMP_SYS(fstat64),
	SCMP_SYS(lseek), SCMP_SYS(_llseek),
	SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(ugetrlimit),
	SCMP_SYS(kill), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(nanosleep),
	/* ThreadSanitizer's own thread may still be at its start. */
	SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
};
static const int sanitizer_refused_calls[] = {
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat),
	SCMP_SYS(stat64), SCMP_SYS(lstat64), SCMP_SYS(fstatat64),
	SCMP_SYS(newfstatat), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(fork), SCMP_SYS(vfork),
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(ioctl), SCMP_SYS(prctl),
	SCMP_SYS(personality), SCMP_SYS(getcwd), SCMP_SYS(statx),
	SCMP_SYS(getdents64), SCMP_SYS(wait4), SCMP_SYS(process_vm_readv),
	SCMP_SYS(uname), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(fcntl),
	SCMP_SYS(fcntl64),
};

bool
sandbox_process(struct fault *fault)
{
	struct rlimit limit;

	if (!sandbox_privileges(fault))
		return false;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return fault_errno(fault, "prctl");
	prctl(PR_SET_NAME, "signet-signer", 0, 0, 0);
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

/* Memory is never made executable, and nothing is written but to stderr. */
static const struct sandbox_condition conditions[] = {
	{SANDBOX_MMAP, SCMP_ACT_ALLOW, NOT_EXECUTABLE},
	{SCMP_SYS(mmap2), SCMP_ACT_ALLOW, NOT_EXECUTABLE},
	{SCMP_SYS(mprotect), SCMP_ACT_ALLOW, NOT_EXECUTABLE},
	{SCMP_SYS(write), SCMP_ACT_ALLOW, TO_STDERR},
	{SCMP_SYS(writev), SCMP_ACT_ALLOW, TO_STDERR},
	/* with sanitizers */
	{SCMP_SYS(write), SCMP_ACT_ALLOW,
	 SCMP_A0(SCMP_CMP_GT, SIGNER_CONTROL)},
	{SCMP_SYS(open), SCMP_ACT_ALLOW,
	 SCMP_A1(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT)},
	{SCMP_SYS(openat), SCMP_ACT_ALLOW,
	 SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT)},
	{SCMP_SYS(open), REFUSE, SCMP_A1(SCMP_CMP_MASKED_EQ, O_CREAT, 0)},
	{SCMP_SYS(openat), REFUSE, SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT, 0)},
};
#define SANITIZER_CONDITIONS 5

bool
sandbox_calls(struct fault *fault)
{
	/* The last two with sanitizers only. */
	static const struct sandbox_calls lists[] = {
		{allowed_calls, COUNT(allowed_calls), SCMP_ACT_ALLOW},
		{sanitizer_calls, COUNT(sanitizer_calls), SCMP_ACT_ALLOW},
		{sanitizer_refused_calls, COUNT(sanitizer_refused_calls),
		 REFUSE},
	};
	static const struct sandbox_filter filter = {
		.lists = lists,
		.lists_count = SANITIZED ? COUNT(lists) : 1,
		.conditions = conditions,
		.conditions_count =
			COUNT(conditions) -
			(SANITIZED ? 0 : SANITIZER_CONDITIONS),
		.others = SCMP_ACT_KILL_PROCESS,
	};

	return sandbox_filter(&filter, fault);
}
