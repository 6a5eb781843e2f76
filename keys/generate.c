#include "keys/generate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/record.h"

static bool
sync_directory(int directory, const char *path, struct fault *fault)
{
	if (fsync(directory) < 0)
		return fault_errno(fault, "syncing '%s'", path);
	return true;
}

/* Opens `name` in `parent`, makes it where it is missing, and then syncs the
 * parent so that it stays. */
static bool
open_or_make(int parent, const char *name, mode_t mode, const char *path,
	     int *out, struct fault *fault)
{
	bool is_new = mkdirat(parent, name, mode) == 0;

	if (!is_new && errno != EEXIST)
		return fault_errno(fault, "making the directory '%s'", path);
	*out = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*out < 0)
		return fault_errno(fault, "directory '%s'", path);
	/* A parent such as "/" may refuse to be synced by who may write to
	 * it; the file below is synced in any case. */
	if (is_new && fsync(parent) < 0 && errno != EINVAL && errno != EBADF)
		return fault_errno(fault, "syncing the parent of '%s'", path);
	return true;
}

/* Opens a directory. It is made where it is missing, with those above it, which
 * are open to all: there are no keys in them. */
static bool
directory_open(struct slice path, mode_t mode, int *out, struct fault *fault)
{
	CLEAN(text_done) struct text whole = {0};
	CLEAN(clean_descriptor) int parent = -1;
	ptrdiff_t slash;

	while (path.len > 1 && path.bytes[path.len - 1] == '/')
		path.len--;
	text_add(&whole, path);
	*out = open(text_string(&whole), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*out >= 0)
		return true;
	if (errno != ENOENT || path.len == 0)
		return fault_errno(fault, "directory '%s'",
				   text_string(&whole));
	slash = slice_find_last(path, '/');
	if (!directory_open(slash < 0    ? SLICE(".")
			    : slash == 0 ? SLICE("/")
					 : slice_sub(path, 0, (size_t)slash),
			    0755, &parent, fault))
		return false;
	return open_or_make(parent, text_string(&whole) + slash + 1, mode,
			    text_string(&whole), out, fault);
}

static bool
write_all(int file, struct slice bytes, struct fault *fault)
{
	while (bytes.len > 0) {
		ssize_t written = write(file, bytes.bytes, bytes.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return fault_errno(fault, "writing");
		bytes = slice_from(bytes, (size_t)written);
	}
	if (fsync(file) < 0)
		return fault_errno(fault, "syncing");
	return true;
}

/* Under a name of its own first, so that a crash leaves no half key behind;
 * link() then gives the real name, and fails where there is such a file. */
static bool
file_make(int directory, const char *name, struct slice pem,
	  struct fault *fault)
{
	CLEAN(clean_descriptor) int file = -1;
	char fresh[32];
	bool ok;

	snprintf(fresh, sizeof(fresh), ".new-%ld", (long)getpid());
	if (unlinkat(directory, fresh, 0) < 0 && errno != ENOENT)
		return fault_errno(fault, "removing '%s'", fresh);
	file = openat(directory, fresh,
		      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		      0600);
	if (file < 0)
		return fault_errno(fault, "making it");
	/* Whatever the umask took away. */
	if (fchmod(file, 0600) < 0)
		return fault_errno(fault, "setting its mode");
	ok = write_all(file, pem, fault);
	if (ok && linkat(directory, fresh, directory, name, 0) < 0)
		ok = errno == EEXIST
			     ? fault_set(fault, FAULT_INPUT,
					 "exists already; it is not written "
					 "over")
			     : fault_errno(fault, "naming it");
	if (unlinkat(directory, fresh, 0) < 0 && ok)
		ok = fault_errno(fault, "removing '%s'", fresh);
	return ok;
}

static bool
key_make(int directory, const char *name, enum key_algorithm algorithm,
	 unsigned bits, struct key_public **public_out, struct fault *fault)
{
	CLEAN(key_free_clean) struct key *key = NULL;
	CLEAN(secret_cleanse) struct text pem = {0};

	/* Said before the work of making one; linkat() decides. */
	if (faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return fault_set(fault, FAULT_INPUT,
				 "exists already; it is not written over");
	if (!key_generate(algorithm, bits, &key, fault) ||
	    !key_write(key, &pem, fault) ||
	    !file_make(directory, name, text_slice(&pem), fault))
		return false;
	*public_out = key_public_of(key);
	return true;
}

bool
generate_file(struct slice keys_dir, struct slice domain, struct slice selector,
	      enum key_algorithm algorithm, unsigned bits,
	      struct key_public **public_out, struct text *path_out,
	      struct fault *fault)
{
	CLEAN(clean_descriptor) int top = -1, directory = -1;
	CLEAN(text_done) struct text path = {0}, label = {0}, file = {0};
	CLEAN(key_public_free_clean) struct key_public *public = NULL;

	if (!record_names_check(selector, domain, fault))
		return false;
	while (keys_dir.len > 1 && keys_dir.bytes[keys_dir.len - 1] == '/')
		keys_dir.len--;
	text_add(&path, keys_dir);
	if (!directory_open(text_slice(&path), 0700, &top, fault))
		return false;
	text_add(&label, domain);
	text_add_byte(&path, '/');
	text_add(&path, domain);
	if (!open_or_make(top, text_string(&label), 0700, text_string(&path),
			  &directory, fault))
		return false;
	text_addf(&file, "%.*s.pem", SLICE_ARG(selector));
	text_addf(&path, "/%s", text_string(&file));
	if (!key_make(directory, text_string(&file), algorithm, bits, &public,
		      fault) ||
	    !sync_directory(directory, text_string(&path), fault)) {
		return fault_within(fault, "key file '%s'",
				    text_string(&path));
	}
	text_add(path_out, text_slice(&path));
	*public_out = TAKE(public);
	return true;
}
