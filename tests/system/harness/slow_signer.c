/*
 * slow_signer - loaded before the C library: a signer does not begin before the
 * file that SLOW_SIGNER names has a 0. It is mapped, so that a test may change it
 * at any time.
 */
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "page.h"

__attribute__((constructor)) static void
begin(int argc, char **argv)
{
	volatile int64_t *is_held = page_of("SLOW_SIGNER");

	if (argc < 2 || strcmp(argv[1], "signer-process") != 0)
		return;
	while (is_held != NULL && *is_held != 0)
		usleep(1000);
}
