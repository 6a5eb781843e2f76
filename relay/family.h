/*
 * family - the processes of one service, and what they need of the machine.
 */
#ifndef RELAY_FAMILY_H
#define RELAY_FAMILY_H

#include "relay/child.h"
#include "relay/configuration.h"

/* What differs between `signet relay` and `signet milter`: the process that
 * does the work beside the signer. Here it is called the worker. */
struct family {
	enum service service;
	struct child_setup worker;
	bool has_state; /* runs in state_dir */
	const char *start_event, *died_event;
	const char *loses; /* what its death costs, for the log */
	const char *may;   /* once taken over, where Landlock is missing */
};

/* Static. */
const struct family *family_of(enum service service);
/* As many descriptors as the sessions and deliveries may need; where the hard
 * limit cannot be raised, as many as it allows, and a line in the log. */
void family_raise_descriptors(const struct family *family,
			      const struct options *options);
/* A line in the log where the kernel cannot keep the worker's files. */
void family_look_at_kernel(const struct family *family);
/* How many sockets to the signer: one for each loop of a relay; the threads of
 * a milter wait for one. */
unsigned family_signers(const struct family *family);

#endif
