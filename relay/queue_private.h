/*
 * queue_private - what the files of `signet queue` share.
 *
 *	queue_commands.c  the table, and what the arguments mean
 *	queue_look.c      list and show
 *	queue_alter.c     retry, hold, release, delete
 */
#ifndef RELAY_QUEUE_PRIVATE_H
#define RELAY_QUEUE_PRIVATE_H

#include "relay/control_request.h"
#include "relay/options.h"

struct queue_arguments {
	/* Verb and selection; the slices are of the command line, or of the
	 * arena. */
	struct control_request request;
	struct arena arena;
	int count; /* of the IDs */
	char **ids;
};

/* Each returns a sysexits(3) code. */
int queue_list(const struct options *options,
	       const struct queue_arguments *arguments);
int queue_show(const struct options *options,
	       const struct queue_arguments *arguments);
int queue_alter(const struct options *options,
		const struct queue_arguments *arguments);

int queue_fault_tell(const struct fault *fault);
/* 65 */
int queue_unknown_tell(const char *id);

#endif
