#include "milter/own_signer.h"

#include <stdio.h>
#include <sysexits.h>

static void
warn(void *owner, const char *text)
{
	(void)owner;
	fprintf(stderr, "signet: warning: %s\n", text);
}

bool
own_signer_start(uid_t uid, gid_t gid, const struct keys_options *keys,
		 bool strict_modes, struct own_signer *signer_out,
		 struct keyring **keyring_out, struct fault *fault)
{
	struct own_signer signer = {0};
	struct keyring *keyring;
	int descriptor;

	if (!signer_start(uid, gid, &signer.process, fault))
		return false;
	if (!signer_load(&signer.process, keys, strict_modes, warn, NULL,
			 &keyring, fault)) {
		signer_stop(&signer.process);
		return false;
	}
	if (!signer_attach(&signer.process, &descriptor, fault)) {
		keyring_unref(keyring);
		signer_stop(&signer.process);
		return false;
	}
	signer.client = signer_client_new(descriptor);
	*keyring_out = keyring;
	*signer_out = signer;
	return true;
}

void
own_signer_stop(struct own_signer *signer)
{
	if (signer->client == NULL)
		return;
	signer_client_free(TAKE(signer->client));
	signer_stop(&signer->process);
}

int
own_signer_exit_code(const struct fault *fault)
{
	int code = fault_exit_code(fault);

	return code == EX_TEMPFAIL || code == EX_NOPERM ? code : EX_CONFIG;
}

/* ---- asking it ---- */

struct ask {
	struct signer_call call;
	struct fault fault;
};

static void
ask_done(struct signer_call *call, const struct fault *fault)
{
	struct ask *ask = CONTAINER(call, struct ask, call);

	if (fault != NULL)
		ask->fault = *fault;
}

bool
own_signer_sign(struct own_signer *signer, struct signature *signatures,
		size_t count, struct fault *fault)
{
	CLEAN(clean_memory) struct ask *asks =
		memory_array(count, sizeof(*asks));

	for (size_t i = 0; i < count; i++) {
		struct signer_call *call = &asks[i].call;

		call->key = *key_public_id(signatures[i].selector->key);
		memcpy(call->digest, signatures[i].digest, KEY_DIGEST_SIZE);
		call->done = ask_done;
		signer_client_start(signer->client, call);
	}
	signer_client_wait(signer->client);
	for (size_t i = 0; i < count; i++) {
		const struct signer_call *call = &asks[i].call;

		if (asks[i].fault.kind != FAULT_NONE) {
			*fault = asks[i].fault;
			return fault_within(
				fault, "signing with selector %.*s of %.*s",
				SLICE_ARG(signatures[i].selector->name),
				SLICE_ARG(signatures[i].domain));
		}
		ASSERT(call->signature_len > 0);
		memcpy(signatures[i].signature, call->signature,
		       call->signature_len);
		signatures[i].signature_len = call->signature_len;
	}
	return true;
}
