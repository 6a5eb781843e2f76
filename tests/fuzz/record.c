/* A key record comes from whoever signed the message. */
#include "keys/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
public_try(enum key_algorithm algorithm, struct slice bytes)
{
	static const uint8_t digest[KEY_DIGEST_SIZE];
	CLEAN(key_public_free_clean) struct key_public *key = NULL;
	CLEAN(key_public_free_clean) struct key_public *again = NULL;

	if (!key_public_read(algorithm, bytes, &key, NULL))
		return;
	ASSERT(key_public_read(algorithm, key_public_record(key), &again,
			       NULL));
	ASSERT(key_id_eq(key_public_id(key), key_public_id(again)));
	ASSERT(!key_public_verify(key, digest, bytes));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(record_done) struct record record = {0};

	/* Directly too: base64 hides the key's structure from a fuzzer. */
	public_try(KEY_RSA_SHA256, slice_of(bytes, len));
	public_try(KEY_ED25519_SHA256, slice_of(bytes, len));
	if (!record_parse(slice_of(bytes, len), &record, NULL))
		return 0;
	ASSERT(record.is_revoked == (record.key.len == 0));
	if (record.is_known)
		public_try(record.algorithm, text_slice(&record.key));
	return 0;
}
