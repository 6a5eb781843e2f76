/*
 * configuration - one generation, as the supervisor has it: read from files
 * while it may still read them, and handed over as bytes and descriptors.
 *
 * Ownership   configuration_load() hands over; a listening socket that stays
 *             the same from one generation to the next is duplicated, so each
 *             configuration closes its own.
 */
#ifndef RELAY_CONFIGURATION_H
#define RELAY_CONFIGURATION_H

#include "keys/signer.h"
#include "relay/handover.h"
#include "relay/identity.h"
#include "relay/inherited.h"
#include "relay/listen.h"

/* Which part of the options it is for. */
enum service { SERVICE_RELAY, SERVICE_MILTER };

struct configuration {
	enum service service;
	struct options *options;
	struct text sources, publics;
	struct text (*files)[LISTENER_FILES]; /* of each; cleansed */
	struct text passwords;  /* relay/login.h; cleansed */
	struct listen_place *places;
	int *listeners;         /* one per place */
	size_t listeners_count;
};

/* Parses the file; then configuration_check() looks at the files that it names,
 * and logs what is allowed and hardly meant, configuration_load_keys() has the
 * signer load the keys, and configuration_complete() reads the certificates and opens
 * the sockets (those of `previous`, which may be NULL, are kept where the
 * address is the same, and those that systemd has passed on) for a process of
 * this identity. Errors of the file go to
 * `errors`, a line each. */
bool configuration_load(enum service service, const char *path,
			struct text *errors,
			struct configuration **configuration_out,
			struct fault *fault) MUST_USE;
bool configuration_check(const struct configuration *configuration,
			 struct text *errors, struct fault *fault) MUST_USE;
bool configuration_complete(struct configuration *configuration,
			    const struct configuration *previous,
			    const struct identity *identity,
			    const struct inherited *inherited,
			    struct fault *fault) MUST_USE;
void configuration_free(struct configuration *configuration);
CLEAN_POINTER(struct configuration, configuration_free)
/* Again after the signer's death. */
bool configuration_load_keys(struct configuration *configuration,
			     struct signer_process *signer,
			     struct fault *fault) MUST_USE;
/* Points a handover at this configuration (signers: the caller's). */
void configuration_hand_over(const struct configuration *configuration,
			     struct handover *handover_out);

#endif
