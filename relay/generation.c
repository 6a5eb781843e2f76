#include "relay/generation.h"

#include <stdlib.h>

#include "relay/clients.h"
#include "relay/listener_tls.h"
#include "relay/login.h"
#include "relay/net/tls.h"
#include "relay/users.h"

static bool
generation_clients(struct generation *generation, size_t i,
		   struct slice file, struct fault *fault)
{
	const struct listener_options *listener =
		&generation->options->listeners[i];

	return listener->tls_clients.len == 0 ||
	       clients_new(file, &generation->listener_clients[i], fault) ||
	       fault_within(fault, "tls_clients '%.*s'",
			    SLICE_ARG(listener->tls_clients));
}

static bool
generation_tls(struct generation *generation,
	       const struct slice (*files)[LISTENER_FILES],
	       struct fault *fault)
{
	struct options *options = generation->options;
	enum listener_file at; /* the fault names it */

	for (size_t i = 0; i < options->listeners_count; i++) {
		struct listener_options *listener = &options->listeners[i];

		if (listener->tls == LISTENER_TLS_NONE)
			continue;
		if (!listener_tls_new(listener, files[i],
				      &generation->listener_tls[i], &at,
				      fault) ||
		    !generation_clients(generation, i,
					files[i][LISTENER_CLIENTS], fault))
			return fault_within(fault, "listener \"%.*s\"",
					    SLICE_ARG(listener->name));
	}
	return true;
}

static bool
generation_users(struct generation *generation,
		 const struct slice (*files)[LISTENER_FILES],
		 struct fault *fault)
{
	struct options *options = generation->options;

	for (size_t i = 0; i < options->listeners_count; i++) {
		struct listener_options *listener = &options->listeners[i];

		if (listener->auth != AUTH_NONE &&
		    listener->auth_file.len > 0 &&
		    !users_new(files[i][LISTENER_USERS],
			       &generation->listener_users[i], fault))
			return fault_within(
				fault, "listener \"%.*s\", auth_file '%.*s'",
				SLICE_ARG(listener->name),
				SLICE_ARG(listener->auth_file));
	}
	return true;
}

bool
generation_new(struct options *options, struct keyring *keyring,
	       const struct slice (*files)[LISTENER_FILES],
	       struct slice passwords,
	       struct generation **generation_out, struct fault *fault)
{
	struct generation *generation = memory_new(sizeof(*generation));

	generation->references = 1;
	generation->options = options;
	generation->policy = policy_new(keyring, &options->signing);
	keyring_unref(keyring); /* the policy holds its own reference */
	generation->listener_tls =
		memory_array(options->listeners_count,
			     sizeof(*generation->listener_tls));
	generation->listener_users =
		memory_array(options->listeners_count,
			     sizeof(*generation->listener_users));
	generation->listener_clients =
		memory_array(options->listeners_count,
			     sizeof(*generation->listener_clients));
	if ((files != NULL && (!generation_tls(generation, files, fault) ||
			       !generation_users(generation, files, fault))) ||
	    !tls_context_client(&generation->client_tls, fault) ||
	    !logins_new(options, passwords, &generation->logins, fault)) {
		generation_unref(generation);
		return false;
	}
	*generation_out = generation;
	return true;
}

struct generation *
generation_ref(struct generation *generation)
{
	__atomic_add_fetch(&generation->references, 1, __ATOMIC_RELAXED);
	return generation;
}

void
generation_unref(struct generation *generation)
{
	if (generation == NULL ||
	    __atomic_sub_fetch(&generation->references, 1, __ATOMIC_ACQ_REL) >
		    0)
		return;
	for (size_t i = 0; i < generation->options->listeners_count; i++) {
		if (generation->listener_tls[i] != NULL)
			tls_context_free(generation->listener_tls[i]);
		users_free(generation->listener_users[i]);
		clients_free(generation->listener_clients[i]);
	}
	if (generation->client_tls != NULL)
		tls_context_free(generation->client_tls);
	free(generation->listener_tls);
	free(generation->listener_users);
	free(generation->listener_clients);
	logins_free(generation->logins);
	policy_unref(generation->policy);
	options_free(generation->options);
	free(generation);
}
