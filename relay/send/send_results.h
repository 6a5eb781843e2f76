/*
 * send_results - what became of a message that was sent at once: a line per
 * recipient on standard output, as it is known, and the exit code.
 */
#ifndef RELAY_SEND_SEND_RESULTS_H
#define RELAY_SEND_SEND_RESULTS_H

#include "milter/pipeline.h"
#include "relay/queue/schedule.h"

struct send_results {
	/* the caller's, before the first one; zero elsewhere */
	const struct message *message;
	struct slice message_id;          /* without <> */
	const struct pipeline *pipeline;  /* with its signatures */
	bool as_json;
	/* so far */
	size_t failed, deferred, unreached;
	bool is_unwritten; /* standard output does not take them */
};

void send_results_add(struct send_results *results, size_t recipient,
		      const struct recipient_result *result);
/* sysexits(3), as send_command() has it. */
int send_results_code(const struct send_results *results);

#endif
