#include "relay/generation.h"

#include <stdlib.h>

#include "relay/clients.h"
#include "relay/login.h"
#include "relay/net/tls.h"
#include "relay/users.h"

static enum tls_protocol
tls_protocol_of(enum tls_min min)
{
	switch (min) {
	case TLS_MIN_1_0:
		return TLS_1_0;
	case TLS_MIN_1_1:
		return TLS_1_1;
	case TLS_MIN_AUTO:
	case TLS_MIN_1_2:
		return TLS_1_2;
	case TLS_MIN_1_3:
		return TLS_1_3;
	}
	return TLS_1_2;
}

/* Clients that may choose one of several certificates are told by whom it has
 * to be signed, unless others are known, too. */
static bool
generation_ask(struct generation *generation, size_t i,
	       const struct slice files[LISTENER_FILES], struct fault *fault)
{
	const struct listener_options *listener =
		&generation->options->listeners[i];

	if (listener->tls_clients.len == 0 && listener->tls_client_ca.len == 0)
		return true;
	if (!tls_context_ask(generation->listener_tls[i],
			     files[LISTENER_CLIENT_CA],
			     listener->tls_clients.len == 0, fault))
		return fault_within(
			fault, "listener \"%.*s\", tls_client_ca '%.*s'",
			SLICE_ARG(listener->name),
			SLICE_ARG(listener->tls_client_ca));
	if (listener->tls_clients.len > 0 &&
	    !clients_new(files[LISTENER_CLIENTS],
			 &generation->listener_clients[i], fault))
		return fault_within(fault,
				    "listener \"%.*s\", tls_clients '%.*s'",
				    SLICE_ARG(listener->name),
				    SLICE_ARG(listener->tls_clients));
	return true;
}

static bool
generation_tls(struct generation *generation,
	       const struct slice (*files)[LISTENER_FILES],
	       struct fault *fault)
{
	struct options *options = generation->options;

	for (size_t i = 0; i < options->listeners_count; i++) {
		struct listener_options *listener = &options->listeners[i];

		if (listener->tls == LISTENER_TLS_NONE)
			continue;
		if (!tls_context_server(files[i][LISTENER_CERT],
					files[i][LISTENER_KEY],
					&generation->listener_tls[i], fault))
			return fault_within(
				fault, "listener \"%.*s\", certificate '%.*s'",
				SLICE_ARG(listener->name),
				SLICE_ARG(listener->tls_cert));
		if (listener->tls_min != TLS_MIN_AUTO)
			tls_context_lower(generation->listener_tls[i],
					  tls_protocol_of(listener->tls_min));
		if (!generation_ask(generation, i, files[i], fault))
			return false;
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
