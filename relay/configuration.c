#include "relay/configuration.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/descriptor.h"
#include "relay/clients.h"
#include "relay/login.h"
#include "relay/machine.h"
#include "relay/options_accounts.h"
#include "relay/options_senders.h"
#include "relay/options_warn.h"
#include "relay/users.h"

#define TLS_FILE_MAX ((size_t)1 << 20)

void
configuration_free(struct configuration *configuration)
{
	if (configuration == NULL)
		return;
	for (size_t i = 0; i < configuration->listeners_count; i++) {
		descriptor_drop(&configuration->listeners[i]);
		for (size_t j = 0; j < LISTENER_FILES; j++)
			secret_cleanse(&configuration->files[i][j]);
	}
	free(configuration->places);
	free(configuration->listeners);
	free(configuration->files);
	text_done(&configuration->sources);
	text_done(&configuration->publics);
	secret_cleanse(&configuration->passwords);
	options_free(configuration->options);
	free(configuration);
}

static void
warn_of_option(const char *text)
{
	log_note(LOG_LEVEL_WARNING, "configuration", "%s", text);
}

/* The file is right (options_warn.c), and yet a container's is its id. */
static void
machine_name_look(const struct options *options)
{
	if (conf_item_find(options->items, "hostname", 0) == NULL &&
	    slice_find(options->hostname, '.') < 0)
		log_note(LOG_LEVEL_WARNING, "configuration",
			 "this machine's own name, \"%.*s\", has no domain, "
			 "though EHLO, Received fields and MAILER-DAEMON@%.*s "
			 "will have it, and many hosts refuse it; set "
			 "'hostname'",
			 SLICE_ARG(options->hostname),
			 SLICE_ARG(options->hostname));
}

/* What this service opens; the milter knows nothing of listeners and routes. */
bool
configuration_check(const struct configuration *configuration,
		    struct text *errors, struct fault *fault)
{
	const struct options *options = configuration->options;
	bool is_relay = configuration->service == SERVICE_RELAY;

	if (is_relay ? !options_check_files(options, warn_of_option, errors,
					    fault)
		     : !options_check_milter_files(options, errors, fault))
		return false;
	if (is_relay)
		machine_name_look(options);
	options_warn(options, warn_of_option);
	senders_warn(options, warn_of_option);
	if (is_relay)
		accounts_warn(options, warn_of_option);
	return true;
}

bool
configuration_load(enum service service, const char *path, struct text *errors,
		   struct configuration **configuration_out,
		   struct fault *fault)
{
	CLEAN(configuration_free_clean)
	struct configuration *configuration =
		memory_new(sizeof(*configuration));

	configuration->service = service;
	if (!options_load(path, errors, &configuration->options,
			  &configuration->sources, fault))
		return false;
	configuration->listeners_count =
		service == SERVICE_RELAY
			? configuration->options->listeners_count
			: 1;
	if (configuration->listeners_count > HANDOVER_LISTENERS_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "%zu listeners, at most %d are possible",
				 configuration->listeners_count,
				 HANDOVER_LISTENERS_MAX);
	configuration->places = memory_array(configuration->listeners_count,
					     sizeof(*configuration->places));
	configuration->listeners =
		memory_array(configuration->listeners_count, sizeof(int));
	for (size_t i = 0; i < configuration->listeners_count; i++)
		configuration->listeners[i] = -1;
	configuration->files = memory_array(configuration->listeners_count,
					    sizeof(*configuration->files));
	*configuration_out = TAKE(configuration);
	return true;
}

static bool
file_read(struct slice path, size_t max, struct text *out, struct fault *fault)
{
	CLEAN(text_done) struct text name = {0};

	if (path.len == 0)
		return true;
	text_add(&name, path);
	return conf_file_read(text_string(&name), max, out, fault) ||
	       fault_within(fault, "'%s'", text_string(&name));
}

static void
warn_of_key(void *owner, const char *text)
{
	(void)owner;
	log_note(LOG_LEVEL_WARNING, "key", "%s", text);
}

bool
configuration_load_keys(struct configuration *configuration,
			struct signer_process *signer, struct fault *fault)
{
	struct keyring *keyring;

	if (!signer_load(signer, &configuration->options->keys,
			 configuration->options->strict_key_modes, warn_of_key,
			 NULL, &keyring, fault))
		return false;
	text_clear(&configuration->publics);
	keyring_write_publics(keyring, &configuration->publics);
	keyring_unref(keyring);
	return true;
}

static bool
configuration_read_tls(struct configuration *configuration,
		       struct fault *fault)
{
	if (configuration->service != SERVICE_RELAY)
		return true;
	for (size_t i = 0; i < configuration->listeners_count; i++) {
		const struct listener_options *listener =
			&configuration->options->listeners[i];

		if (listener->tls == LISTENER_TLS_NONE)
			continue;
		if (!file_read(listener->tls_cert, TLS_FILE_MAX,
			       &configuration->files[i][LISTENER_CERT],
			       fault) ||
		    !file_read(listener->tls_key, TLS_FILE_MAX,
			       &configuration->files[i][LISTENER_KEY], fault) ||
		    !file_read(listener->tls_clients, CLIENTS_FILE_MAX,
			       &configuration->files[i][LISTENER_CLIENTS],
			       fault) ||
		    !file_read(listener->tls_client_ca, TLS_FILE_MAX,
			       &configuration->files[i][LISTENER_CLIENT_CA],
			       fault))
			return fault_within(fault, "listener \"%.*s\"",
					    SLICE_ARG(listener->name));
	}
	return true;
}

