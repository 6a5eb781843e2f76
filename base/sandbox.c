#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clean.h"

/* ---- privileges ---- */

bool
sandbox_heirs(struct fault *fault)
{
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 ||
	       fault_errno(fault, "capabilities of others");
}

/* None any more. */
static bool
capabilities_drop(struct fault *fault)
{
	static const struct __user_cap_data_struct
		none[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (!sandbox_heirs(fault))
		return false;
	if (syscall(SYS_capset, &header, none) == 0)
		return true;
	/* A unit may forbid the call: then there must be none. What can only
	 * be inherited, by marked files, is of no use without new privileges. */
	if (syscall(SYS_capget, &header, has) == 0 && has[0].permitted == 0 &&
	    has[1].permitted == 0)
		return true;
	return fault_set(fault, FAULT_DENIED,
			 "capabilities cannot be given up");
}

static bool
has_all(uint32_t capabilities)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = {{0}};

	return syscall(SYS_capget, &header, has) != 0 ||
	       (has[0].effective & capabilities) == capabilities;
}

bool
sandbox_may_change_user(void)
{
	return has_all(UINT32_C(1) << CAP_SETUID | UINT32_C(1) << CAP_SETGID);
}

bool
sandbox_may_end_others(void)
{
	return has_all(UINT32_C(1) << CAP_KILL);
}

bool
sandbox_memory(struct fault *fault)
{
	static const struct rlimit none = {0, 0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fault_errno(fault, "giving up new privileges");
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return fault_errno(fault, "giving up cores");
	return true;
}

bool
sandbox_privileges(struct fault *fault)
{
	return capabilities_drop(fault) && sandbox_memory(fault);
}

/* ---- files ---- */

/* Landlock's third version added it; linux-libc-dev of Debian 12 has the
 * second. */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)

/* What is taken away everywhere, and given back below one directory but for
 * executing. The first version of Landlock has these. */
#define ACCESS_CHANGE                                                          \
	((uint64_t)(LANDLOCK_ACCESS_FS_WRITE_FILE |                            \
		    LANDLOCK_ACCESS_FS_REMOVE_DIR |                            \
		    LANDLOCK_ACCESS_FS_REMOVE_FILE |                           \
		    LANDLOCK_ACCESS_FS_MAKE_CHAR |                             \
		    LANDLOCK_ACCESS_FS_MAKE_DIR |                              \
		    LANDLOCK_ACCESS_FS_MAKE_REG |                              \
		    LANDLOCK_ACCESS_FS_MAKE_SOCK |                             \
		    LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
		    LANDLOCK_ACCESS_FS_MAKE_BLOCK |                            \
		    LANDLOCK_ACCESS_FS_MAKE_SYM))

static int
ruleset_new(int version)
{
	struct landlock_ruleset_attr attributes = {
		.handled_access_fs =
			ACCESS_CHANGE | LANDLOCK_ACCESS_FS_EXECUTE};

	if (version >= 2)
		attributes.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		attributes.handled_access_fs |= ACCESS_TRUNCATE;
	return (int)syscall(SYS_landlock_create_ruleset, &attributes,
			    sizeof(attributes), 0);
}

static bool
ruleset_allow(int ruleset, int version, const char *directory,
	      struct fault *fault)
{
	CLEAN(clean_descriptor)
	int place = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct landlock_path_beneath_attr below = {
		.allowed_access = ACCESS_CHANGE,
		.parent_fd = place,
	};

	if (version >= 2)
		below.allowed_access |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		below.allowed_access |= ACCESS_TRUNCATE;
	if (place < 0 ||
	    syscall(SYS_landlock_add_rule, ruleset,
		    LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0)
		return fault_errno(fault, "keeping to '%s'", directory);
	return true;
}

static long
landlock_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0,
		       LANDLOCK_CREATE_RULESET_VERSION);
}

bool
sandbox_keeps_files(struct fault *fault)
{
	return landlock_version() >= 1 || fault_errno(fault, "Landlock");
}

bool
sandbox_files(const char *directory, struct fault *fault)
{
	CLEAN(clean_descriptor) int ruleset = -1;
	long version = landlock_version();

	if (version < 1)
		return true;
	ruleset = ruleset_new((int)version);
	if (ruleset < 0)
		return fault_errno(fault, "Landlock");
	if (!ruleset_allow(ruleset, (int)version, directory, fault))
		return false;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return fault_errno(fault, "Landlock");
	return true;
}

/* ---- system calls ---- */

static int
list_add(scmp_filter_ctx context, const struct sandbox_calls *list)
{
	int result = 0;

	for (size_t i = 0; i < list->count && result == 0; i++)
		result = seccomp_rule_add(context, list->action,
					  list->calls[i], 0);
	return result;
}

static int
filter_fill(scmp_filter_ctx context, const struct sandbox_filter *filter)
{
	int result = seccomp_attr_set(context, SCMP_FLTATR_CTL_TSYNC, 1);

	/* It is set, and another filter may not let it be set again. */
	if (result == 0)
		result = seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
	if (result == 0 && filter->logs)
		result = seccomp_attr_set(context, SCMP_FLTATR_CTL_LOG, 1);
	for (size_t i = 0; i < filter->lists_count && result == 0; i++)
		result = list_add(context, &filter->lists[i]);
	for (size_t i = 0; i < filter->conditions_count && result == 0; i++)
		result = seccomp_rule_add(context,
					  filter->conditions[i].action,
					  filter->conditions[i].call, 1,
					  filter->conditions[i].condition);
	return result;
}

bool
sandbox_filter(const struct sandbox_filter *filter, struct fault *fault)
{
	scmp_filter_ctx context = seccomp_init(filter->others);
	int result;

	if (context == NULL)
		return fault_set(fault, FAULT_SYSTEM, "seccomp filter");
	result = filter_fill(context, filter);
	if (result == 0)
		result = seccomp_load(context);
	seccomp_release(context);
	errno = -result;
	return result == 0 || fault_errno(fault, "seccomp filter");
}

/* Of a command the kernel looks at 32 bits. */
#define COMMAND(command)                                                       \
	{SCMP_SYS(ioctl), SCMP_ACT_ERRNO(EPERM),                               \
	 SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, command)}

bool
sandbox_terminal(struct fault *fault)
{
	static const struct sandbox_condition conditions[] = {
		COMMAND(TIOCSTI),
		COMMAND(TIOCLINUX),
	};
	static const struct sandbox_filter filter = {
		.conditions = conditions,
		.conditions_count = COUNT(conditions),
		.others = SCMP_ACT_ALLOW,
	};

	return sandbox_filter(&filter, fault);
}
