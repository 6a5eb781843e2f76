#include "relay/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* sd_listen_fds(3): SD_LISTEN_FDS_START; more than a service has by default. */
#define FIRST 3
#define COUNT_MAX 1024

static bool
variable_number(const char *name, uint64_t *number_out)
{
	const char *value = getenv(name);

	return value != NULL && slice_number(SLICE(value), number_out);
}

static bool
descriptor_prepare(int descriptor, struct fault *fault)
{
	int flags = fcntl(descriptor, F_GETFL);

	if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0)
		return fault_errno(fault, "LISTEN_FDS: descriptor %d",
				   descriptor);
	return true;
}

static void
names_take(struct inherited *inherited)
{
	const char *names = getenv("LISTEN_FDNAMES");
	struct slice rest;

	if (names != NULL)
		text_add_string(&inherited->text, names);
	inherited->names = memory_array(inherited->count,
					sizeof(*inherited->names));
	rest = text_slice(&inherited->text);
	for (size_t i = 0; i < inherited->count; i++)
		if (!slice_split(&rest, ':', &inherited->names[i]))
			inherited->names[i] = SLICE("unknown");
}

static bool
descriptors_take(struct inherited *inherited, struct fault *fault)
{
	uint64_t process, count;

	if (!variable_number("LISTEN_PID", &process) ||
	    process != (uint64_t)getpid() ||
	    !variable_number("LISTEN_FDS", &count) || count == 0)
		return true;
	if (count > COUNT_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "LISTEN_FDS says %llu, at most %d are taken",
				 (unsigned long long)count, COUNT_MAX);
	inherited->count = (size_t)count;
	for (size_t i = 0; i < inherited->count; i++)
		if (!descriptor_prepare(FIRST + (int)i, fault))
			return false;
	names_take(inherited);
	return true;
}

bool
inherited_take(struct inherited *out, struct fault *fault)
{
	bool is_taken;

	*out = (struct inherited){.first = FIRST};
	is_taken = descriptors_take(out, fault);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return is_taken;
}

void
inherited_done(struct inherited *inherited)
{
	for (size_t i = 0; i < inherited->count; i++)
		close(inherited->first + (int)i);
	free(inherited->names);
	text_done(&inherited->text);
	*inherited = (struct inherited){0};
}

static bool
is_option(int descriptor, int option, int wanted)
{
	socklen_t len = sizeof(wanted);
	int value = -1;

	return getsockopt(descriptor, SOL_SOCKET, option, &value, &len) == 0 &&
	       value == wanted;
}

static bool
socket_check(int descriptor, struct slice name, struct fault *fault)
{
	if (!is_option(descriptor, SO_TYPE, SOCK_STREAM) ||
	    !is_option(descriptor, SO_ACCEPTCONN, 1))
		return fault_set(fault, FAULT_INPUT,
				 "the socket '%.*s' from systemd is none that "
				 "listens (ListenStream=, Accept=no)",
				 SLICE_ARG(name));
	return true;
}

bool
inherited_open(const struct inherited *inherited, struct slice name,
	       int *descriptor_out, struct fault *fault)
{
	int found = -1, copy;

	for (size_t i = 0; i < inherited->count; i++) {
		if (!slice_eq(inherited->names[i], name))
			continue;
		if (found >= 0)
			return fault_set(fault, FAULT_INPUT,
					 "systemd passed several sockets that "
					 "are called '%.*s': each needs a "
					 "FileDescriptorName= of its own",
					 SLICE_ARG(name));
		found = inherited->first + (int)i;
	}
	if (found < 0)
		return fault_set(fault, FAULT_INPUT,
				 "systemd passed no socket that is called "
				 "'%.*s' (FileDescriptorName= of its .socket "
				 "unit; start that one)",
				 SLICE_ARG(name));
	if (!socket_check(found, name, fault))
		return false;
	copy = fcntl(found, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return fault_errno(fault, "the socket '%.*s' from systemd",
				   SLICE_ARG(name));
	*descriptor_out = copy;
	return true;
}
