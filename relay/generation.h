/*
 * generation - one configuration with its keys and certificates, as one
 * immutable snapshot.
 *
 * A reload makes a new one. A session takes its reference at the start of each
 * transaction, so no message ever mixes two. The reference count is atomic;
 * the last user frees it, on whatever thread.
 */
#ifndef RELAY_GENERATION_H
#define RELAY_GENERATION_H

#include "milter/policy.h"
#include "relay/listener_files.h"
#include "relay/options.h"

struct clients;
struct logins;
struct tls_context;
struct users;

struct generation {
	struct options *options;
	struct policy *policy;
	/* One per listener, NULL where it has no TLS. */
	struct tls_context **listener_tls;
	/* likewise, NULL where nobody may log in by a password */
	struct users **listener_users;
	/* likewise, NULL where no certificate of a client is known */
	struct clients **listener_clients;
	struct tls_context *client_tls;
	struct logins *logins; /* at next hops */
	int references; /* atomic */
};

/* Takes all it is given; fills the certificates in. files: of each listener; NULL:
 * of who listens nowhere.
 * passwords: those of the next hops, as login_read_all() makes them. */
bool generation_new(struct options *options, struct keyring *keyring,
		    const struct slice (*files)[LISTENER_FILES],
		    struct slice passwords,
		    struct generation **generation_out,
		    struct fault *fault) MUST_USE;
struct generation *generation_ref(struct generation *generation);
void generation_unref(struct generation *generation);
CLEAN_POINTER(struct generation, generation_unref)

#endif
