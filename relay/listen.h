/*
 * listen - the sockets that mail comes in by, bound by the supervisor while it
 * still may.
 */
#ifndef RELAY_LISTEN_H
#define RELAY_LISTEN_H

#include <sys/types.h>

#include "relay/options.h"

#define LISTEN_LABEL_SIZE 160

/* Where to listen, and for whom. */
struct listen_place {
	char label[LISTEN_LABEL_SIZE]; /* "listener \"apps\"", for messages */
	struct slice text;             /* the address as written */
	struct slice socket_name;      /* systemd's; "": bound here */
	struct address address;
	bool is_any;           /* IPv4, too, on an IPv6 socket */
	uint32_t mode;         /* of a Unix socket */
	uid_t owner;           /* likewise; (uid_t)-1 and (gid_t)-1: as is */
	gid_t group;
	bool is_client_first;  /* who says nothing is not let in, for a while */
};

/* For a listener of the relay. */
bool listen_place_relay(const struct listener_options *listener,
			struct listen_place *place_out,
			struct fault *fault) MUST_USE;
/* For the milter; owner: whose socket it becomes where we are root. */
bool listen_place_milter(const struct milter_section *milter, uid_t owner,
			 gid_t owner_group, struct listen_place *place_out,
			 struct fault *fault) MUST_USE;
/* Whether a socket bound for one serves the other. */
bool listen_place_eq(const struct listen_place *a,
		     const struct listen_place *b);
/* A nonblocking, close-on-exec, listening socket. Of what is in the way of a
 * Unix socket only a socket that nobody listens on is removed. The fault says
 * what to do about it. */
bool listen_open(const struct listen_place *place, int *descriptor_out,
		 struct fault *fault) MUST_USE;

#endif
