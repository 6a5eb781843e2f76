/*
 * What supervisor.c (children, signals and the loop) and supervisor_reload.c
 * (another configuration) share. For them only.
 */
#ifndef RELAY_SUPERVISOR_PRIVATE_H
#define RELAY_SUPERVISOR_PRIVATE_H

#include "relay/child.h"
#include "relay/configuration.h"
#include "relay/family.h"
#include "relay/identity.h"
#include "relay/resolvers.h"
#include "relay/vigil.h"
#include "relay/watchdog.h"

struct supervisor {
	const struct family *family;
	const char *config_path;
	struct configuration *configuration; /* in force */
	/* A reload: handed over as `serial`, to be answered by answer_by_ms. */
	struct configuration *next;
	uint64_t next_serial, answer_by_ms;
	bool keys_are_next; /* the signer has its keys already */
	bool reload_wanted; /* as soon as the family is complete */
	uint64_t serial;    /* the last that was handed over */
	struct identity worker_identity, signer_identity;
	struct inherited inherited;
	unsigned signers; /* sockets to the signer */
	int signals, state_dir;
	struct child worker, signer;
	struct signer_process signer_process;
	int worker_control;   /* -1: none */
	int worker_silenced;  /* of one that is to end; -1: none */
	bool worker_is_ready; /* the present one */
	bool was_ready;	      /* ever: from then on it is replaced */
	bool said_why;	      /* it did not start */
	bool is_stopping;
	uint64_t stop_deadline_ms;
	struct watchdog watchdog;
	struct vigil vigil;
	struct resolvers_watch resolvers; /* of the worker */
	int exit_code;
	bool is_done;
};

/* --- supervisor.c --- */

/* Gives the worker a generation. It answers when it has looked at it;
 * worker_read() hears that. A child that does not do its part here is of no use
 * any more: it is killed, and so replaced. */
bool supervisor_hand_over(struct supervisor *supervisor,
			  const struct configuration *configuration,
			  struct fault *fault) MUST_USE;

/* --- supervisor_reload.c --- */

/* A reload has two halves: what this process can judge, and then the worker's
 * word, for which nobody waits here. */
bool reload_may_begin(struct supervisor *supervisor);
void reload_begin(struct supervisor *supervisor);
/* The worker has taken the generation. */
void reload_end(struct supervisor *supervisor);
/* It has not; errors: lines to be told before, may be SLICE_NONE. */
void reload_refused(struct supervisor *supervisor, struct slice errors,
		    const char *reason);
/* Nor does it answer any more. */
void reload_expire(struct supervisor *supervisor);

#endif
