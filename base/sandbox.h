/*
 * sandbox - what a process gives up, for good: privileges, files, system calls.
 *
 * Knows how, not what: the lists are their processes' own
 * (keys/signer_sandbox.c, relay/confinement.c).
 *
 * Errors      SYSTEM where the kernel refuses or lacks it.
 * Thread      The calls before any thread is started, as each says.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <seccomp.h>

#include "base/fault.h"

/* The same answer, an SCMP_ACT_…, to each of these calls. Those that a machine
 * does not have are passed over. */
struct sandbox_calls {
	const int *calls;
	size_t count;
	uint32_t action;
};

/* To one call where one of its arguments is so. */
struct sandbox_condition {
	int call;
	uint32_t action;
	struct scmp_arg_cmp condition;
};

/* The first that maps memory, where a filter can see its arguments: that of i386
 * takes a pointer to them, and glibc calls the second, mmap2(), instead. */
#ifdef __i386__
#define SANDBOX_MMAP SCMP_SYS(mmap2)
#else
#define SANDBOX_MMAP SCMP_SYS(mmap)
#endif

struct sandbox_filter {
	const struct sandbox_calls *lists;
	size_t lists_count;
	const struct sandbox_condition *conditions;
	size_t conditions_count;
	uint32_t others; /* to every other call */
	bool logs;       /* refusals, to the kernel's log (audit, type 1326) */
};

/* What this process executes as no root gets none of its capabilities. */
bool sandbox_heirs(struct fault *fault) MUST_USE;
/* Whether root can become another user here: in a container it may be unable to. */
bool sandbox_may_change_user(void) MUST_USE;
/* Likewise to end another user's process. */
bool sandbox_may_end_others(void) MUST_USE;
/* No core, memory that no other process of the same user may look into, and no
 * new privileges by what is executed. */
bool sandbox_memory(struct fault *fault) MUST_USE;
/* The same, and no capability. Before any thread is started. */
bool sandbox_privileges(struct fault *fault) MUST_USE;
/* Whether sandbox_files() has an effect here; else the fault says what the kernel
 * lacks, or what somebody's filter refuses. */
bool sandbox_keeps_files(struct fault *fault) MUST_USE;
/* No file is made, written, removed or executed but below the directory, and
 * there none is executed; files can be read as before. Without
 * sandbox_keeps_files() it does nothing. Before any thread is started; after
 * sandbox_privileges(). */
bool sandbox_files(const char *directory, struct fault *fault) MUST_USE;
/* Nothing is put into a terminal as if it had been typed there: what comes next to
 * read it may be a shell of root's. After no_new_privs is set. */
bool sandbox_terminal(struct fault *fault) MUST_USE;
/* The filter holds for all threads. One more on top of others can only take
 * away. After sandbox_privileges(), or with no_new_privs set. */
bool sandbox_filter(const struct sandbox_filter *filter,
		    struct fault *fault) MUST_USE;

#endif
