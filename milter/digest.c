#include "milter/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

struct digest {
	EVP_MD_CTX *context;
};

/* Fetched once: looking an algorithm up costs more than hashing a header. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void
sha256_fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ASSERT(sha256 != NULL);
}

/* What OpenSSL can refuse here is memory only, and that ends the program
 * (base/check.h). */
static struct digest *
digest_alloc(void)
{
	struct digest *digest = memory_new(sizeof(*digest));

	digest->context = EVP_MD_CTX_new();
	ASSERT(digest->context != NULL);
	return digest;
}

struct digest *
digest_new(void)
{
	struct digest *digest = digest_alloc();

	ASSERT(pthread_once(&sha256_once, sha256_fetch) == 0);
	ASSERT(EVP_DigestInit_ex2(digest->context, sha256, NULL) == 1);
	return digest;
}

struct digest *
digest_dup(const struct digest *digest)
{
	struct digest *copy = digest_alloc();

	ASSERT(EVP_MD_CTX_copy_ex(copy->context, digest->context) == 1);
	return copy;
}

void
digest_free(struct digest *digest)
{
	if (digest == NULL)
		return;
	EVP_MD_CTX_free(digest->context);
	free(digest);
}

void
digest_feed(struct digest *digest, struct slice bytes)
{
	if (bytes.len > 0)
		ASSERT(EVP_DigestUpdate(digest->context, bytes.bytes,
					bytes.len) == 1);
}

void
digest_finish(struct digest *digest, uint8_t out[DIGEST_SIZE])
{
	unsigned len = 0;

	ASSERT(EVP_DigestFinal_ex(digest->context, out, &len) == 1);
	ASSERT(len == DIGEST_SIZE);
}
