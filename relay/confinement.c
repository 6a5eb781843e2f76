#include "relay/confinement.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sandbox.h"

#define ALLOW SCMP_ACT_ALLOW
#define KILL SCMP_ACT_KILL_PROCESS
#define REFUSE SCMP_ACT_ERRNO(ENOSYS)

/* What a build with sanitizers says nothing about is missing on the list. */
#define OTHERS (SANITIZED ? KILL : REFUSE)

/* ---- the first step ---- */

static const int allowed_calls[] = {
	/* the network, and sockets of the family */
	SCMP_SYS(connect), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(bind),
	SCMP_SYS(listen), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
	SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	SCMP_SYS(socketpair), SCMP_SYS(send), SCMP_SYS(recv),
	SCMP_SYS(sendto), SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg), SCMP_SYS(recvmmsg_time64), SCMP_SYS(sendfile),
	SCMP_SYS(sendfile64),
	/* waiting */
	SCMP_SYS(epoll_create), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(ppoll_time64),
	SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(pselect6_time64),
	SCMP_SYS(_newselect), SCMP_SYS(eventfd), SCMP_SYS(eventfd2),
	SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_settime64),
	SCMP_SYS(alarm), SCMP_SYS(setitimer), SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_nanosleep_time64),
	SCMP_SYS(pause),
	/* what is open */
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv),
	SCMP_SYS(preadv2), SCMP_SYS(write), SCMP_SYS(writev),
	SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
	SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(close),
	SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
	SCMP_SYS(flock),
	/* files: the store, the spool, certificates, resolv.conf */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(fstat),
	SCMP_SYS(fstat64),
	SCMP_SYS(stat), SCMP_SYS(stat64), SCMP_SYS(lstat), SCMP_SYS(lstat64),
	SCMP_SYS(newfstatat), SCMP_SYS(fstatat64), SCMP_SYS(statx),
	SCMP_SYS(statfs), SCMP_SYS(statfs64), SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
	SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(getcwd),
	SCMP_SYS(fadvise64), SCMP_SYS(fadvise64_64),
	SCMP_SYS(arm_fadvise64_64), SCMP_SYS(readahead),
	SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64), SCMP_SYS(fallocate),
	SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range),
	SCMP_SYS(copy_file_range), SCMP_SYS(mkdir), SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir), SCMP_SYS(unlink), SCMP_SYS(unlinkat),
	SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
	SCMP_SYS(umask),
	/* memory; that of code has conditions below */
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
	SCMP_SYS(msync), SCMP_SYS(mincore), SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	/* threads */
	SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq), SCMP_SYS(membarrier), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler), SCMP_SYS(set_tid_address),
	/* signals, and the end, also by ASSERT */
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigreturn),
	SCMP_SYS(rt_sigtimedwait), SCMP_SYS(rt_sigtimedwait_time64),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
	/* asking */
	SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
	SCMP_SYS(getegid), SCMP_SYS(getresuid), SCMP_SYS(getresgid),
	SCMP_SYS(getuid32), SCMP_SYS(geteuid32), SCMP_SYS(getgid32),
	SCMP_SYS(getegid32), SCMP_SYS(getresuid32), SCMP_SYS(getresgid32),
	SCMP_SYS(getrandom), SCMP_SYS(uname), SCMP_SYS(sysinfo),
	SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(getcpu),
	SCMP_SYS(getrlimit), SCMP_SYS(ugetrlimit), SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64), SCMP_SYS(clock_getres),
	SCMP_SYS(clock_getres_time64), SCMP_SYS(gettimeofday), SCMP_SYS(time),
};

/* Never ours. */
static const int deadly_calls[] = {
	/* other programs */
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(uselib),
	/* other processes, and their memory */
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
	SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open), SCMP_SYS(personality),
	/* another user */
	SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid),
	SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid),
	SCMP_SYS(setfsuid), SCMP_SYS(setfsgid), SCMP_SYS(setgroups),
	SCMP_SYS(setuid32), SCMP_SYS(setgid32), SCMP_SYS(setreuid32),
	SCMP_SYS(setregid32), SCMP_SYS(setresuid32), SCMP_SYS(setresgid32),
	SCMP_SYS(setfsuid32), SCMP_SYS(setfsgid32), SCMP_SYS(setgroups32),
	SCMP_SYS(capset), SCMP_SYS(chroot), SCMP_SYS(pivot_root),
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(keyctl),
	SCMP_SYS(add_key), SCMP_SYS(request_key),
	/* the machine */
	SCMP_SYS(mount), SCMP_SYS(umount), SCMP_SYS(umount2),
	SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(move_mount),
	SCMP_SYS(open_tree), SCMP_SYS(mount_setattr), SCMP_SYS(mknod),
	SCMP_SYS(mknodat), SCMP_SYS(bpf), SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),
	SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(iopl),
	SCMP_SYS(ioperm), SCMP_SYS(acct), SCMP_SYS(quotactl),
	SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
	SCMP_SYS(settimeofday), SCMP_SYS(clock_settime),
	SCMP_SYS(clock_settime64), SCMP_SYS(adjtimex),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(fanotify_init),
};

