/*
 * A signer process with the keys of one domain, and calls to it. Link
 * signer_role.c, too.
 */
#ifndef TESTS_SIGNER_STAGE_H
#define TESTS_SIGNER_STAGE_H

#include "keys/signer.h"
#include "tests/unit/keys/files.h"

/* A configuration of one domain, its key files, and a signer process. */
struct stage {
	struct files files;
	struct signer_process process;
	struct keyring *keyring;
	struct selector_options selectors[2];
	struct domain_options domain;
	struct keys_options options;
	struct text warnings;
};

/* Key files r.pem (RSA) and e.pem (Ed25519) for selectors of these names. */
void stage_init(struct stage *stage);
/* The same, with a signer that has loaded them. */
void stage_start(struct stage *stage);
bool stage_load(struct stage *stage, bool strict_modes, struct fault *fault);
/* Expects a clean end, unless it was killed. */
void stage_stop(struct stage *stage, bool was_killed);
const struct key_public *public_at(const struct stage *stage, size_t i);
struct signer_client *attach(struct stage *stage);

struct ask {
	struct signer_call call;
	int answers;
	enum fault_kind kind;
	char text[sizeof(((struct fault *)NULL)->text)];
};

void ask_init(struct ask *ask, const struct key_public *key, unsigned seed);
bool ask_is_signed(const struct ask *ask, const struct key_public *key);
/* One call, and waits for it. */
bool signs(struct signer_client *client, const struct key_public *key);

#endif
