#include "base/clean.h"

#include <stdlib.h>
#include <unistd.h>

void
clean_descriptor(int *descriptor)
{
	if (*descriptor >= 0)
		close(*descriptor);
	*descriptor = -1;
}

void
clean_memory(void *address_of_pointer)
{
	void **pointer = address_of_pointer;

	free(*pointer);
	*pointer = NULL;
}