/* The store is checked by a child, and a damaged one set aside; threads are
 * started, libraries may load others: the second step takes these away. */
static const int start_calls[] = {
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(fork), SCMP_SYS(vfork),
	SCMP_SYS(wait4), SCMP_SYS(kill), SANDBOX_MMAP, SCMP_SYS(mmap2),
	SCMP_SYS(mprotect), SCMP_SYS(seccomp), SCMP_SYS(link),
	SCMP_SYS(linkat),
};

/* Reports are made with these: at the end a copy of the process looks through
 * the memory of all threads for what is lost. */
static const int sanitizer_calls[] = {
	SCMP_SYS(ptrace), SCMP_SYS(prctl), SCMP_SYS(arch_prctl),
	SCMP_SYS(personality), SCMP_SYS(prlimit64), SCMP_SYS(setrlimit),
	SCMP_SYS(tgkill), SCMP_SYS(ioctl), SCMP_SYS(process_vm_readv),
	SCMP_SYS(waitid), SCMP_SYS(tkill), SCMP_SYS(sched_setaffinity),
};

/* Asked for by libuv from 1.45 on, which goes on without. */
static const int needless_calls[] = {SCMP_SYS(io_uring_setup)};

/* Conditions, with the exact values as the kernel has them. */
#define IS(argument, value) SCMP_CMP(argument, SCMP_CMP_EQ, value)
#define HAS(argument, bits) SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, bits, bits)
#define HAS_NOT(argument, bits) SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, bits, 0)

/* glibc names what it maps; <sys/prctl.h> of Debian 12 does not know. */
#define NAME_MEMORY 0x53564d41

/* F_GETLK and so on with numbers of 32 bits. */
#define SMALL_GETLK 5
#define SMALL_SETLK 6
#define SMALL_SETLKW 7

/* What a command of fcntl() may be. Others have the kernel send signals, also
 * SIGKILL, to whatever process of our user (F_SETOWN, F_SETSIG). */
#define FCNTL(command)                                                         \
	{SCMP_SYS(fcntl), ALLOW, IS(1, command)},                              \
	{                                                                      \
		SCMP_SYS(fcntl64), ALLOW, IS(1, command)                       \
	}

static const struct sandbox_condition first_conditions[] = {
	/* Of any family by the socketcall() of i386, which shows no arguments. */
	{SCMP_SYS(socket), ALLOW, IS(0, AF_INET)},
	{SCMP_SYS(socket), ALLOW, IS(0, AF_INET6)},
	{SCMP_SYS(socket), ALLOW, IS(0, AF_UNIX)},
	{SCMP_SYS(prctl), ALLOW, IS(0, PR_SET_NAME)},
	{SCMP_SYS(prctl), ALLOW, IS(0, NAME_MEMORY)},
	/* of the child that checks the store */
	{SCMP_SYS(prctl), ALLOW, IS(0, PR_SET_PDEATHSIG)},
	{SCMP_SYS(prctl), ALLOW, IS(0, PR_SET_DUMPABLE)},
	/* by the second step */
	{SCMP_SYS(prctl), ALLOW, IS(0, PR_SET_SECCOMP)},
	{SCMP_SYS(ioctl), ALLOW, IS(1, FIONBIO)},
	{SCMP_SYS(ioctl), ALLOW, IS(1, FIONREAD)},
	{SCMP_SYS(ioctl), ALLOW, IS(1, TIOCOUTQ)},
	{SCMP_SYS(ioctl), ALLOW, IS(1, FIOCLEX)},
	/* isatty(), of stdio */
	{SCMP_SYS(ioctl), ALLOW, IS(1, TCGETS)},
	/* Limits are read and not set. */
	{SCMP_SYS(prlimit64), ALLOW, IS(2, 0)},
	FCNTL(F_DUPFD), FCNTL(F_DUPFD_CLOEXEC), FCNTL(F_GETFD),
	FCNTL(F_SETFD), FCNTL(F_GETFL), FCNTL(F_SETFL),
	/* Of the store; and of its engine, which with 32 bits says them as it is
	 * compiled for small files. */
	FCNTL(F_GETLK), FCNTL(F_SETLK), FCNTL(F_SETLKW), FCNTL(F_OFD_SETLK),
	FCNTL(SMALL_GETLK), FCNTL(SMALL_SETLK), FCNTL(SMALL_SETLKW),
};

