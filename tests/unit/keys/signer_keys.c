#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "keys/signer_keys.h"
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

/* A load that is taken back leaves what was before it, once. */
Test(signer_keys, takes_a_load_back)
{
	struct stage stage;
	struct signer_client *client;
	struct key_public *keys[4];
	struct fault fault = {0};

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < 3; i++) {
		keys[i] = new_key(&stage, "e.pem");
		cr_assert(stage_load(&stage, false, NULL));
	}
	cr_expect(signer_revert(&stage.process, &fault), "%s", fault.text);
	cr_expect_not(signs(client, keys[2]));
	cr_expect(signs(client, keys[1]));
	cr_expect_not(signs(client, keys[0]));
	cr_expect_not(signer_revert(&stage.process, &fault));
	cr_expect(signs(client, keys[1]));
	keys[3] = new_key(&stage, "e.pem");
	cr_assert(stage_load(&stage, false, NULL));
	cr_expect(signs(client, keys[3]));
	cr_expect(signs(client, keys[1]));
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

/* As the signer does with a file that it has not read before. */
static struct key_id
file_load(struct keyset *keyset, struct slice pem)
{
	struct key *key = NULL;
	struct key_public *public;
	struct key_file_id file;

	key_file_id_of(pem, &file);
	cr_expect_null(keyset_share(keyset, keyset, &file));
	cr_assert(key_read(pem, &key, NULL));
	public = key_public_of(key);
	return *key_public_id(keyset_add(keyset, &file, public, key));
}

static bool
has_key(struct keyset *keyset, const struct key_id *id)
{
	static const uint8_t digest[KEY_DIGEST_SIZE] = {7};
	uint8_t signature[KEY_SIGNATURE_MAX];
	struct key *key = keyset_key(keyset, 0, id);
	size_t len;

	return key != NULL && key_sign(key, digest, signature, &len, NULL);
}

/* What a file gave goes with the last keyset that has it, whichever that is. */
Test(signer_keys, share_what_is_the_same)
{
	CLEAN(text_done) struct text pem = {0}, again = {0}, other = {0};

	vector_read("rsa2048.pem", &pem);
	text_add(&again, text_slice(&pem));
	text_add_string(&again, "\n");
	vector_read("rfc8463-ed25519.pem", &other);
	for (int is_first = 0; is_first < 2; is_first++) {
		struct keyset *sets[2] = {keyset_new(2, 1), keyset_new(3, 1)};
		struct key_id id = file_load(sets[0], text_slice(&pem)), odd;
		struct key_file_id file;

		key_file_id_of(text_slice(&pem), &file);
		cr_expect_null(keyset_share(sets[1], NULL, &file));
		cr_expect_eq(keyset_share(sets[1], sets[0], &file),
			     keyset_share(sets[0], sets[0], &file));
		/* Another file with the same key, and another key. */
		odd = file_load(sets[1], text_slice(&again));
		cr_expect(key_id_eq(&odd, &id));
		odd = file_load(sets[1], text_slice(&other));
		cr_expect_null(keyset_key(sets[0], 0, &odd));
		keyset_unref(sets[is_first]);
		cr_expect(has_key(sets[!is_first], &id));
		cr_expect_eq(has_key(sets[!is_first], &odd), is_first == 0);
		keyset_unref(sets[!is_first]);
	}
}

#define MANY 200

static unsigned long
signer_memory(const struct stage *stage)
{
	CLEAN(text_done) struct text path = {0};
	unsigned long pages = 0;
	FILE *file;

	text_addf(&path, "/proc/%ld/statm", (long)stage->process.pid);
	file = fopen(text_string(&path), "r");
	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return pages * 4;
}

/* A sanitizer keeps what is freed: not here, where memory is looked at. */
static void
keep_nothing(void)
{
	const char *options = getenv("ASAN_OPTIONS");
	CLEAN(text_done) struct text text = {0};

	text_addf(&text, "%s:quarantine_size_mb=0:thread_local_quarantine_"
		  "size_kb=0", options == NULL ? "" : options);
	cr_assert_eq(setenv("ASAN_OPTIONS", text_string(&text), 1), 0);
}

/* A reload that changes one of many keys takes little more memory: neither are
 * the others read again. */
Test(signer_keys, a_reload_costs_what_has_changed)
{
	struct stage stage;
	struct selector_options selectors[MANY];
	char names[MANY][16];
	unsigned long before_kib, grown_kib;

	keep_nothing();
	stage_start(&stage);
	for (size_t i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "k%zu.pem", i);
		key_public_free(new_key(&stage, names[i]));
		selectors[i] = stage.selectors[0];
		selectors[i].name = selectors[i].key_path = SLICE(names[i]);
	}
	stage.domain.selectors = selectors;
	stage.domain.selectors_count = MANY;
	cr_assert(stage_load(&stage, false, NULL));
	before_kib = signer_memory(&stage);
	key_public_free(new_key(&stage, names[0]));
	cr_assert(stage_load(&stage, false, NULL));
	grown_kib = signer_memory(&stage) - before_kib;
	/* Each key read again takes nearly seven; up to two in all are the
	 * sanitizer's. */
	cr_expect_lt((long)grown_kib, 4 * MANY, "%lu KiB more", grown_kib);
	stage_stop(&stage, false);
}
