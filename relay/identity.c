#include "relay/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/sandbox.h"

#define DEFAULT_SIGNER_USER "signet-signer"
#define FALLBACK_USER "nobody"

static bool
user_find(struct slice name, struct identity *identity_out)
{
	CLEAN(text_done) struct text copy = {0};
	const struct passwd *entry;

	text_add(&copy, name);
	entry = getpwnam(text_string(&copy));
	if (entry == NULL)
		return false;
	*identity_out = (struct identity){entry->pw_uid, entry->pw_gid};
	return true;
}

static bool
user_unknown(struct slice name, const char *option, struct fault *fault)
{
	return fault_set(fault, FAULT_INPUT,
			 "%s = \"%.*s\": there is no such user; make one with "
			 "'useradd --system --shell /usr/sbin/nologin %.*s', or "
			 "name another",
			 option, SLICE_ARG(name), SLICE_ARG(name));
}

/* Who started us has chosen, perhaps not as the configuration says. */
static void
user_compare(struct slice name, struct text *warning)
{
	struct identity wanted;

	if (slice_eq(name, SLICE(IDENTITY_USER)) ||
	    (user_find(name, &wanted) && wanted.uid == geteuid()))
		return;
	text_addf(warning,
		  "user = \"%.*s\" is for a start by root; this was started "
		  "by user %u and stays so (in a unit: User=)",
		  SLICE_ARG(name), (unsigned)geteuid());
}

/* In a container it may lack what it needs to become that user. */
static bool
root_may(uid_t user, struct text *warning, struct fault *fault)
{
	if (!sandbox_may_change_user())
		return fault_set(fault, FAULT_DENIED,
				 "root cannot become user %u here without the "
				 "capabilities CAP_SETUID and CAP_SETGID: start "
				 "this as that user (--user of a container, "
				 "User= of a unit), or let root have them",
				 (unsigned)user);
	if (!sandbox_may_end_others())
		text_addf(warning,
			  "%sroot lacks the capability CAP_KILL here: a process "
			  "of user %u that hangs cannot be ended and replaced",
			  warning->len > 0 ? "; " : "", (unsigned)user);
	return true;
}

bool
identity_find(const struct options *options, struct identity *relay_out,
	      struct identity *signer_out, struct text *warning,
	      struct fault *fault)
{
	struct identity relay = {0}, signer = {0};

	if (geteuid() != 0) {
		user_compare(options->user, warning);
		*relay_out = *signer_out = relay;
		return true;
	}
	if (!user_find(options->user, &relay)) {
		if (!slice_eq(options->user, SLICE(IDENTITY_USER)) ||
		    !user_find(SLICE(FALLBACK_USER), &relay))
			return user_unknown(options->user, "user", fault);
		text_add_string(warning,
				"there is no user \"" IDENTITY_USER
				"\": running as \"" FALLBACK_USER
				"\"; make it with 'useradd --system --shell "
				"/usr/sbin/nologin " IDENTITY_USER "'");
	}
	if (relay.uid == 0)
		text_addf(warning,
			  "user = \"%.*s\": what strangers talk to is root "
			  "then; name a user who owns nothing",
			  SLICE_ARG(options->user));
	if (options->signer_user.len > 0) {
		if (!user_find(options->signer_user, &signer))
			return user_unknown(options->signer_user,
					    "signer_user", fault);
	} else if (!user_find(SLICE(DEFAULT_SIGNER_USER), &signer)) {
		signer = relay;
	}
	if ((relay.uid != 0 || signer.uid != 0) &&
	    !root_may(relay.uid != 0 ? relay.uid : signer.uid, warning, fault))
		return false;
	*relay_out = relay;
	*signer_out = signer;
	return true;
}

bool
identity_become(const struct identity *identity, struct fault *fault)
{
	if (geteuid() == 0 && identity->uid != 0) {
		if (setgroups(0, NULL) < 0)
			return fault_errno(fault, "giving up groups");
		if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
			return fault_errno(fault, "becoming group %u",
					   (unsigned)identity->gid);
		if (setresuid(identity->uid, identity->uid, identity->uid) < 0)
			return fault_errno(fault, "becoming user %u",
					   (unsigned)identity->uid);
		ASSERT(setresuid((uid_t)-1, 0, (uid_t)-1) < 0);
	}
	/* Without root they are what a service manager gave to us alone. */
	if (!sandbox_heirs(fault))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fault_errno(fault, "giving up new privileges");
	return true;
}

bool
identity_stay(const struct identity *identity, struct fault *fault)
{
	return identity_become(identity, fault) && sandbox_terminal(fault);
}

