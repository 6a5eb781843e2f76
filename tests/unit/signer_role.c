/*
 * A signer process is this program's own file, started again. A test that
 * needs one links this file: before the tests' main() it looks whether it was
 * started as the signer.
 */
#include <string.h>

#include "keys/signer.h"

static __attribute__((constructor)) void
signer_role(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "signer-process") == 0)
		signer_main(3);
}
