/* A key file is as good as who wrote it. What is accepted must sign. */
#include "keys/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint8_t digest[KEY_DIGEST_SIZE] = {7};
	CLEAN(key_free_clean) struct key *key = NULL, *copy = NULL;
	CLEAN(key_public_free_clean) struct key_public *public = NULL;
	uint8_t signature[KEY_SIGNATURE_MAX];
	size_t signature_len;
	struct fault fault = {0};

	if (!key_read(slice_of(bytes, len), &key, &fault)) {
		ASSERT(fault.kind != FAULT_NONE);
		ASSERT(fault.text[0] != '\0');
		return 0;
	}
	copy = key_dup(key);
	public = key_public_of(copy);
	ASSERT(key_sign(copy, digest, signature, &signature_len, NULL));
	ASSERT(key_public_verify(public, digest,
				 slice_of(signature, signature_len)));
	return 0;
}
