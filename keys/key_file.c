#include "keys/key_file.h"

#include <openssl/sha.h>

static_assert(sizeof(struct key_file_id) == SHA256_DIGEST_LENGTH,
	      "a whole hash");

void
key_file_id_of(struct slice pem, struct key_file_id *id_out)
{
	/* Nothing else may be taken for the file's. */
	ASSERT(SHA256((const unsigned char *)pem.bytes, pem.len,
		      id_out->bytes) != NULL);
}
