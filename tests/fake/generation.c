/* Configuration is the test's own: references are counted, and free nothing. */
#include "relay/generation.h"

struct generation *
generation_ref(struct generation *used)
{
	used->references++;
	return used;
}

void
generation_unref(struct generation *used)
{
	if (used != NULL)
		used->references--;
}
