/*
 * child - a process of the family: its start, its end, and when it may be
 * started again.
 */
#ifndef RELAY_CHILD_H
#define RELAY_CHILD_H

#include <sys/types.h>

#include "relay/identity.h"

/* Zeroed: not running, to be started at once. */
struct child {
	pid_t pid; /* 0: not running */
	uint64_t started_ms, restart_at_ms, delay_ms;
};

/* What a child of ours becomes. */
struct child_setup {
	const char *title;   /* "signet: relay", its argv[0] */
	const char *command; /* "relay-process" */
	const char *name;    /* "relay", for messages */
	int directory;       /* where it runs; -1: in "/" */
	const struct identity *identity;
};

/* Forks, becomes the identity, and executes this program's own file with the
 * command. The caller gets one end of a socketpair (AF_UNIX, SOCK_SEQPACKET,
 * close-on-exec), the child has the other as descriptor 3 and no descriptor
 * beyond. It ends with the thread that started it: let that be the main one. */
bool child_start(struct child *child, const struct child_setup *setup,
		 int *control_out, struct fault *fault) MUST_USE;
/* It has ended, or could not be started: sets when it may be started again,
 * which is at once where it has lived for a while. */
void child_died(struct child *child);
/* Its end is seen as any other: SIGCHLD, and it is started again. */
void child_kill(const struct child *child);
/* Has it run no more until child_let_go(). False: it does not run, or somebody
 * else has stopped it, whose it is then to let it go. */
bool child_hold(const struct child *child) MUST_USE;
void child_let_go(const struct child *child);

#endif
