/* A key record comes from whoever signed the message. */
#include "keys/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint8_t digest[KEY_DIGEST_SIZE];
	CLEAN(record_done) struct record record = {0};
	CLEAN(key_public_free_clean) struct key_public *key = NULL;
	CLEAN(key_public_free_clean) struct key_public *again = NULL;

	if (!record_parse(slice_of(bytes, len), &record, NULL))
		return 0;
	ASSERT(record.is_revoked == (record.key.len == 0));
	if (!record.is_known || !key_public_read(record.algorithm,
						 text_slice(&record.key),
						 &key, NULL))
		return 0;
	ASSERT(key_public_read(record.algorithm, key_public_record(key),
			       &again, NULL));
	ASSERT(key_id_eq(key_public_id(key), key_public_id(again)));
	ASSERT(!key_public_verify(key, digest, slice_of(bytes, len)));
	return 0;
}
