#include "tests/unit/keys/signer_stage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>

static void
note_warning(void *owner, const char *text)
{
	struct stage *stage = owner;

	text_addf(&stage->warnings, "%s\n", text);
}

bool
stage_load(struct stage *stage, bool strict_modes, struct fault *fault)
{
	struct keyring *keyring = NULL;

	stage->options.keys_dir = text_slice(&stage->files.directory);
	if (!signer_load(&stage->process, &stage->options, strict_modes,
			 note_warning, stage, &keyring, fault))
		return false;
	keyring_unref(stage->keyring);
	stage->keyring = keyring;
	return true;
}

void
stage_init(struct stage *stage)
{
	*stage = (struct stage){
		.selectors = {{.name = SLICE_LITERAL("r"),
			       .key_path = SLICE_LITERAL("r.pem"),
			       .line = 7,
			       .file = "signet.conf"},
			      {.name = SLICE_LITERAL("e"),
			       .key_path = SLICE_LITERAL("e.pem"),
			       .line = 8,
			       .file = "signet.conf"}},
		.domain = {.name = SLICE_LITERAL("example.com"),
			   .selectors_count = 2,
			   .line = 6,
			   .file = "signet.conf"},
	};
	stage->domain.selectors = stage->selectors;
	stage->options.domains = &stage->domain;
	stage->options.domains_count = 1;
	files_new(&stage->files);
	files_put_vector(&stage->files, "r.pem", "rsa2048.pem", 0600);
	files_put_vector(&stage->files, "e.pem", "rfc8463-ed25519.pem", 0600);
}

void
stage_start(struct stage *stage)
{
	struct fault fault = {0};

	stage_init(stage);
	cr_assert(signer_start(0, 0, &stage->process, &fault), "%s",
		  fault.text);
	cr_assert(stage_load(stage, false, &fault), "%s", fault.text);
}

void
stage_stop(struct stage *stage, bool was_killed)
{
	keyring_unref(stage->keyring);
	signer_stop(&stage->process);
	/* Also says whether a sanitizer had something to report. */
	if (!was_killed)
		cr_expect(WIFEXITED(stage->process.pid_status) &&
				  WEXITSTATUS(stage->process.pid_status) == 0,
			  "signer ended with %x", stage->process.pid_status);
	files_done(&stage->files);
	text_done(&stage->warnings);
}

const struct key_public *
public_at(const struct stage *stage, size_t i)
{
	return keyring_domain_at(stage->keyring, 0)->selectors[i].key;
}

struct signer_client *
attach(struct stage *stage)
{
	struct fault fault = {0};
	int descriptor = -1;

	cr_assert(signer_attach(&stage->process, &descriptor, &fault), "%s",
		  fault.text);
	return signer_client_new(descriptor);
}

static void
ask_done(struct signer_call *call, const struct fault *fault)
{
	struct ask *ask = CONTAINER(call, struct ask, call);

	ask->answers++;
	ask->kind = fault == NULL ? FAULT_NONE : fault->kind;
	if (fault != NULL)
		snprintf(ask->text, sizeof(ask->text), "%s", fault->text);
}

void
ask_init(struct ask *ask, const struct key_public *key, unsigned seed)
{
	*ask = (struct ask){.call.key = *key_public_id(key),
			    .call.done = ask_done};
	memset(ask->call.digest, (int)(seed % 251), KEY_DIGEST_SIZE);
	memcpy(ask->call.digest, &seed, sizeof(seed));
}

bool
ask_is_signed(const struct ask *ask, const struct key_public *key)
{
	return ask->answers == 1 && ask->kind == FAULT_NONE &&
	       key_public_verify(key, ask->call.digest,
				 slice_of(ask->call.signature,
					  ask->call.signature_len));
}

bool
signs(struct signer_client *client, const struct key_public *key)
{
	struct ask ask;

	ask_init(&ask, key, 5);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	return ask_is_signed(&ask, key);
}