/* It may come yet: mail waits for it, and no configuration is refused. */
static void
source_look(const struct source_options *source)
{
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < source->bind_count; i++) {
		if (machine_has_address(&source->bind[i]))
			continue;
		address_write_host(&source->bind[i], text);
		log_note(LOG_LEVEL_WARNING, "bind",
			 "this machine does not have the address %s now; what "
			 "is to leave from there waits until it does",
			 text);
	}
}

static void
configuration_look_at_sources(const struct configuration *configuration)
{
	const struct options *options = configuration->options;

	if (configuration->service != SERVICE_RELAY)
		return;
	source_look(&options->delivery.source);
	for (size_t i = 0; i < options->routes_count; i++)
		source_look(&options->routes[i].source);
}

/* Of the next hops, which the milter does not know. */
static bool
configuration_read_passwords(struct configuration *configuration,
			     struct fault *fault)
{
	return configuration->service != SERVICE_RELAY ||
	       login_read_all(configuration->options, NULL,
			      &configuration->passwords, fault);
}

static bool
configuration_read_users(struct configuration *configuration,
			 struct fault *fault)
{
	const struct options *options = configuration->options;

	if (configuration->service != SERVICE_RELAY)
		return true;
	for (size_t i = 0; i < configuration->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];

		if (listener->auth != AUTH_NONE &&
		    listener->auth_file.len > 0 &&
		    !users_read(listener->auth_file, options->strict_key_modes,
				NULL, &configuration->files[i][LISTENER_USERS],
				fault))
			return fault_within(fault, "listener \"%.*s\"",
					    SLICE_ARG(listener->name));
	}
	return true;
}

static int
previous_listener(const struct configuration *previous,
		  const struct listen_place *place)
{
	for (size_t i = 0; previous != NULL && i < previous->listeners_count;
	     i++)
		if (listen_place_eq(&previous->places[i], place))
			return fcntl(previous->listeners[i], F_DUPFD_CLOEXEC,
				     0);
	return -1;
}

static bool
places_find(struct configuration *configuration,
	    const struct identity *identity, struct fault *fault)
{
	const struct options *options = configuration->options;

	/* Without root nothing is given away. */
	if (configuration->service == SERVICE_MILTER && geteuid() != 0)
		return listen_place_milter(&options->milter, (uid_t)-1,
					   (gid_t)-1, &configuration->places[0],
					   fault);
	if (configuration->service == SERVICE_MILTER)
		return listen_place_milter(
			&options->milter, identity->uid,
			identity->gid, &configuration->places[0], fault);
	for (size_t i = 0; i < configuration->listeners_count; i++)
		if (!listen_place_relay(&options->listeners[i],
					&configuration->places[i], fault))
			return false;
	return true;
}

static bool
place_open(const struct listen_place *place, const struct inherited *inherited,
	   int *descriptor_out, struct fault *fault)
{
	if (place->socket_name.len == 0)
		return listen_open(place, descriptor_out, fault);
	return inherited_open(inherited, place->socket_name, descriptor_out,
			      fault) ||
	       fault_within(fault, "%s", place->label);
}

static bool
configuration_listen(struct configuration *configuration,
		     const struct configuration *previous,
		     const struct inherited *inherited, struct fault *fault)
{
	for (size_t i = 0; i < configuration->listeners_count; i++) {
		const struct listen_place *place = &configuration->places[i];

		configuration->listeners[i] =
			previous_listener(previous, place);
		if (configuration->listeners[i] < 0 &&
		    !place_open(place, inherited, &configuration->listeners[i],
				fault))
			return false;
	}
	return true;
}

bool
configuration_complete(struct configuration *configuration,
		       const struct configuration *previous,
		       const struct identity *identity,
		       const struct inherited *inherited, struct fault *fault)
{
	configuration_look_at_sources(configuration);
	return configuration_read_tls(configuration, fault) &&
	       configuration_read_passwords(configuration, fault) &&
	       configuration_read_users(configuration, fault) &&
	       places_find(configuration, identity, fault) &&
	       configuration_listen(configuration, previous, inherited, fault);
}

void
configuration_hand_over(const struct configuration *configuration,
			struct handover *handover_out)
{
	*handover_out = (struct handover){
		.kind = HANDOVER_GENERATION,
		.sources = text_slice(&configuration->sources),
		.publics = text_slice(&configuration->publics),
		.passwords = text_slice(&configuration->passwords),
		.listeners_count = configuration->listeners_count,
	};
	for (size_t i = 0; i < configuration->listeners_count; i++) {
		handover_out->listeners[i] = configuration->listeners[i];
		for (size_t j = 0; j < LISTENER_FILES; j++)
			handover_out->files[i][j] =
				text_slice(&configuration->files[i][j]);
	}
}
