#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void
check_failed(const char *condition, const char *file, int line,
	     const char *function)
{
	fprintf(stderr, "signet: bug: %s:%d: %s: %s does not hold\n", file,
		line, function, condition);
	abort();
}

static void *
memory_checked(void *memory)
{
	if (memory == NULL) {
		fputs("signet: out of memory\n", stderr);
		abort();
	}
	return memory;
}

void *
memory_new(size_t size)
{
	return memory_checked(calloc(1, size > 0 ? size : 1));
}

void *
memory_array(size_t count, size_t size)
{
	return memory_checked(calloc(count > 0 ? count : 1, size));
}

void *
memory_grow(void *memory, size_t size)
{
	return memory_checked(realloc(memory, size > 0 ? size : 1));
}
