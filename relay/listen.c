#include "relay/listen.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

/* A socket file that nobody listens on is left over from a crash. */
static void
stale_remove(const struct sockaddr_un *local, socklen_t len)
{
	CLEAN(clean_descriptor)
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			   0);
	struct stat status;

	if (probe < 0 || lstat(local->sun_path, &status) < 0 ||
	    !S_ISSOCK(status.st_mode))
		return;
	if (connect(probe, (const struct sockaddr *)local, len) < 0 &&
	    errno == ECONNREFUSED)
		unlink(local->sun_path);
}

static bool
listen_fault(const struct listener_options *listener, struct fault *fault)
{
	int system = errno;

	fault_errno(fault, "listener \"%.*s\": listening on '%.*s'",
		    SLICE_ARG(listener->name),
		    SLICE_ARG(listener->address_text));
	if (system == EADDRNOTAVAIL)
		fault->kind = FAULT_INPUT;
	else if (system == EACCES && address_port(&listener->address) < 1024)
		return fault_set(fault, FAULT_DENIED,
				 "listener \"%.*s\": listening on '%.*s': ports "
				 "below 1024 need root or the capability "
				 "CAP_NET_BIND_SERVICE",
				 SLICE_ARG(listener->name),
				 SLICE_ARG(listener->address_text));
	return false;
}

static int
listen_socket(const struct listener_options *listener,
	      struct address *address)
{
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int descriptor = socket(address->any.sa_family, type, 0);

	if (descriptor < 0 && listener->is_any && errno == EAFNOSUPPORT) {
		/* a machine without IPv6: "*" means all there is */
		*address = (struct address){
			.v4 = {.sin_family = AF_INET,
			       .sin_port = htons(address_port(address))},
			.len = sizeof(struct sockaddr_in)};
		descriptor = socket(AF_INET, type, 0);
	}
	return descriptor;
}

bool
listen_open(const struct listener_options *listener, int *descriptor_out,
	    struct fault *fault)
{
	struct address address = listener->address;
	CLEAN(clean_descriptor)
	int descriptor = listen_socket(listener, &address);
	int on = 1, v6_only = !listener->is_any;

	if (descriptor < 0)
		return listen_fault(listener, fault);
	if (address.any.sa_family == AF_UNIX)
		stale_remove(&address.local, address.len);
	else
		setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on,
			   sizeof(on));
	if (address.any.sa_family == AF_INET6)
		setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only,
			   sizeof(v6_only));
	if (bind(descriptor, &address.any, address.len) < 0 ||
	    listen(descriptor, LISTEN_BACKLOG) < 0)
		return listen_fault(listener, fault);
	/* Who may relay is allow_from's business, as it is for loopback. */
	if (address.any.sa_family == AF_UNIX &&
	    chmod(address.local.sun_path, 0666) < 0)
		return listen_fault(listener, fault);
	*descriptor_out = descriptor;
	descriptor = -1;
	return true;
}
