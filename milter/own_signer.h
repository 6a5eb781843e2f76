/*
 * own_signer - a signer process of a command's own, for as long as that runs;
 * it waits for its signatures.
 */
#ifndef MILTER_OWN_SIGNER_H
#define MILTER_OWN_SIGNER_H

#include "keys/signer.h"
#include "milter/pipeline.h"

struct own_signer {
	struct signer_process process;
	struct signer_client *client;
};

/* Started as user and group (0: unchanged), with every key of the options
 * loaded; warnings go to stderr. */
bool own_signer_start(uid_t uid, gid_t gid, const struct keys_options *keys,
		      bool strict_modes, struct own_signer *signer_out,
		      struct keyring **keyring_out,
		      struct fault *fault) MUST_USE;
void own_signer_stop(struct own_signer *signer); /* takes one that is zeroed */
/* sysexits(3), where it does not start: a key that cannot be used is a bad
 * configuration, whatever is wrong with it; only a signer that cannot be had may
 * work another time. */
int own_signer_exit_code(const struct fault *fault);

/* Fills in every signature, or none can be used. */
bool own_signer_sign(struct own_signer *signer, struct signature *signatures,
		     size_t count, struct fault *fault) MUST_USE;

#endif
