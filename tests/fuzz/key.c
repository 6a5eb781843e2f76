/* A key file is as good as who wrote it. What is accepted must sign. */
#include "base/base64.h"
#include "keys/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
pem_try(struct slice pem)
{
	static const uint8_t digest[KEY_DIGEST_SIZE] = {7};
	CLEAN(key_free_clean) struct key *key = NULL, *copy = NULL;
	CLEAN(key_public_free_clean) struct key_public *public = NULL;
	uint8_t signature[KEY_SIGNATURE_MAX];
	size_t len;
	struct fault fault = {0};

	if (!key_read(pem, &key, &fault)) {
		ASSERT(fault.kind != FAULT_NONE);
		ASSERT(fault.text[0] != '\0');
		return;
	}
	copy = key_dup(key);
	public = key_public_of(copy);
	ASSERT(key_sign(copy, digest, signature, &len, NULL));
	ASSERT(key_public_verify(public, digest, slice_of(signature, len)));
}

/* Base64 hides the key's structure from a fuzzer: DER is wrapped here. */
static void
der_try(const char *kind, struct slice der)
{
	CLEAN(text_done) struct text pem = {0}, encoded = {0};
	struct slice rest;

	base64_write(&encoded, der);
	text_addf(&pem, "-----BEGIN %s-----\n", kind);
	for (rest = text_slice(&encoded); rest.len > 0;
	     rest = slice_from(rest, 64)) {
		text_add(&pem, slice_sub(rest, 0, 64));
		text_add_byte(&pem, '\n');
	}
	text_addf(&pem, "-----END %s-----\n", kind);
	pem_try(text_slice(&pem));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = slice_of(bytes, len);

	if (len > 0 && bytes[0] == 0x30) {
		der_try("PRIVATE KEY", input);
		der_try("RSA PRIVATE KEY", input);
	} else {
		pem_try(input);
	}
	return 0;
}
