#include "relay/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"

#define LISTEN_BACKLOG 1024
/* How long the kernel waits for a client's first word. */
#define CLIENT_FIRST_S 30

static bool
group_find(const char *label, struct slice name, gid_t *group_out,
	   struct fault *fault)
{
	CLEAN(text_done) struct text copy = {0};
	const struct group *entry;

	text_add(&copy, name);
	entry = getgrnam(text_string(&copy));
	if (entry == NULL)
		return fault_set(fault, FAULT_INPUT,
				 "%s: socket_group = \"%.*s\": there is no "
				 "such group",
				 label, SLICE_ARG(name));
	*group_out = entry->gr_gid;
	return true;
}

bool
listen_place_relay(const struct listener_options *listener,
		   struct listen_place *place_out, struct fault *fault)
{
	struct listen_place place = {
		.text = listener->address_text,
		.socket_name = listener->socket_name,
		.address = listener->address,
		.is_any = listener->is_any,
		.mode = listener->socket_mode,
		.owner = (uid_t)-1,
		.group = (gid_t)-1,
	};

	snprintf(place.label, sizeof(place.label), "listener \"%.*s\"",
		 SLICE_ARG(listener->name));
	if (listener->socket_group.len > 0 &&
	    !group_find(place.label, listener->socket_group, &place.group,
			fault))
		return false;
	*place_out = place;
	return true;
}

bool
listen_place_milter(const struct milter_section *milter, uid_t owner,
		    gid_t owner_group, struct listen_place *place_out,
		    struct fault *fault)
{
	struct listen_place place = {
		.label = "milter.socket",
		.text = milter->socket_text,
		.socket_name = milter->socket_name,
		.address = milter->socket,
		.mode = milter->socket_mode,
		.owner = owner,
		.group = owner_group,
		.is_client_first = true,
	};

	if (milter->socket_group.len > 0 &&
	    !group_find(place.label, milter->socket_group, &place.group,
			fault))
		return false;
	*place_out = place;
	return true;
}

bool
listen_place_eq(const struct listen_place *a, const struct listen_place *b)
{
	bool is_local = a->address.any.sa_family == AF_UNIX;

	if (a->socket_name.len > 0 || b->socket_name.len > 0)
		return slice_eq(a->socket_name, b->socket_name);
	return address_eq(&a->address, &b->address) && a->is_any == b->is_any &&
	       (!is_local || (a->mode == b->mode && a->group == b->group));
}

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

/* What is behind it, where the error alone does not say; NULL: it does. */
static const char *
advice_find(const struct listen_place *place, int system)
{
	bool is_local = place->address.any.sa_family == AF_UNIX;

	if (system == EADDRNOTAVAIL)
		return "this machine does not have that address now";
	if (!is_local && system == EACCES &&
	    address_port(&place->address) < 1024)
		return "ports below 1024 need root or the capability "
		       "CAP_NET_BIND_SERVICE";
	if (!is_local)
		return NULL;
	switch (system) {
	case EPERM:
		return place->group != (gid_t)-1
			       ? "only root can give it a socket_group that "
				 "this user is not in"
			       : NULL;
	case ENOENT:
		return "its directory is not there; one below /run is gone "
		       "with each boot, and tmpfiles.d(5) makes it anew";
	case EROFS:
		return "a unit may write only where its ReadWritePaths= and "
		       "RuntimeDirectory= say";
	default:
		return NULL;
	}
}

static bool
listen_fault(const struct listen_place *place, struct fault *fault)
{
	int system = errno;
	const char *advice = advice_find(place, system);

	fault_errno(fault, "%s: listening on '%.*s'", place->label,
		    SLICE_ARG(place->text));
	/* It may come yet: at boot, or from another machine that has failed. */
	if (system == EADDRNOTAVAIL)
		fault->kind = FAULT_BUSY;
	if (advice != NULL)
		fault_set(fault, fault->kind, "%s: listening on '%.*s': %s",
			  place->label, SLICE_ARG(place->text), advice);
	return false;
}

static int
listen_socket(const struct listen_place *place, struct address *address)
{
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int descriptor = socket(address->any.sa_family, type, 0);

	if (descriptor < 0 && place->is_any && errno == EAFNOSUPPORT) {
		/* a machine without IPv6: "*" means all there is */
		*address = (struct address){
			.v4 = {.sin_family = AF_INET,
			       .sin_port = htons(address_port(address))},
			.len = sizeof(struct sockaddr_in)};
		descriptor = socket(AF_INET, type, 0);
	}
	return descriptor;
}

static void
options_set(const struct listen_place *place, const struct address *address,
	    int descriptor)
{
	int on = 1, v6_only = !place->is_any, wait_s = CLIENT_FIRST_S;

	setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->any.sa_family == AF_INET6)
		setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only,
			   sizeof(v6_only));
	if (!place->is_client_first)
		return;
	/* What is accepted inherits the second: several small answers in a row
	 * are not to wait for each other. */
	setsockopt(descriptor, IPPROTO_TCP, TCP_DEFER_ACCEPT, &wait_s,
		   sizeof(wait_s));
	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Nobody gets in between bind and chmod who may not later. Who may write to the
 * directory may put a link in the socket's place: what that names is not given
 * away. */
static bool
local_bind(const struct listen_place *place, int descriptor)
{
	const struct address *address = &place->address;
	mode_t before = umask(0177);
	bool is_bound = bind(descriptor, &address->any, address->len) == 0;
	int system = errno;

	umask(before);
	errno = system;
	if (!is_bound)
		return false;
	if ((place->owner != (uid_t)-1 || place->group != (gid_t)-1) &&
	    lchown(address->local.sun_path, place->owner, place->group) < 0)
		return false;
	return fchmodat(AT_FDCWD, address->local.sun_path, place->mode,
			AT_SYMLINK_NOFOLLOW) == 0;
}

bool
listen_open(const struct listen_place *place, int *descriptor_out,
	    struct fault *fault)
{
	struct address address = place->address;
	CLEAN(clean_descriptor) int descriptor = listen_socket(place, &address);
	bool is_bound;

	if (descriptor < 0)
		return listen_fault(place, fault);
	if (address.any.sa_family == AF_UNIX) {
		stale_remove(&address.local, address.len);
		is_bound = local_bind(place, descriptor);
	} else {
		options_set(place, &address, descriptor);
		is_bound = bind(descriptor, &address.any, address.len) == 0;
	}
	if (!is_bound || listen(descriptor, LISTEN_BACKLOG) < 0)
		return listen_fault(place, fault);
	*descriptor_out = descriptor_take(&descriptor);
	return true;
}