bool
identity_leave_root(const struct options *options, struct fault *fault)
{
	CLEAN(text_done) struct text warning = {0};
	struct identity relay, signer;

	return identity_find(options, &relay, &signer, &warning, fault) &&
	       identity_stay(&relay, fault);
}

/* What the queue keeps in its directory (queue/store.h). */
static bool
name_is_ours(const char *name)
{
	static const char *const names[] = {"lock", "queue", "spool",
					    "data.mdb", "lock.mdb", "control",
					    "damaged"};

	for (size_t i = 0; i < COUNT(names); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* Calls each() for every entry but "." and ".."; ends early on false. */
static bool
directory_each(int directory,
	       bool (*each)(int directory, const char *name, void *argument,
			    struct fault *fault),
	       void *argument, struct fault *fault)
{
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	bool is_ok = true;

	if (list == NULL) {
		clean_descriptor(&copy);
		return fault_errno(fault, "reading the directory");
	}
	while (is_ok && (entry = readdir(list)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		is_ok = each(directory, entry->d_name, argument, fault);
	}
	closedir(list);
	return is_ok;
}

static bool
entry_check(int directory, const char *name, void *argument,
	    struct fault *fault)
{
	(void)directory;
	(void)argument;
	if (name_is_ours(name))
		return true;
	return fault_set(fault, FAULT_DENIED,
			 "it belongs to another user and holds '%s', which is "
			 "not signet's: give it to signet's user yourself, or "
			 "name a directory of its own",
			 name);
}

/* FAT has no owners, and an NFS server takes root for nobody. */
static bool
give_fault(const char *name, const struct identity *identity,
	   struct fault *fault)
{
	return fault_errno(fault,
			   "giving '%s' to user %u, for which root needs "
			   "CAP_CHOWN and a file system that keeps owners and "
			   "trusts root",
			   name, (unsigned)identity->uid);
}

static bool
entry_give(int directory, const char *name, void *argument,
	   struct fault *fault)
{
	const struct identity *identity = argument;
	CLEAN(clean_descriptor) int inner = -1;

	if (fchownat(directory, name, identity->uid, identity->gid,
		     AT_SYMLINK_NOFOLLOW) < 0)
		return give_fault(name, identity, fault);
	inner = openat(directory, name,
		       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (inner < 0)
		return true; /* a file */
	return directory_each(inner, entry_give, argument, fault);
}

static bool
directory_make(const char *path, struct fault *fault)
{
	CLEAN(text_done) struct text parent = {0};
	struct slice whole = SLICE(path);

	for (size_t i = 1; i <= whole.len; i++) {
		mode_t mode = i == whole.len ? 0700 : 0755;

		if (i < whole.len && path[i] != '/')
			continue;
		text_clear(&parent);
		text_add(&parent, slice_sub(whole, 0, i));
		if (mkdir(text_string(&parent), mode) < 0 && errno != EEXIST)
			return fault_errno(fault, "making '%s'",
					   text_string(&parent));
	}
	return true;
}

/* Brought from another machine, made by hand, or a container's new volume, it may
 * well be root's. What only a capability of ours gets into is not for the process
 * that works there. */
static bool
owner_check(int directory, const char *path, const struct stat *status,
	    struct fault *fault)
{
	if (geteuid() == 0 ||
	    faccessat(directory, ".", W_OK, AT_EACCESS) == 0 || errno != EACCES)
		return true;
	return fault_errno(fault,
			   "state_dir '%s' is user %u's, and this runs as user "
			   "%u: give it to that one with all that is in it "
			   "(chown -R)",
			   path, (unsigned)status->st_uid, (unsigned)geteuid());
}

bool
identity_state_dir(const struct identity *identity, const char *path,
		   int *descriptor_out, struct fault *fault)
{
	CLEAN(clean_descriptor) int directory = -1;
	struct identity copy = *identity;
	struct stat status;

	if (!directory_make(path, fault))
		return fault_within(fault, "state_dir");
	/* To work there is the other user's: root without CAP_DAC_OVERRIDE may
	 * not even read it. */
	directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fstat(directory, &status) < 0)
		return fault_errno(fault, "state_dir '%s'", path);
	if (geteuid() == 0 && status.st_uid != identity->uid) {
		if (!directory_each(directory, entry_check, NULL, fault) ||
		    !directory_each(directory, entry_give, &copy, fault))
			return fault_within(fault, "state_dir '%s'", path);
		if (fchownat(directory, "", identity->uid, identity->gid,
			     AT_EMPTY_PATH) < 0)
			return give_fault(path, identity, fault);
	}
	if (!owner_check(directory, path, &status, fault))
		return false;
	*descriptor_out = descriptor_take(&directory);
	return true;
}
