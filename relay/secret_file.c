#include "relay/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* As with keys. */
static bool
mode_check(mode_t mode, bool strict_modes, struct fault *fault)
{
	if ((mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) == 0)
		return true;
	fault_set(fault, strict_modes ? FAULT_DENIED : FAULT_NONE,
		  "mode %04o lets others than its owner %s it; chmod 600",
		  (unsigned)mode & 07777,
		  (mode & (S_IRGRP | S_IROTH)) != 0 ? "read" : "write");
	return false;
}

static bool
bytes_read(int descriptor, size_t size, size_t max, struct text *out,
	   struct fault *fault)
{
	size_t len = 0;
	/* One more, to see that there is no more; and no growing on the way,
	 * which would leave copies behind. */
	char *at = text_room(out, (size < max ? size : max) + 1);

	while (len <= max && len <= size) {
		ssize_t count = read(descriptor, at + len, size + 1 - len);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return fault_errno(fault, "reading it");
		if (count == 0)
			break;
		len += (size_t)count;
	}
	text_added(out, len);
	return true;
}

static bool
descriptor_read(int descriptor, size_t max, bool strict_modes,
		struct text *warning, struct text *out, struct fault *fault)
{
	struct fault loose = {0};
	struct stat status;

	if (fstat(descriptor, &status) < 0)
		return fault_errno(fault, "looking at it");
	if (!S_ISREG(status.st_mode))
		return fault_set(fault, FAULT_INPUT, "not a regular file");
	if (status.st_size > (off_t)max)
		return fault_set(fault, FAULT_LIMIT,
				 "%lld octets, at most %zu are taken",
				 (long long)status.st_size, max);
	if (!mode_check(status.st_mode, strict_modes, &loose)) {
		if (strict_modes) {
			if (fault != NULL)
				*fault = loose;
			return false;
		}
		text_add_string(warning, loose.text);
	}
	return bytes_read(descriptor, (size_t)status.st_size, max, out, fault);
}

bool
secret_file_read(const char *what, struct slice path, size_t max,
		 bool strict_modes, secret_warn_fn *warn, struct text *out,
		 struct fault *fault)
{
	CLEAN(text_done) struct text name = {0}, warning = {0}, line = {0};
	CLEAN(clean_descriptor) int descriptor = -1;

	text_add(&name, path);
	descriptor = open(text_string(&name),
			  O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return fault_errno(fault, "%s '%s'", what, text_string(&name));
	if (!descriptor_read(descriptor, max, strict_modes, &warning, out,
			     fault))
		return fault_within(fault, "%s '%s'", what,
				    text_string(&name));
	if (warning.len > 0 && warn != NULL) {
		text_addf(&line, "%s '%s': %s", what, text_string(&name),
			  text_string(&warning));
		warn(text_string(&line));
	}
	return true;
}
