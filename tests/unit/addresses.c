/*
 * addresses - where Criterion may keep its memory.
 *
 * It takes random places at which ThreadSanitizer allows none for the most part;
 * this, in place of glibc's, has it take those that are allowed: from
 * 0x550000000000, counted in 16 MiB from 0x200000000000.
 */
#include <stdlib.h>

#define FIRST 0x350000
#define COUNT 0x1000

int
rand_r(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return FIRST + (int)(*seed / 65536 % COUNT);
}
