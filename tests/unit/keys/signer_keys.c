#include <criterion/criterion.h>

#include "tests/unit/keys/signer_stage.h"

static struct key_public *
new_key(struct stage *stage, const char *name)
{
	CLEAN(key_free_clean) struct key *key = NULL;
	CLEAN(secret_cleanse) struct text pem = {0};

	cr_assert(key_generate(KEY_ED25519_SHA256, 0, &key, NULL));
	cr_assert(key_write(key, &pem, NULL));
	files_put(&stage->files, name, text_slice(&pem), 0600);
	return key_public_of(key);
}

Test(signer_keys, keeps_one_generation_before_the_last)
{
	struct stage stage;
	struct signer_client *client;
	struct key_public *keys[3];

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(keys); i++) {
		keys[i] = new_key(&stage, "e.pem");
		cr_assert(stage_load(&stage, false, NULL));
		cr_expect(signs(client, keys[i]));
		if (i > 0)
			cr_expect(signs(client, keys[i - 1]));
		if (i > 1)
			cr_expect_not(signs(client, keys[i - 2]));
	}
	for (size_t i = 0; i < COUNT(keys); i++)
		key_public_free(keys[i]);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer_keys, reloads_under_load)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[400];
	CLEAN(key_public_free_clean) struct key_public *rsa = NULL;

	stage_start(&stage);
	client = attach(&stage);
	cr_assert(key_public_read(KEY_RSA_SHA256,
				  key_public_record(public_at(&stage, 0)),
				  &rsa, NULL));
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], rsa, i);
		signer_client_start(client, &asks[i].call);
	}
	for (int i = 0; i < 8; i++) {
		key_public_free(new_key(&stage, "e.pem"));
		cr_expect(stage_load(&stage, false, NULL));
		cr_expect(signer_client_read(client));
	}
	signer_client_wait(client);
	for (unsigned i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], rsa), "%u: %s", i,
			  asks[i].text);
	signer_client_free(client);
	stage_stop(&stage, false);
}
