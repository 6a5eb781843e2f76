/*
 * identity - which user a child process becomes, and the directory it gets.
 */
#ifndef RELAY_IDENTITY_H
#define RELAY_IDENTITY_H

#include <sys/types.h>

#include "relay/options.h"

/* The default of `user`; another one has to exist. */
#define IDENTITY_USER "signet"

/* Without root nothing changes: both are 0. */
struct identity {
	uid_t uid;
	gid_t gid;
};

/* The relay's and the signer's users by the options. `warning` gets a sentence
 * where something was not as it should be, else stays empty. */
bool identity_find(const struct options *options, struct identity *relay_out,
		   struct identity *signer_out, struct text *warning,
		   struct fault *fault) MUST_USE;
/* In a forked child, before exec: becomes that user for good, with no other
 * groups and no way to new privileges. */
bool identity_become(const struct identity *identity,
		     struct fault *fault) MUST_USE;
/* For commands, before they look at what others have made: likewise, and what
 * takes them over types nothing at root's terminal, which they still have. */
bool identity_stay(const struct identity *identity,
		   struct fault *fault) MUST_USE;
/* So does who is root, as the relay's user. */
bool identity_leave_root(const struct options *options,
			 struct fault *fault) MUST_USE;
/* Makes the state directory if missing, gives it (and the queue in it, where
 * the user has changed) to the identity, and opens it. A directory that holds
 * what is not ours is left alone and refused. */
bool identity_state_dir(const struct identity *identity, const char *path,
			int *descriptor_out, struct fault *fault) MUST_USE;

#endif