static bool
first_filter(struct fault *fault)
{
	const struct sandbox_calls lists[] = {
		{allowed_calls, COUNT(allowed_calls), ALLOW},
		{start_calls, COUNT(start_calls), ALLOW},
		{sanitizer_calls, SANITIZED ? COUNT(sanitizer_calls) : 0,
		 ALLOW},
		/* As without them: there the answer to all others. */
		{needless_calls, SANITIZED ? COUNT(needless_calls) : 0, REFUSE},
		/* All that is not allowed kills there. */
		{deadly_calls, SANITIZED ? 0 : COUNT(deadly_calls), KILL},
	};
	struct sandbox_condition conditions[COUNT(first_conditions) + 1];
	const struct sandbox_filter filter = {
		.lists = lists,
		.lists_count = COUNT(lists),
		.conditions = conditions,
		.conditions_count = COUNT(conditions),
		.others = OTHERS,
		.logs = true,
	};

	memcpy(conditions, first_conditions, sizeof(first_conditions));
	conditions[COUNT(first_conditions)] = (struct sandbox_condition){
		SCMP_SYS(tgkill), ALLOW, IS(0, (scmp_datum_t)getpid())};
	return sandbox_filter(&filter, fault);
}

bool
confinement_begin(const char *directory, struct fault *fault)
{
	if (!sandbox_privileges(fault))
		return false;
	/* A sanitizer's reports are files elsewhere. */
	if (!SANITIZED && !sandbox_files(directory, fault))
		return false;
	return first_filter(fault);
}

/* ---- the second step ---- */

#define NO_ACCESS SCMP_ACT_ERRNO(EACCES)

static const int process_calls[] = {SCMP_SYS(fork), SCMP_SYS(vfork)};
/* Without clone3(), whose flags cannot be seen, glibc calls clone(). */
static const int refused_calls[] = {SCMP_SYS(clone3), SCMP_SYS(wait4),
				    SCMP_SYS(kill), SCMP_SYS(link),
				    SCMP_SYS(linkat)};

/* A milter keeps no files. */
static const int file_calls[] = {
	SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(unlink),
	SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64),
	SCMP_SYS(fallocate), SCMP_SYS(listen),
	SCMP_SYS(openat2), /* the flags cannot be seen */
};

static const struct sandbox_condition relay_conditions[] = {
	{SCMP_SYS(prctl), REFUSE, IS(0, PR_SET_DUMPABLE)},
	{SANDBOX_MMAP, NO_ACCESS, HAS(2, PROT_EXEC)},
	{SCMP_SYS(mmap2), NO_ACCESS, HAS(2, PROT_EXEC)},
	{SCMP_SYS(mprotect), NO_ACCESS, HAS(2, PROT_EXEC)},
	/* Its threads stay in it. */
	{SCMP_SYS(clone), KILL, HAS_NOT(0, CLONE_THREAD)},
};

static const struct sandbox_condition milter_conditions[] = {
	{SCMP_SYS(prctl), REFUSE, IS(0, PR_SET_DUMPABLE)},
	{SANDBOX_MMAP, NO_ACCESS, HAS(2, PROT_EXEC)},
	{SCMP_SYS(mmap2), NO_ACCESS, HAS(2, PROT_EXEC)},
	{SCMP_SYS(mprotect), NO_ACCESS, HAS(2, PROT_EXEC)},
	{SCMP_SYS(clone), KILL, HAS_NOT(0, CLONE_THREAD)},
	{SCMP_SYS(open), NO_ACCESS, HAS(1, O_WRONLY)},
	{SCMP_SYS(open), NO_ACCESS, HAS(1, O_RDWR)},
	{SCMP_SYS(open), NO_ACCESS, HAS(1, O_CREAT)},
	{SCMP_SYS(open), NO_ACCESS, HAS(1, O_TRUNC)},
	{SCMP_SYS(openat), NO_ACCESS, HAS(2, O_WRONLY)},
	{SCMP_SYS(openat), NO_ACCESS, HAS(2, O_RDWR)},
	{SCMP_SYS(openat), NO_ACCESS, HAS(2, O_CREAT)},
	{SCMP_SYS(openat), NO_ACCESS, HAS(2, O_TRUNC)},
};

bool
confinement_complete(enum confined confined, struct fault *fault)
{
	bool is_milter = confined == CONFINED_MILTER;
	const struct sandbox_calls lists[] = {
		{process_calls, COUNT(process_calls), KILL},
		{refused_calls, COUNT(refused_calls), REFUSE},
		{file_calls, is_milter ? COUNT(file_calls) : 0, NO_ACCESS},
	};
	const struct sandbox_filter filter = {
		.lists = lists,
		.lists_count = COUNT(lists),
		.conditions = is_milter ? milter_conditions : relay_conditions,
		.conditions_count = is_milter ? COUNT(milter_conditions)
					      : COUNT(relay_conditions),
		.others = ALLOW,
	};

	/* A sanitizer needs a child and a file for its report. */
	return SANITIZED || sandbox_filter(&filter, fault);
}
